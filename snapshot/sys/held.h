/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What is held right now, for whoever must release it when its holder cannot: one file a hold in
 * /run/umbra/held (umbra-guard(8) has the format), written before the first device is suspended
 * and removed after the last is resumed. Holder and guards keep it locked (flock, shared), so a
 * file that nobody has locked is what killed processes left.
 *
 * Only what root wrote, where nobody else can write, is believed.
 */
#pragma once

#include <sys/types.h>

#include "snapshot/sys/dm_hold.h"

#define UMBRA_HELD_DIR      "/run/umbra/held"
#define UMBRA_HELD_MAX      256      /* devices of one hold */
#define UMBRA_HELD_LIMIT_US 10000000 /* nothing is held for longer, ever */
#define UMBRA_HELD_NAME_MAX 48       /* of a file's name, with its NUL */

struct umbra_held {
	int64_t until_us; /* umbra_boottime_us() by when it must be released */
	pid_t owner;
	uint32_t n;
	struct umbra_dm_device devices[UMBRA_HELD_MAX]; /* in the order of release */
};

/* Microseconds of CLOCK_BOOTTIME, which goes on while the machine sleeps. */
int64_t umbra_boottime_us(void);

/*
 * The directory, made if make: a descriptor in *dirfd. -ENOENT: there is none, so nothing is held.
 * UMBRA_E_PERMISSION when it is not the caller's own, or others may write there.
 */
int umbra_held_dir(bool make, int *dirfd, struct umbra_error *err);

/* Writes a file, its name and a descriptor with the lock. */
int umbra_held_write(int dirfd, const struct umbra_held *held, char name[UMBRA_HELD_NAME_MAX],
		     int *fd, struct umbra_error *err);

/* Another process's file: opened and locked too. */
int umbra_held_join(int dirfd, const char *name, int *fd);

/* Reads one; *fd is open and not locked. -ENOENT: it is gone. -EBADMSG, UMBRA_E_DAMAGED: it is
 * not one of ours. */
int umbra_held_read(int dirfd, const char *name, struct umbra_held *held, int *fd,
		    struct umbra_error *err);
