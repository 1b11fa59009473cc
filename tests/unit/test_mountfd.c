/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "btrfs_lab.h"
#include "snapshot/sys/mountfd.h"

TestSuite(mountfd, .init = lab_begin, .fini = lab_end, .timeout = 60);

static const struct umbra_mount_option top[] = {{"subvolid", "5"}, {NULL, NULL}};

static char *device(void)
{
	char *name = NULL;
	size_t len;

	lab_run("findmnt -no SOURCE top | tr -d '\\n' >dev");
	cr_assert_eq(umbra_read_file(AT_FDCWD, lab_path("dev"), 100, &name, &len), 0);
	return name;
}

static int try(const char *dev, enum umbra_mountfd_mode mode)
{
	_cleanup_close_ int mount = -1, root = -1;
	struct umbra_error err = {0};
	int r;

	cr_assert_eq(umbra_mountfd_open("btrfs", dev, top, mode, &mount, &root, &err), 0, "%s",
		     err.text);
	r = mkdirat(root, "made", 0700) < 0 ? -errno : 0;
	unlinkat(root, "made", AT_REMOVEDIR);
	return r;
}

Test(mountfd, the_mode_is_of_this_mount_alone)
{
	_cleanup_free_ char *dev = device();

	cr_assert_eq(try(dev, UMBRA_MOUNTFD_READ), -EROFS);
	cr_assert_eq(try(dev, UMBRA_MOUNTFD_WRITE), 0);
	lab_run("touch top/still-writable");
}

Test(mountfd, a_read_only_filesystem_is_not_made_writable)
{
	_cleanup_free_ char *dev = device();

	lab_run("umount at && mount -o remount,ro top");
	cr_assert_eq(try(dev, UMBRA_MOUNTFD_WRITE), -EROFS);
	lab_run("! touch top/f && findmnt -no FS-OPTIONS top | grep -q ^ro");
}

Test(mountfd, errors_name_the_device)
{
	struct umbra_error err = {0};
	int mount, root;

	cr_assert_eq(umbra_mountfd_open("btrfs", "/dev/umbra-none", NULL, UMBRA_MOUNTFD_READ,
					&mount, &root, &err),
		     -ENOENT);
	cr_assert_not_null(strstr(err.text, "/dev/umbra-none"), "%s", err.text);
	cr_assert_eq(umbra_mountfd_available("no-such-fs", &err), -EOPNOTSUPP);
	cr_assert_not_null(strstr(err.text, "no-such-fs"), "%s", err.text);
	cr_assert_eq(umbra_mountfd_available("btrfs", &err), 0);
}
