/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Writes 1 to A, then 1 to B, then 2 to A, and so on, each durable before the next:
 *
 *	umbra-vm-alternate A B OFFSET
 *
 * A and B are files or block devices; the number is a line of text, in a block of 4 KiB at OFFSET
 * (a multiple of that). Until SIGTERM; then prints the last number. Status 1 when a write fails.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BLOCK 4096

static volatile sig_atomic_t stopped;

static void on_stop(int number)
{
	(void)number;
	stopped = 1;
}

static int failed(const char *what)
{
	fprintf(stderr, "umbra-vm-alternate: %s: %s\n", what, strerror(errno));
	return 1;
}

int main(int argc, char **argv)
{
	unsigned long n = 0;
	int fds[2], i;
	off_t offset;
	char *block;

	if (argc != 4)
		return 2;
	offset = strtoll(argv[3], NULL, 10);
	for (i = 0; i < 2; i++) {
		fds[i] = open(argv[1 + i], O_WRONLY | O_DIRECT | O_DSYNC | O_CLOEXEC);
		if (fds[i] < 0)
			return failed(argv[1 + i]);
	}
	block = aligned_alloc(BLOCK, BLOCK);
	if (!block)
		return failed("memory");
	memset(block, 0, BLOCK);
	signal(SIGTERM, on_stop);
	while (!stopped) {
		snprintf(block, BLOCK, "%lu\n", ++n);
		for (i = 0; i < 2; i++)
			if (pwrite(fds[i], block, BLOCK, offset) != BLOCK)
				return failed(argv[1 + i]);
	}
	printf("%lu\n", n);
	free(block);
	return 0;
}
