/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/sys/dm_hold.h"

#include <fcntl.h>
#include <linux/dm-ioctl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>

#include "snapshot/sys/dm_udev.h"

#define CONTROL "/dev/" DM_DIR "/" DM_CONTROL_NODE

_Static_assert(UMBRA_DM_NAME_MAX == DM_NAME_LEN && UMBRA_DM_UUID_MAX == DM_UUID_LEN,
	       "as the kernel has them");

int umbra_dm_control_open(int *control, struct umbra_error *err)
{
	int fd = open(CONTROL, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return umbra_fail_errno(err, errno,
					"cannot use device-mapper: opening '" CONTROL
					"' (is the kernel module dm_mod there?)");
	*control = fd;
	return 0;
}

/* The oldest interface that has all that is used here: any kernel takes it. */
static void prepare(struct dm_ioctl *io, uint32_t flags)
{
	*io = (struct dm_ioctl){
		.version = {4, 0, 0}, .data_size = sizeof(*io), .data_start = sizeof(*io)};
	io->flags = flags;
}

/* The kernel takes one key: uuid, name or number. */
static void address(struct dm_ioctl *io, const struct umbra_dm_device *d)
{
	if (d->uuid[0])
		memcpy(io->uuid, d->uuid, sizeof(io->uuid));
	else
		memcpy(io->name, d->name, sizeof(io->name));
}

/* The kernel's numbers, see huge_encode_dev(). */
static uint64_t number(uint32_t major, uint32_t minor)
{
	return (minor & 0xff) | ((uint64_t)major << 8) | ((uint64_t)(minor & ~0xffU) << 12);
}

int umbra_dm_device_lookup(int control, uint32_t major, uint32_t minor, struct umbra_dm_device *out,
			   struct umbra_error *err)
{
	struct dm_ioctl io;

	prepare(&io, 0);
	io.dev = number(major, minor);
	if (ioctl(control, DM_DEV_STATUS, &io) < 0)
		return umbra_fail_errno(err, errno, "no device-mapper device has the number %u:%u",
					major, minor);
	*out = (struct umbra_dm_device){.major = major, .minor = minor};
	memcpy(out->name, io.name, sizeof(io.name) - 1);
	memcpy(out->uuid, io.uuid, sizeof(io.uuid) - 1);
	return 0;
}

int umbra_dm_suspended(int control, const struct umbra_dm_device *d)
{
	struct dm_ioctl io;

	prepare(&io, 0);
	address(&io, d);
	if (ioctl(control, DM_DEV_STATUS, &io) < 0)
		return errno == ENXIO ? -ENODEV : -errno;
	if (io.dev != number(d->major, d->minor) || strncmp(io.uuid, d->uuid, sizeof(io.uuid)) != 0)
		return -ENODEV;
	return (io.flags & DM_SUSPEND_FLAG) != 0;
}

int umbra_dm_hold_suspend(int control, const struct umbra_dm_device *d, unsigned int flags)
{
	struct dm_ioctl io;
	int r = umbra_dm_suspended(control, d);

	if (r != 0)
		return r > 0 ? -EBUSY : r;
	prepare(&io, DM_SUSPEND_FLAG | (flags & UMBRA_DM_NO_LOCKFS ? DM_SKIP_LOCKFS_FLAG : 0) |
			     (flags & UMBRA_DM_NO_FLUSH ? DM_NOFLUSH_FLAG : 0));
	address(&io, d);
	return ioctl(control, DM_DEV_SUSPEND, &io) < 0 ? -errno : 0;
}

int umbra_dm_hold_resume(int control, const struct umbra_dm_device *d)
{
	struct dm_ioctl io;
	int r = umbra_dm_suspended(control, d);

	if (r <= 0)
		return r < 0 ? r : 1;
	prepare(&io, 0);
	address(&io, d);
	if (ioctl(control, DM_DEV_SUSPEND, &io) == 0)
		return 0;
	r = errno == ENXIO ? -ENODEV : -errno;
	return umbra_dm_suspended(control, d) == 0 ? 1 : r; /* somebody else was at it, too */
}

int umbra_dm_hold_activate(int control, const struct umbra_dm_device *d)
{
	struct dm_ioctl io;
	int r = umbra_dm_suspended(control, d);

	if (r < 0)
		return r;
	prepare(&io, DM_SKIP_LOCKFS_FLAG | DM_NOFLUSH_FLAG);
	address(&io, d);
	io.event_nr = (uint32_t)(UMBRA_DM_UDEV_FLAGS | DM_UDEV_PRIMARY_SOURCE_FLAG)
		      << DM_UDEV_FLAGS_SHIFT; /* as libdevmapper has it, without a semaphore */
	if (ioctl(control, DM_DEV_SUSPEND, &io) < 0)
		return errno == ENXIO ? -ENODEV : -errno;
	return 0;
}

bool umbra_dm_device_valid(const struct umbra_dm_device *d)
{
	const char *role;

	if (!memchr(d->name, '\0', sizeof(d->name)) || !memchr(d->uuid, '\0', sizeof(d->uuid)) ||
	    !d->name[0])
		return false;
	role = strncmp(d->uuid, "UMBRA-", 6) == 0 ? strrchr(d->uuid, '-') : NULL;
	return !role || strncmp(role, "-wall", 5) != 0;
}
