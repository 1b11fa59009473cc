/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What happens to block devices, and to the mounts of this namespace, as the kernel tells it: so
 * that nobody has to wait for the next look. It is a reason to look, and no more; whoever looks
 * sees for himself. So nobody gains by sending something, and what is not told (a mount in another
 * namespace) is seen by the looks that come anyway.
 *
 * An unmount is told when it begins. So some more looks follow each change of mounts, at growing
 * distances. All of these looks have a pace (pace.h): who mounts all day keeps nobody busy.
 */
#pragma once

#include <poll.h>
#include <stdbool.h>
#include <sys/types.h>

struct umbra_notices;

/* Does a change of this device matter to anybody? */
typedef bool (*umbra_notices_fn)(dev_t device);

/* What cannot be listened to is logged, and done without. NULL: no memory. */
struct umbra_notices *umbra_notices_new(umbra_notices_fn matters);
struct umbra_notices *umbra_notices_free(struct umbra_notices *n);

#define UMBRA_NOTICES_FDS 2

/* What to poll for, and how long at most: ms, or less. */
int umbra_notices_poll(struct umbra_notices *n, int ms, struct pollfd p[UMBRA_NOTICES_FDS]);

enum umbra_notice {
	UMBRA_NOTICE_NONE = 0,
	UMBRA_NOTICE_DEVICE = 1 << 0, /* one that matters, or nobody knows which */
	UMBRA_NOTICE_MOUNTS = 1 << 1,
};

/* After that poll, also when its time was over: what there is to look at. */
unsigned int umbra_notices_take(struct umbra_notices *n, const struct pollfd p[UMBRA_NOTICES_FDS]);
