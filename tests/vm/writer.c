/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Writes a file over and over, past the page cache, and says how long its longest write took:
 *
 *	umbra-vm-writer FILE MEGABYTES SECONDS
 *
 * The file gets MEGABYTES, in pieces of 256 KiB; after the last piece it begins again, until
 * SECONDS are over, or, if these are 0, once. Prints "WRITES LONGEST-MS"; status 1 when a write
 * fails.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PIECE (256U << 10)

static int64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static int failed(const char *what)
{
	fprintf(stderr, "umbra-vm-writer: %s: %s\n", what, strerror(errno));
	return 1;
}

int main(int argc, char **argv)
{
	int64_t begun = now_us(), before, took, longest = 0, seconds;
	uint64_t pieces, n = 0;
	void *buffer;
	int fd;

	if (argc != 4)
		return 2;
	pieces = strtoull(argv[2], NULL, 10) * ((1U << 20) / PIECE);
	seconds = strtoll(argv[3], NULL, 10);
	fd = open(argv[1], O_WRONLY | O_CREAT | O_DIRECT | O_CLOEXEC, 0600);
	if (fd < 0 || posix_memalign(&buffer, 4096, PIECE) != 0)
		return failed(argv[1]);
	do {
		memset(buffer, (int)(n & 255), PIECE);
		before = now_us();
		if (pwrite(fd, buffer, PIECE, (off_t)(n % pieces * PIECE)) != PIECE)
			return failed("write");
		took = now_us() - before;
		if (took > longest)
			longest = took;
		n++;
	} while (seconds ? now_us() - begun < seconds * 1000000 : n < pieces);
	printf("%llu %lld\n", (unsigned long long)n, (long long)longest / 1000);
	free(buffer);
	return close(fd) < 0 ? failed("close") : 0;
}
