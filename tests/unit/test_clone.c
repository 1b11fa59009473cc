/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/sys/clone.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/util.h"
#include "place.h"

TestSuite(clone, .init = place_begin, .fini = place_end, .timeout = 60);

static int make(const char *name)
{
	int fd = openat(place_fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	cr_assert_geq(fd, 0);
	return fd;
}

static void put(int fd, off_t at, size_t len, char c)
{
	_cleanup_free_ char *buf = malloc(len);

	memset(buf, c, len);
	cr_assert_eq(pwrite(fd, buf, len, at), (ssize_t)len);
}

/* Same size, same data extents, same bytes in them. */
static void assert_same(int a, int b)
{
	off_t size = lseek(a, 0, SEEK_END), at = 0, data, hole;
	char x[4096], y[4096];
	ssize_t n;

	cr_assert_eq(lseek(b, 0, SEEK_END), size);
	while ((data = lseek(a, at, SEEK_DATA)) >= 0) {
		cr_assert_eq(lseek(b, at, SEEK_DATA), data);
		hole = lseek(a, data, SEEK_HOLE);
		cr_assert_eq(lseek(b, data, SEEK_HOLE), hole);
		for (at = data; at < hole; at += n) {
			n = pread(a, x, sizeof(x), at);
			cr_assert_gt(n, 0);
			cr_assert_eq(pread(b, y, (size_t)n, at), n);
			cr_assert_eq(memcmp(x, y, (size_t)n), 0, "at %jd", (intmax_t)at);
		}
		at = hole;
	}
	cr_assert_lt(lseek(b, at, SEEK_DATA), 0);
}

static void check_all_ways(int from)
{
	struct umbra_clone_pair by_hand = {.no_clone = true, .no_kernel_copy = true};
	struct umbra_clone_pair kernel = {.no_clone = true}, *ways[] = {NULL, &by_hand, &kernel};
	size_t i;

	for (i = 0; i < UMBRA_ARRAY_SIZE(ways); i++) {
		_cleanup_close_ int to = make("to");

		cr_assert_geq(umbra_clone_data(from, to, ways[i], NULL), 0);
		assert_same(from, to);
		unlinkat(place_fd, "to", 0);
	}
}

Test(clone, every_size_around_the_limits)
{
	static const size_t sizes[] = {0,      1,       4095,          4096,
				       65536,  65537,   262143,        262144,
				       262145, 8 << 20, (8 << 20) + 1, (9 << 20) + 17};
	size_t i;

	for (i = 0; i < UMBRA_ARRAY_SIZE(sizes); i++) {
		_cleanup_close_ int from = make("from");

		if (sizes[i])
			put(from, 0, sizes[i], 'x');
		check_all_ways(from);
		unlinkat(place_fd, "from", 0);
	}
}

Test(clone, holes_everywhere)
{
	_cleanup_close_ int from = make("from");

	put(from, 1 << 20, 5000, 'a');
	put(from, 2 << 20, 300 << 10, 'b');
	put(from, (4 << 20) + 100, 1, 'c');
	cr_assert_eq(ftruncate(from, (6 << 20) + 11), 0);
	check_all_ways(from);
}

Test(clone, six_gibibytes_of_nothing_are_quick)
{
	_cleanup_close_ int from = make("from");
	struct stat st;

	put(from, 5LL << 30, 10, 'z');
	cr_assert_eq(ftruncate(from, 6LL << 30), 0);
	check_all_ways(from);
	cr_assert_eq(fstat(from, &st), 0);
	cr_assert_lt(st.st_blocks, 1000);
}

Test(clone, only_a_hole)
{
	_cleanup_close_ int from = make("from");

	cr_assert_eq(ftruncate(from, 3000), 0);
	check_all_ways(from);
}

Test(clone, other_filesystem)
{
	char path[] = "/dev/shm/umbra-unit-XXXXXX";
	_cleanup_close_ int from = make("from"), to = mkstemp(path);
	struct umbra_clone_pair pair = {0};

	if (to < 0)
		place_skip("no /dev/shm");
	unlink(path);
	put(from, 1 << 20, 300 << 10, 'a');
	put(from, 3 << 20, 10, 'a');
	cr_assert_eq(ftruncate(from, 5 << 20), 0);
	cr_assert_eq(umbra_clone_data(from, to, &pair, NULL), 0);
	assert_same(from, to);
}

static int stop(struct umbra_clone_watch *watch, uint64_t bytes)
{
	(void)watch;
	(void)bytes;
	return -ECANCELED;
}

Test(clone, can_be_stopped)
{
	struct umbra_clone_watch watch = {.tick = stop};
	struct umbra_clone_pair pair = {.no_clone = true};
	_cleanup_close_ int from = make("from"), to = make("to");

	put(from, 0, 32 << 20, 'x');
	cr_assert_eq(umbra_clone_data(from, to, &pair, &watch), -ECANCELED);
	cr_assert_lt(lseek(to, 0, SEEK_END), 32 << 20);
}

Test(clone, what_is_no_file_is_refused)
{
	_cleanup_close_ int to = make("to");

	cr_assert_eq(umbra_clone_data(place_fd, to, NULL, NULL), -EINVAL);
}

Test(clone, opening_does_not_wait_or_follow)
{
	cr_assert_eq(mkfifoat(place_fd, "fifo", 0600), 0);
	cr_assert_eq(symlinkat("fifo", place_fd, "link"), 0);
	/* Opened, it would let a writer go on that nobody will ever read from. */
	cr_assert_eq(umbra_clone_open(place_fd, "fifo", 0), -ENXIO);
	cr_assert_eq(umbra_clone_open(place_fd, "link", 0), -ELOOP);
	cr_assert_eq(umbra_clone_open(place_fd, "fifo", O_DIRECTORY), -ENOTDIR);
	cr_assert_eq(umbra_clone_open(place_fd, "none", 0), -ENOENT);
}
