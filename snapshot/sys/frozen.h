/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Who would change something on a frozen filesystem (FIFREEZE, fsfreeze(8)) sleeps until it is
 * thawed and cannot even be killed. The kernel does not tell whether one is frozen.
 */
#pragma once

#include "common/error.h"

/* As long as backup programs freeze what they are taking a snapshot of is no reason to give up. */
#define UMBRA_THAW_WAIT_MS 3000

/*
 * Waits at most limit_ms until the filesystem of fd (not O_PATH) can be changed, if it is frozen.
 * 0: it can be, or says at once that it cannot. -EBUSY: it is still frozen. Nothing is changed. A
 * process of ours that is stuck in it may stay behind, without descriptors, until it is thawed: one
 * for each filesystem and process that asks, however often.
 */
int umbra_thawed(int fd, int limit_ms);

/*
 * For who is about to take a lock and then to change something at path, which need not be there
 * yet: -EBUSY, as umbra_frozen_fail() or umbra_refuse_suspended(), if its filesystem is still
 * frozen, or the device that it is on suspended, after limit_ms. what: what
 * path is, for people. What cannot be looked at is not frozen.
 */
int umbra_refuse_frozen(const char *what, const char *path, int limit_ms, struct umbra_error *err);

/* Records that what is frozen, and how to thaw it: dir is a directory on it. Returns -EBUSY. */
int umbra_frozen_fail(struct umbra_error *err, const char *what, const char *dir);
