/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What suites of the guest do with many files, in one process: starting one takes long there.
 *
 *	umbra-vm-files scribble DIR SEED	removes, makes, changes some of twelve files
 *	umbra-vm-files sums DIR			a sum of each file below it, by name
 *	umbra-vm-files sum			of standard input
 *	umbra-vm-files make DIR COUNT BYTES	so many files in it, and the sums of what was
 *written
 *
 * Which files are changed, and where, follows from SEED; what is written to them is random. umbra's
 * own place at the top of a volume is not shown in copies and has no sums. Status 1: something
 * failed.
 */
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define FILES     12
#define LARGEST   (256U << 10)
#define BLOCK     4096U
#define FNV_BEGIN UINT64_C(0xcbf29ce484222325)
#define FNV_PRIME UINT64_C(0x100000001b3)

static unsigned char buffer[LARGEST];

static bool failed(const char *path)
{
	fprintf(stderr, "umbra-vm-files: '%s': %s\n", path, strerror(errno));
	return false;
}

/* --- sums --- */

static uint64_t sum_more(uint64_t sum, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		sum = (sum ^ buffer[i]) * FNV_PRIME;
	return sum;
}

static bool sum_of(int fd, uint64_t *sum)
{
	ssize_t n;

	*sum = FNV_BEGIN;
	while ((n = read(fd, buffer, sizeof(buffer))) > 0)
		*sum = sum_more(*sum, (size_t)n);
	return n == 0;
}

static bool print_sum(const char *path, const char *name)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	uint64_t sum;
	bool ok;

	if (fd < 0)
		return failed(path);
	ok = sum_of(fd, &sum) || failed(path);
	close(fd);
	if (ok)
		printf("%016" PRIx64 "  .%s\n", sum, name);
	return ok;
}

static int by_name(const FTSENT **a, const FTSENT **b)
{
	return strcmp((*a)->fts_name, (*b)->fts_name);
}

static bool print_sums(char *dir)
{
	char *const dirs[] = {dir, NULL};
	FTS *fts = fts_open(dirs, FTS_PHYSICAL | FTS_NOCHDIR, by_name);
	bool ok = true;
	FTSENT *e;

	if (!fts)
		return failed(dir);
	while ((e = fts_read(fts))) {
		if (e->fts_level == 1 && strcmp(e->fts_name, ".umbra") == 0) {
			fts_set(fts, e, FTS_SKIP);
		} else if (e->fts_info == FTS_F) {
			ok = print_sum(e->fts_path, e->fts_path + strlen(dir)) && ok;
		} else if (e->fts_info == FTS_ERR || e->fts_info == FTS_DNR ||
			   e->fts_info == FTS_NS) {
			errno = e->fts_errno;
			ok = failed(e->fts_path);
		}
	}
	fts_close(fts);
	return ok;
}

static bool print_input(void)
{
	uint64_t sum;

	if (!sum_of(STDIN_FILENO, &sum))
		return failed("standard input");
	printf("%016" PRIx64 "\n", sum);
	return true;
}

/* --- changes --- */

static bool write_to(const char *name, int flags, size_t len, off_t at)
{
	int fd = open(name, O_WRONLY | O_CLOEXEC | flags, 0644);
	size_t done = 0;
	ssize_t n = 0;

	if (fd < 0)
		return failed(name);
	for (; done < len && n >= 0; done += (size_t)n) {
		n = pwrite(fd, buffer + done, len - done, at + (off_t)done);
		if (n < 0)
			failed(name);
	}
	return close(fd) == 0 && n >= 0;
}

static bool fill(size_t len)
{
	size_t at;
	ssize_t n;

	for (at = 0; at < len; at += (size_t)n) {
		n = getrandom(buffer + at, len - at, 0);
		if (n < 0)
			return failed("getrandom");
	}
	return true;
}

static bool change(const char *name, const char *seed)
{
	size_t len;

	switch (random() % 4) {
	case 0:
		return unlink(name) == 0 || errno == ENOENT || failed(name);
	case 1:
		len = (size_t)random() % LARGEST;
		return fill(len) && write_to(name, O_CREAT | O_TRUNC, len, 0);
	case 2:
		return access(name, F_OK) < 0 ||
		       (fill(3 * BLOCK) &&
			write_to(name, 0, 3 * BLOCK, (off_t)(random() % 20 * BLOCK)));
	default:
		len = (size_t)snprintf((char *)buffer, sizeof(buffer), "%s\n", seed);
		return write_to(name, O_CREAT | O_APPEND, len, 0);
	}
}

static bool scribble(const char *dir, const char *seed)
{
	char name[16];
	int i;

	if (chdir(dir) < 0)
		return failed(dir);
	srandom((unsigned int)strtoul(seed, NULL, 10));
	for (i = 1; i <= FILES; i++) {
		snprintf(name, sizeof(name), "%d", i);
		if (!change(name, seed))
			return false;
	}
	return true;
}

/* --- many --- */

/* No two pieces of any file are alike. */
static bool make_one(const char *name, size_t bytes)
{
	static uint64_t pieces;
	uint64_t sum = FNV_BEGIN;
	size_t at, n;

	for (at = 0; at < bytes; at += n) {
		n = bytes - at < sizeof(buffer) ? bytes - at : sizeof(buffer);
		pieces++;
		memcpy(buffer, &pieces, sizeof(pieces));
		if (!write_to(name, O_CREAT, n, (off_t)at))
			return false;
		sum = sum_more(sum, n);
	}
	printf("%016" PRIx64 "  ./%s\n", sum, name);
	return true;
}

static bool make(const char *dir, long count, size_t bytes)
{
	char name[24];
	bool ok;
	long i;

	if (chdir(dir) < 0)
		return failed(dir);
	ok = fill(sizeof(buffer));
	for (i = 0; ok && i < count; i++) {
		snprintf(name, sizeof(name), "%06ld", i);
		ok = make_one(name, bytes);
	}
	return ok;
}

int main(int argc, char *argv[])
{
	bool ok;

	if (argc == 4 && strcmp(argv[1], "scribble") == 0) {
		ok = scribble(argv[2], argv[3]);
	} else if (argc == 3 && strcmp(argv[1], "sums") == 0) {
		ok = print_sums(argv[2]);
	} else if (argc == 2 && strcmp(argv[1], "sum") == 0) {
		ok = print_input();
	} else if (argc == 5 && strcmp(argv[1], "make") == 0) {
		ok = make(argv[2], strtol(argv[3], NULL, 10), strtoul(argv[4], NULL, 10));
	} else {
		fputs("usage: umbra-vm-files scribble DIR SEED | sums DIR | sum | make DIR COUNT "
		      "BYTES\n",
		      stderr);
		return 2;
	}
	return ok && fflush(stdout) == 0 ? 0 : 1;
}
