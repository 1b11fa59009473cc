/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fill.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static uint64_t mix(uint64_t z)
{
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
	return z ^ (z >> 31);
}

uint64_t fill_next(uint64_t *state)
{
	return mix(*state += 0x9e3779b97f4a7c15U);
}

static uint64_t word(uint64_t seed, uint64_t index)
{
	return mix(seed * 0xd1342543de82ef95U + (index + 1) * 0x9e3779b97f4a7c15U);
}

void fill_bytes(uint64_t seed, uint64_t offset, void *out, size_t len)
{
	unsigned char *p = out;

	while (len > 0) {
		uint64_t w = word(seed, offset / sizeof(w));
		size_t skip = offset % sizeof(w), n = sizeof(w) - skip;

		if (n > len)
			n = len;
		memcpy(p, (unsigned char *)&w + skip, n);
		p += n;
		offset += n;
		len -= n;
	}
}

int fill_file(int fd, uint64_t seed, off_t offset, size_t len)
{
	unsigned char buf[65536];

	while (len > 0) {
		size_t n = len < sizeof(buf) ? len : sizeof(buf);
		ssize_t r;

		fill_bytes(seed, (uint64_t)offset, buf, n);
		r = pwrite(fd, buf, n, offset);
		if (r < 0)
			return -errno;
		offset += r;
		len -= (size_t)r;
	}
	return 0;
}
