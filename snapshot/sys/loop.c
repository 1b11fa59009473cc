/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/sys/loop.h"

#include <fcntl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "common/util.h"

#define TRIES 64 /* somebody else may take the free one */

/* A descriptor of a free loop device, or negative. */
static int open_free(int control)
{
	char path[32];
	int fd, n = ioctl(control, LOOP_CTL_GET_FREE);

	if (n < 0)
		return -errno;
	snprintf(path, sizeof(path), "/dev/loop%d", n);
	fd = open(path, O_RDWR | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int attach(int control, const struct loop_config *config, int *loop_fd, dev_t *dev)
{
	struct stat st;
	int i, fd;

	for (i = 0; i < TRIES; i++) {
		fd = open_free(control);
		if (fd < 0)
			return fd;
		if (ioctl(fd, LOOP_CONFIGURE, config) == 0 && fstat(fd, &st) == 0) {
			*loop_fd = fd;
			*dev = st.st_rdev;
			return 0;
		}
		umbra_close(fd);
		if (errno != EBUSY)
			return -errno;
	}
	return -EBUSY;
}

int umbra_loop_attach(int fd, bool direct, int *loop_fd, dev_t *dev, struct umbra_error *err)
{
	_cleanup_close_ int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	struct loop_config config = {
		.fd = (uint32_t)fd,
		.info.lo_flags = LO_FLAGS_AUTOCLEAR | (direct ? LO_FLAGS_DIRECT_IO : 0),
	};
	int r = control < 0 ? -errno : attach(control, &config, loop_fd, dev);

	return r < 0 ? umbra_fail_errno(err, r, "cannot have a loop device (modprobe loop)") : 0;
}

static int open_loop(dev_t dev)
{
	char path[40];
	struct stat st;
	int fd;

	snprintf(path, sizeof(path), "/dev/loop%u", minor(dev));
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0 && fstat(fd, &st) == 0 && st.st_rdev == dev)
		return fd;
	umbra_close(fd);
	snprintf(path, sizeof(path), "/dev/block/%u:%u", major(dev), minor(dev));
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int umbra_loop_is_over(dev_t dev, int fd, struct umbra_error *err)
{
	_cleanup_close_ int loop = open_loop(dev);
	struct loop_info64 info;
	struct stat st;

	if (loop < 0 || ioctl(loop, LOOP_GET_STATUS64, &info) < 0 || fstat(fd, &st) < 0)
		return umbra_fail_errno(err, loop < 0 ? loop : errno,
					"cannot tell what loop device %u:%u is over", major(dev),
					minor(dev));
	return info.lo_device == st.st_dev && info.lo_inode == st.st_ino;
}

int umbra_loop_refresh(dev_t dev, struct umbra_error *err)
{
	_cleanup_close_ int fd = open_loop(dev);
	int r = fd < 0 ? fd : ioctl(fd, LOOP_SET_CAPACITY, 0) < 0 ? -errno : 0;

	return r < 0 ? umbra_fail_errno(err, r, "cannot tell loop device %u its new length",
					minor(dev))
		     : 0;
}
