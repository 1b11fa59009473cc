/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/provider/dm/device/place.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "common/util.h"
#include "snapshot/provider/dm/device/names.h"
#include "snapshot/sys/dm.h"

#define DEPTH_MAX 32 /* of devices on each other */

int umbra_place_filesystem(int dirfd, const char *place, struct umbra_error *err)
{
	struct statfs fs;

	if (fstatfs(dirfd, &fs) < 0)
		return umbra_fail_errno(err, errno, "cannot look at the filesystem of '%s'", place);
	if (fs.f_type == EXT4_SUPER_MAGIC || fs.f_type == XFS_SUPER_MAGIC)
		return 0;
	return umbra_fail(err, UMBRA_E_UNSUPPORTED, EOPNOTSUPP,
			  "'%s' is on a filesystem that does not leave a file's blocks where they "
			  "are: a diff area needs a file on ext4 or XFS, or a block device of its "
			  "own ('umbra storage add --at')",
			  place);
}

int umbra_place_file(int fd, const char *place, struct umbra_error *err)
{
	struct fsxattr attr;

	if (ioctl(fd, FS_IOC_FSGETXATTR, &attr) < 0 || !(attr.fsx_xflags & FS_XFLAG_REALTIME))
		return 0;
	return umbra_fail(err, UMBRA_E_UNSUPPORTED, EOPNOTSUPP,
			  "XFS puts new files of '%s' on its realtime device, which a diff area "
			  "cannot be on: run 'xfs_io -c \"chattr -t\"' on that directory",
			  place);
}

static bool is_system_state(int state_fd)
{
	struct stat ours, system;

	return fstat(state_fd, &ours) == 0 && stat(UMBRA_STATE_SYSTEM, &system) == 0 &&
	       ours.st_dev == system.st_dev && ours.st_ino == system.st_ino;
}

static int late(const char *what, const char *path, struct umbra_error *err)
{
	return umbra_fail(err, UMBRA_E_UNSUPPORTED, EOPNOTSUPP,
			  "%s '%s' is not on the root filesystem, so it cannot be read when "
			  "volumes get their "
			  "layer at a start, and their shadow copies would be lost then: "
			  "umbra-activate.service(8) says what can be done; 'umbra storage add "
			  "--force' makes "
			  "a diff area nevertheless",
			  what, path);
}

/* The directory that a file is in, or will be. */
static int stat_parent(const char *path, struct stat *out)
{
	_cleanup_free_ char *parent = strdup(path);
	char *slash = parent ? strrchr(parent, '/') : NULL;

	if (!slash)
		return -ENOENT;
	slash[slash == parent] = '\0';
	return stat(parent, out) < 0 ? -errno : 0;
}

int umbra_place_early(int state_fd, const char *place, struct umbra_error *err)
{
	struct stat root, st;

	if (!is_system_state(state_fd))
		return 0;
	if (stat("/", &root) < 0 || fstat(state_fd, &st) < 0)
		return umbra_fail_errno(err, errno, "cannot look at '/'");
	if (st.st_dev != root.st_dev)
		return late("the state directory", UMBRA_STATE_SYSTEM, err);
	if (!place || (stat(place, &st) == 0 && S_ISBLK(st.st_mode)))
		return 0;
	/* One that is not there is somebody else's to tell. */
	if (stat_parent(place, &st) < 0 || st.st_dev == root.st_dev)
		return 0;
	return late("the diff area", place, err);
}

static int open_sys(dev_t dev)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u", major(dev), minor(dev));
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* The logical blocks of a device, in bytes; 0: not known. */
static unsigned int block_of(dev_t dev)
{
	_cleanup_close_ int sys = open_sys(dev);
	_cleanup_free_ char *text = NULL;

	if (sys < 0 || (umbra_read_file(sys, "queue/logical_block_size", 4096, &text, NULL) < 0 &&
			umbra_read_file(sys, "../queue/logical_block_size", 4096, &text, NULL) < 0))
		return 0;
	return (unsigned int)strtoul(text, NULL, 10);
}

int umbra_place_blocks(dev_t dev, dev_t origin, const char *place, struct umbra_error *err)
{
	const unsigned int place_has = block_of(dev), volume_has = block_of(origin);

	if (place_has <= volume_has || volume_has == 0)
		return 0;
	return umbra_fail(err, UMBRA_E_UNSUPPORTED, EOPNOTSUPP,
			  "'%s' is on a disk with blocks of %u bytes, and the volume has %u: its "
			  "shadow copies could not be mounted from there; use another disk, or "
			  "have the diff area inside",
			  place, place_has, volume_has);
}

static int walk(dev_t dev, dev_t below, int depth);

/* The device that a directory of sysfs is about. -ENOENT: none. */
static int dev_of(int dir, const char *file, dev_t *out)
{
	_cleanup_free_ char *text = NULL;
	unsigned int maj, min;
	int r = umbra_read_file(dir, file, 4096, &text, NULL);

	if (r < 0)
		return r;
	if (sscanf(text, "%u:%u", &maj, &min) != 2)
		return -EBADMSG;
	*out = makedev(maj, min);
	return 0;
}

static int walk_partition(int sys, dev_t below, int depth)
{
	dev_t disk;
	int r;

	if (faccessat(sys, "partition", F_OK, 0) < 0)
		return 0;
	r = dev_of(sys, "../dev", &disk);
	return r < 0 ? r : walk(disk, below, depth);
}

static int walk_loop(int sys, dev_t below, int depth)
{
	_cleanup_free_ char *path = NULL;
	struct stat st;
	int r = umbra_read_file(sys, "loop/backing_file", PATH_MAX, &path, NULL);

	if (r < 0)
		return 0; /* not a loop device */
	path[strcspn(path, "\n")] = '\0';
	if (stat(path, &st) < 0)
		return 0; /* deleted, or of another mount namespace */
	return walk(S_ISBLK(st.st_mode) ? st.st_rdev : st.st_dev, below, depth);
}

/* Of a device-mapper device: its uuid; "" when it has none, or is something else. */
static void uuid_of(int sys, const char *file, char out[UMBRA_DM_UUID_MAX])
{
	_cleanup_free_ char *text = NULL;

	out[0] = '\0';
	if (umbra_read_file(sys, file, 4096, &text, NULL) == 0)
		snprintf(out, UMBRA_DM_UUID_MAX, "%.*s", (int)strcspn(text, "\n"), text);
}

/* What is written to a volume with a layer is written to its diff area, too, which the kernel does
 * not name there. below_it: the slave of sys with this name. */
static int walk_area(int sys, int slaves, const char *below_it, dev_t below, int depth)
{
	char own[UMBRA_DM_UUID_MAX], real[UMBRA_DM_UUID_MAX], file[NAME_MAX + sizeof("/dm/uuid")];
	struct umbra_device_name area;
	struct umbra_id id = {0};
	struct umbra_dm_info info;
	const char *role;

	snprintf(file, sizeof(file), "%s/dm/uuid", below_it);
	uuid_of(slaves, file, real);
	if (strncmp(real, UMBRA_DEVICE_PREFIX, strlen(UMBRA_DEVICE_PREFIX)) != 0 ||
	    strlen(real) < strlen(UMBRA_DEVICE_PREFIX) + UMBRA_ID_LEN)
		return 0;
	memcpy(id.s, real + strlen(UMBRA_DEVICE_PREFIX), UMBRA_ID_LEN);
	role = umbra_device_role(&id, real);
	uuid_of(sys, "dm/uuid", own);
	if (!role || strcmp(role, "real") != 0 || umbra_device_role(&id, own))
		return 0;
	umbra_device_name(&id, "area", &area);
	return umbra_dm_info(umbra_dm_named(area.name), &info, NULL) == 0
		       ? walk(info.dev, below, depth)
		       : 0;
}

static int walk_slaves(int sys, dev_t below, int depth)
{
	_cleanup_close_ int fd = openat(sys, "slaves", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_dir_ DIR *d = fd < 0 ? NULL : fdopendir(fd);
	char name[NAME_MAX + sizeof("/dev")];
	struct dirent *e;
	dev_t dev;
	int r = 0;

	if (!d)
		return 0;
	fd = -1; /* d has it */
	while (r == 0 && (e = readdir(d))) {
		if (e->d_name[0] == '.')
			continue;
		snprintf(name, sizeof(name), "%s/dev", e->d_name);
		r = dev_of(dirfd(d), name, &dev);
		if (r == 0)
			r = walk(dev, below, depth);
		if (r == 0)
			r = walk_area(sys, dirfd(d), e->d_name, below, depth);
	}
	return r;
}

static int walk(dev_t dev, dev_t below, int depth)
{
	_cleanup_close_ int sys = -1;
	int r;

	if (dev == below)
		return 1;
	if (depth == 0)
		return -ELOOP;
	sys = open_sys(dev);
	if (sys < 0)
		return sys == -ENOENT ? 0 : sys; /* not a block device */
	r = walk_partition(sys, below, depth - 1);
	if (r == 0)
		r = walk_loop(sys, below, depth - 1);
	if (r == 0)
		r = walk_slaves(sys, below, depth - 1);
	return r;
}

int umbra_place_lies_on(dev_t dev, dev_t below)
{
	return walk(dev, below, DEPTH_MAX);
}
