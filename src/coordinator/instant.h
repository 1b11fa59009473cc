/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The instant of a set whose members are prepared. */
#pragma once

#include "snapshot/provider.h"

/*
 * Holds, commits and releases the members that can be held, watched by umbra-guard(8), then commits
 * the others. On return nothing is held, whatever happened. 1: all is well, but a guard did not
 * answer in the end. Fills in begin_us and end_us of each shadow copy, in
 * microseconds after recorded_us (CLOCK_MONOTONIC), and hold_us of the set.
 */
int umbra_instant(struct umbra_set *set, struct umbra_member *members, int64_t recorded_us,
		  struct umbra_error *err);

/* Says which volume an error is about. */
int umbra_in_member(const struct umbra_member *m, int r, struct umbra_error *err);
