/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the kernel tells of devices, from the kernel itself and not from udev, so that it is told at
 * once, and also where there is no udev (netlink(7), NETLINK_KOBJECT_UEVENT; lib/kobject_uevent.c).
 * Every resume of a device-mapper device is such a message.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "common/error.h"

/* A descriptor, that does not block. */
int umbra_uevent_open(struct umbra_error *err);

enum umbra_uevent {
	UMBRA_UEVENT_NONE,   /* nothing more for now */
	UMBRA_UEVENT_BLOCK,  /* of a block device */
	UMBRA_UEVENT_OTHER,  /* of something else, or not the kernel's */
	UMBRA_UEVENT_MISSED, /* some did not fit, and nobody knows of what */
};

/* The next one. *device: of BLOCK. */
enum umbra_uevent umbra_uevent_next(int fd, dev_t *device);

/* Is the message of a block device, and of which? Nothing in it is believed. */
bool umbra_uevent_parse(const char *message, size_t len, dev_t *device);
