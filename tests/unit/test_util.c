/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/util.h"
#include "place.h"

TestSuite(util, .init = place_begin, .fini = place_end, .timeout = 60);

static int try_real(const char *below)
{
	_cleanup_free_ char *path = umbra_asprintf("%s%s", place, below);
	int fd = umbra_open_real(path, O_RDONLY | O_DIRECTORY);

	umbra_close(fd);
	return fd < 0 ? fd : 0;
}

Test(util, a_real_path_has_no_links)
{
	_cleanup_close_ int fd = open(place, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_close_ int root = umbra_open_real("/", O_RDONLY | O_DIRECTORY);
	struct stat a, b;

	cr_assert_eq(mkdirat(fd, "a", 0755) | mkdirat(fd, "a/b", 0755), 0);
	cr_assert_eq(symlinkat("a", fd, "link") | symlinkat("b", fd, "a/last"), 0);
	cr_assert_eq(try_real("/a/b"), 0);
	cr_assert_eq(try_real("/link/b"), -ENOTDIR);
	cr_assert_lt(try_real("/a/last"), 0);
	cr_assert_eq(try_real("/a/none"), -ENOENT);
	cr_assert_eq(fstat(root, &a) | stat("/", &b), 0);
	cr_assert(a.st_ino == b.st_ino && a.st_dev == b.st_dev);
}

Test(util, closed_standard_descriptors_are_taken)
{
	int lowest;

	close(STDIN_FILENO);
	close(STDOUT_FILENO);
	umbra_hold_standard_fds();
	lowest = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cr_assert_gt(lowest, STDERR_FILENO);
	cr_assert(write(STDOUT_FILENO, "x", 1) < 0 && errno == EBADF, "lost without a word");
	close(lowest);
}

Test(util, an_empty_directory)
{
	_cleanup_free_ char *file = umbra_asprintf("%s/.hidden", place);
	_cleanup_close_ int fd = -1;

	cr_assert_eq(umbra_dir_is_empty(AT_FDCWD, place), 1);
	fd = open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	cr_assert_geq(fd, 0);
	cr_assert_eq(umbra_dir_is_empty(AT_FDCWD, place), 0);
	cr_assert_eq(umbra_dir_is_empty(AT_FDCWD, file), -ENOTDIR);
}
