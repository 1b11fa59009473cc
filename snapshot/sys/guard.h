/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The holder's side of umbra-guard(8). Whoever suspends devices that people wait for arms a guard
 * before and disarms it after:
 *
 *	umbra_guard_start	two processes are started, the second a little behind the first
 *	umbra_guard_arm		their timers run; our memory is locked, a core dump impossible, our
 *				priority high, and a signal will interrupt a suspend that takes too
 *				long
 *	... suspend, umbra_guard_check, commit, umbra_guard_check, resume ...
 *	umbra_guard_disarm	all is as before; may be armed again
 *	umbra_guard_stop
 *
 * If the holder is killed, stopped or late, its guards resume the devices, in the order in which
 * they were given. From one thread.
 */
#pragma once

#include "common/util.h"
#include "snapshot/sys/held.h"

struct umbra_guard;

int umbra_guard_start(struct umbra_guard **out, struct umbra_error *err);

/* devices: at most UMBRA_HELD_MAX, in the order of release. On failure nothing is armed. */
int umbra_guard_arm(struct umbra_guard *g, const struct umbra_dm_device *devices, size_t n,
		    struct umbra_error *err);

/*
 * While armed, without a log, an allocation or a wait: is everything that was suspended still so?
 * -ETIME: it took too long; -EPIPE: a guard is gone. Release at once, and what was committed since
 * the last call that returned 0 is worth nothing.
 */
int umbra_guard_check(struct umbra_guard *g, struct umbra_error *err);

/* After the release. 0; 1: a guard did not answer and was ended: start new ones. */
int umbra_guard_disarm(struct umbra_guard *g);

struct umbra_guard *umbra_guard_stop(struct umbra_guard *g);
UMBRA_DEFINE_CLEANUP(struct umbra_guard *, guard, umbra_guard_stop)
#define _cleanup_guard_ _cleanup_(umbra_cleanup_guard)
