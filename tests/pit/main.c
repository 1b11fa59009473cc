/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* umbra-pit: the writer and the checker of pit.h for shell tests. */
#include "pit.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FILES  8
#define BLOCKS 256

static volatile int stop;

static void on_signal(int sig)
{
	(void)sig;
	stop = 1;
}

static int fail(const char *what)
{
	fprintf(stderr, "umbra-pit: '%s': %s\n", what, strerror(errno));
	return 1;
}

static int cmd_write(const char *dir, const char *status, const char *seconds)
{
	struct pit_status *s = pit_status_new(status, FILES, BLOCKS);
	int r;

	if (!s)
		return fail(status);
	signal(SIGTERM, on_signal);
	signal(SIGINT, on_signal);
	r = pit_write(dir, s, atof(seconds), &stop);
	errno = -r;
	pit_status_close(s);
	return r < 0 ? fail(dir) : 0;
}

static int cmd_mark(const char *status)
{
	struct pit_status *s = pit_status_open(status);

	if (!s)
		return fail(status);
	printf("%llu %llu\n", (unsigned long long)s->synced, (unsigned long long)s->issued);
	pit_status_close(s);
	return 0;
}

static void print(const char *text)
{
	printf("%s\n", text);
}

static int cmd_check(const char *dir, const char *status, const char *synced, const char *issued)
{
	struct pit_status *s = pit_status_open(status);
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	uint64_t newest;
	long faults;

	if (!s || fd < 0)
		return fail(s ? dir : status);
	faults = pit_check(fd, s, strtoull(synced, NULL, 10), strtoull(issued, NULL, 10), print,
			   &newest);
	close(fd);
	pit_status_close(s);
	errno = faults < 0 ? (int)-faults : 0;
	if (faults < 0)
		return fail(dir);
	printf("%ld faults, newest %llu\n", faults, (unsigned long long)newest);
	return faults > 0;
}

int main(int argc, char **argv)
{
	if (argc == 5 && strcmp(argv[1], "write") == 0)
		return cmd_write(argv[2], argv[3], argv[4]);
	if (argc == 3 && strcmp(argv[1], "mark") == 0)
		return cmd_mark(argv[2]);
	if (argc == 6 && strcmp(argv[1], "check") == 0)
		return cmd_check(argv[2], argv[3], argv[4], argv[5]);
	fprintf(stderr, "usage: umbra-pit write DIR STATUS SECONDS\n"
			"       umbra-pit mark STATUS            prints SYNCED ISSUED\n"
			"       umbra-pit check DIR STATUS SYNCED ISSUED\n");
	return 2;
}
