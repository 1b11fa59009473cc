/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Devices are resumed by threads, one each, which are there, with all their memory, before
 * anything is held: a resume that waits for a disk, and cannot be interrupted then, keeps no other
 * device.
 */
#pragma once

#include <pthread.h>
#include <semaphore.h>

#include "snapshot/sys/held.h"

struct umbra_resumer {
	pthread_t thread;
	sem_t wanted, done;
	int control; /* of device-mapper */
	struct umbra_dm_device device;
	int result;
	bool asked; /* and has not answered */
};

struct umbra_resumers {
	struct umbra_resumer v[UMBRA_HELD_MAX];
	size_t n;
};

/* At least so many, all of them free. -EBUSY: one still waits for a device of the last time. */
int umbra_resumers_need(struct umbra_resumers *r, size_t n, int control);

/*
 * umbra_dm_hold_resume() by the i-th, as long as nobody has asked it before. Waits at most so many
 * microseconds. -EINPROGRESS: it is at it; who calls again is told what came of that.
 */
int umbra_resumers_resume(struct umbra_resumers *r, size_t i, const struct umbra_dm_device *d,
			  int64_t limit_us);
