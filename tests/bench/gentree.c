/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * bench-gentree DIR FILES BYTES: a tree that looks like a real one (/usr, a home) and is the same
 * in every run: 16 files a directory, sizes from none to megabytes with most of them small, times
 * in the past. BYTES is met to within a file's rounding.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../lib/fill.h"
#include "common/util.h"

#define FILES_A_DIRECTORY   16
#define DIRECTORIES_A_LEVEL 12
#define WHEN                1600000000

/* Sizes at each tenth of the files of a Debian /usr, bytes; between them it is linear. */
#define TENTHS 10
static const double sizes[TENTHS + 1] = {0,    230,  640,   1200,  2000,   3100,
					 4700, 7500, 13000, 30000, 2000000};

static double any_size(uint64_t *state)
{
	double u = (double)(fill_next(state) >> 11) / (double)(1ULL << 53);
	double place = u * TENTHS;
	size_t i = (size_t)place;
	double part = place - (double)i;

	/* The last tenth falls off steeply. */
	if (i == TENTHS - 1)
		part = part * part * part * part * part * part * part * part;
	return sizes[i] + part * (sizes[i + 1] - sizes[i]);
}

/* The size of every file, scaled so that they sum up to bytes. */
static uint64_t *all_sizes(size_t files, double bytes)
{
	uint64_t *out = calloc(files, sizeof(*out)), state = 1;
	double sum = 0;
	size_t i;

	if (!out)
		err(1, "out of memory");
	for (i = 0; i < files; i++)
		sum += any_size(&state);
	for (i = 0, state = 1; i < files; i++)
		out[i] = (uint64_t)(any_size(&state) * bytes / sum);
	return out;
}

/* Directory n hangs below directory (n - 1) / DIRECTORIES_A_LEVEL; 0 is the top. */
static char *directory_path(size_t n)
{
	_cleanup_free_ char *above = NULL;

	if (n == 0)
		return strdup(".");
	above = directory_path((n - 1) / DIRECTORIES_A_LEVEL);
	return above ? umbra_asprintf("%s/dir-%zu", above, n) : NULL;
}

static int open_directory(size_t n)
{
	_cleanup_free_ char *path = directory_path(n);
	int fd;

	if (!path || (mkdir(path, 0755) < 0 && errno != EEXIST))
		err(1, "mkdir");
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		err(1, "%s", path);
	return fd;
}

static void make(int dir, size_t i, uint64_t size)
{
	const struct timespec times[2] = {{.tv_sec = WHEN}, {WHEN + (time_t)i, (long)i}};
	_cleanup_close_ int fd = -1;
	char name[32];

	snprintf(name, sizeof(name), "file-%zu.dat", i);
	fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0)
		err(1, "%s", name);
	errno = -fill_file(fd, i + 1, 0, size);
	if (errno)
		err(1, "%s", name);
	if (futimens(fd, times) < 0)
		err(1, "%s", name);
}

int main(int argc, char **argv)
{
	_cleanup_free_ uint64_t *size = NULL;
	_cleanup_close_ int dir = -1;
	size_t files, i;

	if (argc != 4)
		errx(2, "usage: bench-gentree DIR FILES BYTES");
	files = strtoul(argv[2], NULL, 10);
	size = all_sizes(files, strtod(argv[3], NULL));
	if ((mkdir(argv[1], 0755) < 0 && errno != EEXIST) || chdir(argv[1]) < 0)
		err(1, "%s", argv[1]);
	for (i = 0; i < files; i++) {
		if (i % FILES_A_DIRECTORY == 0) {
			umbra_close(dir);
			dir = open_directory(i / FILES_A_DIRECTORY);
		}
		make(dir, i, size[i]);
	}
	return 0;
}
