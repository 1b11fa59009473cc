/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Direct I/O: what the kernel's snapshots write and what we read must not meet in a cache. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "snapshot/provider/dm/device/area_parts.h"

#define PIECE (1U << 20)

void umbra_area_set_base(struct umbra_area *a, dev_t real)
{
	if (a->kind != UMBRA_AREA_INSIDE || a->base == real)
		return;
	a->base = real;
	a->io = umbra_close(a->io);
}

/* Opened when it is first needed: the area belongs to whoever has the volume's lock. */
static int io_of(const struct umbra_area *area, struct umbra_error *err)
{
	struct umbra_area *a = (struct umbra_area *)area;

	if (a->io < 0)
		a->io = umbra_dm_open(a->base, O_RDWR | O_DIRECT, err);
	return a->io;
}

uint64_t umbra_area_locate(const struct umbra_area *a, uint64_t offset, size_t *len)
{
	size_t i;

	for (i = 0; i < a->n_extents; i++) {
		const struct umbra_fixed_extent *e = &a->extents[i];

		if (offset >= e->logical + e->length)
			continue;
		if (*len > e->logical + e->length - offset)
			*len = e->logical + e->length - offset;
		return e->physical + (offset - e->logical);
	}
	return offset; /* not inside */
}

bool umbra_area_owns(const struct umbra_area *a, uint64_t offset, size_t *len)
{
	const struct umbra_fixed_extent *e;
	uint64_t next = UINT64_MAX, end = 0;
	size_t i;

	for (i = 0; i < a->n_extents; i++) {
		e = &a->extents[i];
		if (e->physical > offset && e->physical < next)
			next = e->physical;
		if (e->physical <= offset && offset - e->physical < e->length)
			end = e->physical + e->length;
	}
	if (end)
		next = end;
	if (*len > next - offset)
		*len = next - offset;
	return end > 0;
}

typedef ssize_t (*io_fn)(int fd, void *buf, size_t len, off_t at);

static ssize_t write_piece(int fd, void *buf, size_t len, off_t at)
{
	return pwrite(fd, buf, len, at);
}

static ssize_t read_piece(int fd, void *buf, size_t len, off_t at)
{
	return pread(fd, buf, len, at);
}

static int transfer(const struct umbra_area *a, uint64_t offset, void *bounce, size_t len, io_fn fn,
		    const char *verb, struct umbra_error *err)
{
	int fd = io_of(a, err);
	size_t done = 0, n;
	uint64_t at;
	ssize_t got;

	if (fd < 0)
		return fd;
	while (done < len) {
		n = len - done;
		at = umbra_area_locate(a, offset + done, &n);
		got = fn(fd, (char *)bounce + done, n, (off_t)at);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return umbra_fail_errno(err, got < 0 ? errno : EIO,
						"cannot %s the diff area at '%s'", verb, a->place);
		done += (size_t)got;
	}
	return 0;
}

static int check(const struct umbra_area *a, uint64_t offset, size_t len, struct umbra_error *err)
{
	if (len <= a->bytes && offset <= a->bytes - len)
		return 0;
	return umbra_fail(err, UMBRA_E_DAMAGED, ERANGE,
			  "the diff area at '%s' has %llu bytes, and not %llu", a->place,
			  (unsigned long long)a->bytes, (unsigned long long)(offset + len));
}

int umbra_area_read(const struct umbra_area *a, uint64_t offset, void *buf, size_t len,
		    struct umbra_error *err)
{
	_cleanup_free_ void *bounce = NULL;
	size_t n;
	int r = check(a, offset, len, err);

	if (r == 0 && posix_memalign(&bounce, UMBRA_AREA_BLOCK, PIECE) != 0)
		return umbra_oom(err);
	for (; r == 0 && len > 0; len -= n, offset += n, buf = (char *)buf + n) {
		n = len < PIECE ? len : PIECE;
		r = transfer(a, offset, bounce, n, read_piece, "read", err);
		if (r == 0)
			memcpy(buf, bounce, n);
	}
	return r;
}

/* data NULL: zeros. */
static int put(const struct umbra_area *a, uint64_t offset, const void *data, size_t len,
	       struct umbra_error *err)
{
	_cleanup_free_ void *bounce = NULL;
	const char *p = data;
	size_t n;
	int r = check(a, offset, len, err);

	if (r == 0)
		r = umbra_area_refuse_frozen_now((struct umbra_area *)a, err);
	if (r == 0 && posix_memalign(&bounce, UMBRA_AREA_BLOCK, PIECE) != 0)
		return umbra_oom(err);
	for (; r == 0 && len > 0; len -= n, offset += n) {
		n = len < PIECE ? len : PIECE;
		if (p) {
			memcpy(bounce, p, n);
			p += n;
		} else {
			memset(bounce, 0, n);
		}
		r = transfer(a, offset, bounce, n, write_piece, "write", err);
	}
	return r;
}

int umbra_area_write(const struct umbra_area *a, uint64_t offset, const void *buf, size_t len,
		     struct umbra_error *err)
{
	return put(a, offset, buf, len, err);
}

int umbra_area_zero(const struct umbra_area *a, uint64_t offset, size_t len,
		    struct umbra_error *err)
{
	return put(a, offset, NULL, len, err);
}

int umbra_area_flush(const struct umbra_area *a, struct umbra_error *err)
{
	int fd = io_of(a, err);

	if (fd < 0)
		return fd;
	return fdatasync(fd) < 0 ? umbra_fail_errno(err, errno,
						    "cannot flush the diff area at '%s'", a->place)
				 : 0;
}
