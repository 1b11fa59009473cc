/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/util.h"
#include "fill.h"
#include "hostile.h"

#define GIB           ((off_t)1 << 30)
#define MANY_LINKS    200
#define PIECE         65536
#define SPARSE_LENGTH (6 * GIB)

void hostile_sizes(struct hostile *h, int dir)
{
	static const size_t around[] = {0, 512, 4096, 8192, 16384, 65536, 131072, 1048576};
	char name[32];
	size_t i, size;

	for (i = 0; i < UMBRA_ARRAY_SIZE(around); i++) {
		for (size = around[i] ? around[i] - 1 : 0; size <= around[i] + 1; size++) {
			snprintf(name, sizeof(name), "%zu", size);
			make_file(h, dir, name, size);
		}
	}
}

/* A file of `length` bytes with data of PIECE bytes at each of the n places. */
static void sparse(struct hostile *h, int dir, const char *name, off_t length, const off_t *places,
		   size_t n)
{
	_cleanup_close_ int fd = openat(dir, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	size_t i;
	int r;

	must(fd, "create", name);
	must(ftruncate(fd, length), "truncate", name);
	for (i = 0; i < n; i++) {
		r = fill_file(fd, h->seed++, places[i], PIECE);
		errno = -r;
		must(r, "write", name);
	}
}

void hostile_holes(struct hostile *h, int dir)
{
	const off_t ends[] = {0, SPARSE_LENGTH / 2, SPARSE_LENGTH - PIECE};
	const off_t odd[] = {PIECE, 4 * PIECE, 7 * PIECE};
	_cleanup_close_ int fd = -1;

	sparse(h, dir, "6GiB", SPARSE_LENGTH, ends, 3);
	sparse(h, dir, "hole only", 10 * PIECE + 5, NULL, 0);
	sparse(h, dir, "hole first", 2 * PIECE, odd, 1);
	sparse(h, dir, "hole last", 20 * PIECE + 1, ends, 1);
	sparse(h, dir, "stripes", 10 * PIECE, odd, 3);

	make_file(h, dir, "punched", 8 * PIECE);
	fd = openat(dir, "punched", O_RDWR | O_CLOEXEC);
	must(fd, "open", "punched");
	must(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 2 * PIECE, 3 * PIECE),
	     "punch a hole in", "punched");

	/* Zeros that are written are data, not a hole. */
	sparse(h, dir, "zeros", 4 * PIECE, NULL, 0);
	umbra_close(fd);
	fd = openat(dir, "zeros", O_RDWR | O_CLOEXEC);
	must(fd, "open", "zeros");
	must((int)pwrite(fd, (char[PIECE]){0}, PIECE, PIECE), "write", "zeros");
}

void hostile_links(struct hostile *h, int dir)
{
	_cleanup_close_ int one = make_dir(dir, "one"), two = make_dir(dir, "two");
	char name[32];
	int i;

	make_file(h, one, "file", 5000);
	must(linkat(one, "file", two, "same file", 0), "link", "same file");
	must(linkat(one, "file", dir, "file too", 0), "link", "file too");

	/* Equal in everything but not linked: must stay two. */
	make_file(h, one, "twin", 0);
	make_file(h, two, "twin", 0);

	must(symlinkat("target", one, "symlink"), "symlink", "symlink");
	must(linkat(one, "symlink", two, "symlink", 0), "link", "symlink");
	must(mkfifoat(one, "fifo", 0600), "mkfifo", "fifo");
	must(linkat(one, "fifo", two, "fifo", 0), "link", "fifo");

	make_file(h, one, "many", 10);
	for (i = 0; i < MANY_LINKS; i++) {
		snprintf(name, sizeof(name), "many-%d", i);
		must(linkat(one, "many", i % 2 ? one : two, name, 0), "link", name);
	}
}
