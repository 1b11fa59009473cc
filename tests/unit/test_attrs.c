/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/sys/attrs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "common/util.h"
#include "place.h"

static void setup(void)
{
	place_begin();
	cr_assert_eq(chmod(place, 0777), 0);
	cr_assert_eq(fchdir(place_fd), 0);
}

TestSuite(attrs, .init = setup, .fini = place_end, .timeout = 60);

static void touch(const char *name, mode_t mode)
{
	_cleanup_close_ int fd =
		openat(place_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	cr_assert_geq(fd, 0);
	cr_assert_eq(fchmod(fd, mode), 0);
}

static unsigned int copy(const char *a, const char *b, unsigned int what)
{
	struct umbra_object from = {.dirfd = place_fd, .name = a},
			    to = {.dirfd = place_fd, .name = b};
	unsigned int lost = ~0U;
	struct stat st;

	cr_assert_eq(fstatat(place_fd, a, &st, AT_SYMLINK_NOFOLLOW), 0);
	cr_assert_eq(umbra_attrs_copy(&from, &to, &st, what, &lost), 0);
	return lost;
}

static void assert_same(const char *a, const char *b)
{
	struct umbra_object from = {.dirfd = place_fd, .name = a},
			    to = {.dirfd = place_fd, .name = b};
	struct stat x, y;

	cr_assert_eq(fstatat(place_fd, a, &x, AT_SYMLINK_NOFOLLOW), 0);
	cr_assert_eq(fstatat(place_fd, b, &y, AT_SYMLINK_NOFOLLOW), 0);
	cr_assert_eq(x.st_mode, y.st_mode, "%s %o %o", a, x.st_mode, y.st_mode);
	cr_assert_eq(x.st_uid, y.st_uid);
	cr_assert_eq(x.st_gid, y.st_gid);
	cr_assert_eq(memcmp(&x.st_mtim, &y.st_mtim, sizeof(x.st_mtim)), 0);
	cr_assert_eq(memcmp(&x.st_atim, &y.st_atim, sizeof(x.st_atim)), 0);
	cr_assert_eq(umbra_attrs_same_xattrs(&from, &to), 1);
}

static void old_times(const char *name)
{
	const struct timespec t[2] = {{-86400, 1}, {-1234567, 999999999}};

	cr_assert_eq(utimensat(place_fd, name, t, AT_SYMLINK_NOFOLLOW), 0);
}

static void run(const char *cmd)
{
	if (system(cmd) != 0)
		place_skip("'%s' does not work here", cmd);
}

Test(attrs, of_every_type)
{
	static const char *const types[] = {"file", "dir", "link", "fifo", "null", "disk"};
	size_t i;

	place_need_root("to give files to others");
	for (i = 0; i < 2; i++) {
		touch(i ? "file2" : "file", 0600);
		cr_assert_eq(mkdirat(place_fd, i ? "dir2" : "dir", 0700), 0);
		cr_assert_eq(symlinkat("none", place_fd, i ? "link2" : "link"), 0);
		cr_assert_eq(mkfifoat(place_fd, i ? "fifo2" : "fifo", 0600), 0);
		cr_assert_eq(mknodat(place_fd, i ? "null2" : "null", S_IFCHR | 0600, makedev(1, 3)),
			     0);
		cr_assert_eq(
			mknodat(place_fd, i ? "disk2" : "disk", S_IFBLK | 0600, makedev(7, 99)), 0);
	}
	for (i = 0; i < UMBRA_ARRAY_SIZE(types); i++) {
		_cleanup_free_ char *to = umbra_asprintf("%s2", types[i]);

		cr_assert_eq(fchownat(place_fd, types[i], 1234, 4321, AT_SYMLINK_NOFOLLOW), 0);
		if (strcmp(types[i], "link") != 0)
			cr_assert_eq(fchmodat(place_fd, types[i], 07751, 0), 0);
		setxattr(types[i], "trusted.umbra", "x\0y", 3, 0);
		old_times(types[i]);
		cr_assert_eq(copy(types[i], to, UMBRA_ATTRS_ALL), 0);
		assert_same(types[i], to);
	}
}

Test(attrs, through_descriptors_of_any_kind)
{
	struct umbra_object from = {.name = NULL}, to = {.name = NULL};
	_cleanup_close_ int a = -1, b = -1;
	unsigned int lost;
	struct stat st;

	touch("a", 0640);
	touch("b", 0600);
	old_times("a");
	run("setfattr -n user.one -v two a");
	a = open("a", O_PATH | O_CLOEXEC);
	b = open("b", O_PATH | O_CLOEXEC);
	from.dirfd = a;
	to.dirfd = b;
	cr_assert_eq(fstat(a, &st), 0);
	cr_assert_eq(umbra_attrs_copy(&from, &to, &st, UMBRA_ATTRS_ALL, &lost), 0);
	cr_assert_eq(lost, 0);
	assert_same("a", "b");
}

Test(attrs, acls_and_capabilities)
{
	place_need_root("to set capabilities");
	touch("a", 0600);
	touch("b", 0600);
	cr_assert_eq(mkdirat(place_fd, "d", 0700), 0);
	cr_assert_eq(mkdirat(place_fd, "e", 0700), 0);
	run("setfacl -m u:77:r,g:88:rw,m::r a && setfacl -d -m u:77:rx d && setcap cap_kill=ep a");
	cr_assert_eq(copy("a", "b", UMBRA_ATTRS_ALL | UMBRA_ATTRS_FRESH), 0);
	cr_assert_eq(copy("d", "e", UMBRA_ATTRS_ALL | UMBRA_ATTRS_FRESH), 0);
	assert_same("a", "b");
	assert_same("d", "e");
	cr_assert_gt(getxattr("b", "security.capability", NULL, 0), 0);
}

Test(attrs, an_inherited_acl_is_removed)
{
	touch("a", 0640);
	run("setfacl -d -m u:77:rwx .");
	touch("b", 0600);
	cr_assert_eq(copy("a", "b", UMBRA_ATTRS_ALL), 0);
	assert_same("a", "b");
}

Test(attrs, many_and_large_ones)
{
	_cleanup_free_ char *value = calloc(1, 3000);
	int i;

	touch("a", 0400);
	touch("b", 0600);
	run("setfattr -n user.probe a");
	for (i = 0; i < 60; i++) {
		_cleanup_free_ char *name = umbra_asprintf("user.number-%d", i);

		value[0] = (char)i;
		if (setxattr("a", name, value, (size_t)i * 2, 0) < 0)
			break;
	}
	cr_assert_gt(i, 20);
	cr_assert_eq(copy("a", "b", UMBRA_ATTRS_ALL), 0);
	assert_same("a", "b");
}

/* Runs fn as an ordinary user; its return value is the result. */
static int as_user(int (*fn)(void))
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		if (setresgid(4711, 4711, 4711) < 0 || setresuid(4711, 4711, 4711) < 0)
			_exit(99);
		_exit(fn());
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 98;
}

/* "a" to the new "b"; negative: not copied. */
static int copy_all(unsigned int *lost)
{
	struct umbra_object from = {.dirfd = place_fd, .name = "a"},
			    to = {.dirfd = place_fd, .name = "b"};
	_cleanup_close_ int fd =
		openat(place_fd, "b", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	struct stat st;

	*lost = 0;
	if (fd < 0 || fstatat(place_fd, "a", &st, 0) < 0)
		return -errno;
	return umbra_attrs_copy(&from, &to, &st, UMBRA_ATTRS_ALL, lost);
}

static int user_copies_foreign(void)
{
	unsigned int lost;
	struct stat st;

	if (copy_all(&lost) < 0 || fstatat(place_fd, "b", &st, 0) < 0)
		return 1;
	if (lost != (UMBRA_ATTRS_OWNER | UMBRA_ATTRS_MODE))
		return 2;
	return st.st_uid == 4711 && (st.st_mode & 07777) == 0755 ? 0 : 3;
}

Test(attrs, no_set_id_bits_without_the_owner)
{
	place_need_root("to become another user");
	touch("a", 04755);
	cr_assert_eq(as_user(user_copies_foreign), 0);
}

static int user_keeps_read_only(void)
{
	struct umbra_object from = {.dirfd = place_fd, .name = "a"},
			    to = {.dirfd = place_fd, .name = "b"};
	unsigned int lost;

	if (copy_all(&lost) < 0)
		return 1;
	return lost ? 2 : umbra_attrs_same_xattrs(&from, &to) == 1 ? 0 : 3;
}

Test(attrs, attributes_of_a_file_that_its_owner_may_not_write)
{
	place_need_root("to become another user");
	touch("a", 0444);
	run("setfattr -n user.one -v two a && chown 4711:4711 a");
	cr_assert_eq(as_user(user_keeps_read_only), 0);
}

Test(attrs, without_its_acl_the_group_gets_no_more)
{
	struct umbra_object from = {.dirfd = place_fd, .name = "a"}, to = {.name = NULL};
	_cleanup_close_ int fd = -1;
	unsigned int lost = 0;
	struct stat st;

	place_need_root("to mount a filesystem");
	touch("a", 0604);
	cr_assert_eq(mkdirat(place_fd, "ram", 0700), 0);
	run("setfacl -m u:77:rw,g::-,m::rw a");
	run("mount -t ramfs none ram"); /* knows no ACLs */
	fd = open("ram/b", O_RDONLY | O_CREAT | O_CLOEXEC, 0600);
	umount2("ram", MNT_DETACH);
	to.dirfd = fd;
	cr_assert_eq(fstatat(place_fd, "a", &st, 0), 0);
	cr_assert_eq(umbra_attrs_copy(&from, &to, &st, UMBRA_ATTRS_ALL, &lost), 0);
	cr_assert_eq(fstat(fd, &st), 0);
	cr_assert_eq(lost, (unsigned int)UMBRA_ATTRS_ACLS, "%x", lost);
	cr_assert_eq(st.st_mode & 07777, 0604, "%o", st.st_mode);
}

Test(attrs, their_names)
{
	char buf[100], small[8];

	cr_assert_str_eq(umbra_attrs_names(UMBRA_ATTRS_MODE | UMBRA_ATTRS_TIMES, buf, sizeof(buf)),
			 "mode, times");
	cr_assert_str_eq(umbra_attrs_names(UMBRA_ATTRS_ALL, small, sizeof(small)), "owner, ");
	cr_assert_str_eq(umbra_attrs_names(0, buf, sizeof(buf)), "");
}
