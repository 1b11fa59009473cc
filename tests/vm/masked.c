/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * umbra-vm-masked AREA.json DEVICE…: of each block device a sum of all that is on it, as the disk
 * has it, but the blocks of the diff area inside; AREA.json is its record, STATE/dm/AREA.json.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <linux/fs.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define BEGIN UINT64_C(0xcbf29ce484222325)
#define PRIME UINT64_C(0x100000001b3)
#define TURN  29

static union {
	unsigned char bytes[1U << 20];
	uint64_t words[(1U << 20) / sizeof(uint64_t)];
} piece;

/* What of the piece, which begins at this offset and has so many bytes, the extent covers is 0. */
static void mask(uint64_t at, uint64_t len, json_int_t physical, json_int_t length)
{
	uint64_t start = (uint64_t)physical, end = start + (uint64_t)length;

	start = start > at ? start : at;
	end = end < at + len ? end : at + len;
	if (start < end)
		memset(piece.bytes + (start - at), 0, end - start);
}

static int sum_of(int fd, const json_t *extents, uint64_t *sum)
{
	json_int_t logical, physical, length;
	uint64_t at = 0;
	const json_t *e;
	size_t i;
	ssize_t n;

	*sum = BEGIN;
	while ((n = read(fd, piece.bytes, sizeof(piece.bytes))) > 0) {
		json_array_foreach (extents, i, e) {
			if (json_unpack((json_t *)e, "[I,I,I]", &logical, &physical, &length) < 0)
				return -EINVAL;
			mask(at, (uint64_t)n, physical, length);
		}
		for (i = 0; i < (size_t)n / sizeof(*piece.words); i++) {
			*sum = (*sum ^ piece.words[i]) * PRIME;
			*sum ^= *sum >> TURN;
		}
		at += (uint64_t)n;
	}
	return n < 0 ? -errno : 0;
}

static int print_sum(const char *device, const json_t *extents)
{
	int fd = open(device, O_RDONLY | O_CLOEXEC);
	uint64_t sum = 0;
	int r = fd < 0 || ioctl(fd, BLKFLSBUF, 0) < 0 ? -errno : 0;

	if (r == 0)
		r = sum_of(fd, extents, &sum);
	if (r < 0)
		fprintf(stderr, "umbra-vm-masked: '%s': %s\n", device, strerror(-r));
	else
		printf("%016" PRIx64 "\n", sum);
	if (fd >= 0)
		close(fd);
	return r;
}

int main(int argc, char *argv[])
{
	json_error_t why;
	json_t *record;
	int i, r = 0;

	if (argc < 3) {
		fputs("usage: umbra-vm-masked AREA.json DEVICE...\n", stderr);
		return 2;
	}
	record = json_load_file(argv[1], 0, &why);
	if (!record) {
		fprintf(stderr, "umbra-vm-masked: '%s': %s\n", argv[1], why.text);
		return 1;
	}
	for (i = 2; i < argc && r == 0; i++)
		r = print_sum(argv[i], json_object_get(json_object_get(record, "area"), "extents"));
	json_decref(record);
	return r < 0;
}
