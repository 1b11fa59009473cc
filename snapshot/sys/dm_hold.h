/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Suspending and resuming device-mapper devices around an instant: one ioctl each (DM_DEV_SUSPEND,
 * linux/dm-ioctl.h) on a descriptor that was opened before, with its buffer on the stack. Nothing
 * here allocates, logs or opens anything, so all of it may be used while filesystems are held.
 * Everything else about device-mapper is libdevmapper's.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"

#define UMBRA_DM_NAME_MAX 128 /* with its NUL; the kernel's DM_NAME_LEN and DM_UUID_LEN */
#define UMBRA_DM_UUID_MAX 129

/* A device as it is known before it is held. Whoever resumes it finds it by its uuid, or, where it
 * has none, by its name, and then compares the rest: another device is never touched. */
struct umbra_dm_device {
	uint32_t major, minor;
	char name[UMBRA_DM_NAME_MAX];
	char uuid[UMBRA_DM_UUID_MAX]; /* "": it has none */
};

/* How a device is suspended; 0: its filesystem is frozen and its writes are flushed. */
#define UMBRA_DM_NO_LOCKFS 1U /* leave the filesystem alone */
#define UMBRA_DM_NO_FLUSH  2U /* keep what is queued for after the resume */

/* Fills in name and uuid of the device with this number, before the hold. */
int umbra_dm_device_lookup(int control, uint32_t major, uint32_t minor, struct umbra_dm_device *out,
			   struct umbra_error *err);

/* /dev/mapper/control, O_CLOEXEC, for the calls below. */
int umbra_dm_control_open(int *control, struct umbra_error *err);

/* 1: suspended; 0: not; -ENODEV: that device is not there. */
int umbra_dm_suspended(int control, const struct umbra_dm_device *d);

/*
 * 0; -ENODEV; -EBUSY: it was suspended already, by somebody else; -EINTR: a signal came before it
 * was, and it goes on as if nothing had been asked. Waits for writes under way, without a limit.
 */
int umbra_dm_hold_suspend(int control, const struct umbra_dm_device *d, unsigned int flags);

/* 0: it was resumed; 1: it was not suspended; -ENODEV; or what the kernel said. A table that was
 * loaded meanwhile is the live one from here on. */
int umbra_dm_hold_resume(int control, const struct umbra_dm_device *d);

/*
 * The table that was loaded into a device of ours, whose first one it is, is in force from here on:
 * of a snapshot, its instant. The device is not suspended before or after. udev hears of it, and
 * not to look for filesystems on it. 0; -ENODEV; or what the kernel said. Again: nothing changes.
 */
int umbra_dm_hold_activate(int control, const struct umbra_dm_device *d);

/* Could such a device be held: terminated texts, a name, and not one of our walls, which are
 * suspended for good (UMBRA-…-wallN)? */
bool umbra_dm_device_valid(const struct umbra_dm_device *d);
