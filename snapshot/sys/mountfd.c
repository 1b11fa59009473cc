/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/sys/mountfd.h"

#include <fcntl.h>
#include <linux/mount.h> /* <sys/mount.h> has the same names since glibc 2.36, not before */
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/util.h"

static int fs_open(const char *fstype)
{
	return (int)syscall(SYS_fsopen, fstype, FSOPEN_CLOEXEC);
}

static int fs_config(int fs, unsigned int cmd, const char *key, const char *value)
{
	return (int)syscall(SYS_fsconfig, fs, cmd, key, value, 0);
}

static int fs_mount(int fs, unsigned int attributes)
{
	return (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, attributes);
}

static int fs_clone(int fd)
{
	return (int)syscall(SYS_open_tree, fd, "",
			    OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
}

static int fs_set(int mount, struct mount_attr *attr)
{
	return (int)syscall(SYS_mount_setattr, mount, "", AT_EMPTY_PATH, attr, sizeof(*attr));
}

static int no_context(const char *fstype, int errnum, struct umbra_error *err)
{
	switch (errnum) {
	case ENOSYS:
		return umbra_fail(err, UMBRA_E_UNSUPPORTED, ENOSYS,
				  "this kernel has no mount API (fsopen): Linux 5.2 or newer is "
				  "needed");
	case ENODEV:
		return umbra_fail(err, UMBRA_E_UNSUPPORTED, EOPNOTSUPP,
				  "this kernel does not know the filesystem '%s'", fstype);
	case EPERM:
		return umbra_fail(err, UMBRA_E_PERMISSION, EPERM,
				  "mounting is not allowed here: root (CAP_SYS_ADMIN) is needed");
	default:
		return umbra_fail_errno(err, errnum, "cannot open a context for '%s'", fstype);
	}
}

int umbra_mountfd_available(const char *fstype, struct umbra_error *err)
{
	_cleanup_close_ int fs = fs_open(fstype);

	return fs < 0 ? no_context(fstype, errno, err) : 0;
}

static int configure(int fs, const char *source, const struct umbra_mount_option *options)
{
	if (fs_config(fs, FSCONFIG_SET_STRING, "source", source) < 0 ||
	    fs_config(fs, FSCONFIG_SET_FLAG, "ro", NULL) < 0)
		return -errno;
	for (; options && options->key; options++)
		if (fs_config(fs, options->value ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG,
			      options->key, options->value) < 0)
			return -errno;
	return fs_config(fs, FSCONFIG_CMD_CREATE, NULL, NULL) < 0 ? -errno : 0;
}

/* What the filesystem itself says is in the context, one message a read: "e btrfs: bad option" */
static int fail(struct umbra_error *err, int fs, int errnum, const char *fstype, const char *source)
{
	char said[256];
	ssize_t n = read(fs, said, sizeof(said) - 1);

	if (n <= 2)
		return umbra_fail_errno(err, errnum, "cannot mount the %s filesystem on '%s'",
					fstype, source);
	said[n] = '\0';
	said[strcspn(said, "\n")] = '\0';
	return umbra_fail_errno(err, errnum, "cannot mount the %s filesystem on '%s' (%s)", fstype,
				source, said + 2);
}

int umbra_mountfd_open(const char *fstype, const char *source,
		       const struct umbra_mount_option *options, enum umbra_mountfd_mode mode,
		       int *mount_fd, int *root_fd, struct umbra_error *err)
{
	unsigned int attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
	_cleanup_close_ int fs = fs_open(fstype), mount = -1, root = -1;
	int r;

	if (fs < 0)
		return no_context(fstype, errno, err);
	r = configure(fs, source, options);
	if (r < 0)
		return fail(err, fs, r, fstype, source);
	if (mode == UMBRA_MOUNTFD_READ)
		attributes |= MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOATIME;
	mount = fs_mount(fs, attributes);
	if (mount < 0)
		return fail(err, fs, errno, fstype, source);
	root = openat(mount, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return umbra_fail_errno(err, errno, "cannot open the root of '%s'", source);
	*mount_fd = TAKE_FD(mount);
	*root_fd = TAKE_FD(root);
	return 0;
}

/* Does this errno speak of this process at this moment only? */
static bool is_passing(int errnum)
{
	return errnum == EMFILE || errnum == ENFILE || errnum == ENOMEM;
}

int umbra_mountfd_clone(int fd, int *mount_fd, int *root_fd)
{
	struct mount_attr attr = {
		.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV |
			    MOUNT_ATTR_NOATIME,
		.attr_clr = MOUNT_ATTR__ATIME,
	};
	_cleanup_close_ int mount = fs_clone(fd), root = -1;

	if (mount >= 0 && fs_set(mount, &attr) == 0)
		root = openat(mount, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return is_passing(errno) ? -errno : 1;
	*mount_fd = TAKE_FD(mount);
	*root_fd = TAKE_FD(root);
	return 0;
}
