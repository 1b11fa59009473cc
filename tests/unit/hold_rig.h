/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* coordinator_rig.h, with a provider that holds the two devices of hold_lab.h. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "coordinator_rig.h"

#define HOLD_LIMIT_MS 1500 /* of a hold, in these tests */

void hold_begin(void);
void hold_end(void);

/* By a requester of its own, with these faults or NULL: it may wait for a coordinator that was
 * stopped. Ends with 0 or 1. */
pid_t hold_start(const char *faults);

/* In the catalog, in that state. */
size_t hold_sets(enum umbra_set_state wanted);

bool hold_none(void);
/* The lists of what is held that guards and coordinators have left or use. */
size_t hold_lists(void);
/* Whose list that is. */
pid_t hold_holder(void);
void hold_wait_until_free(const char *what, int limit_ms);
bool hold_wait_until_held(void);

/* What was held and released, in order; freed by the caller. */
char *hold_calls(void);
/* So many of them, by now? */
bool hold_was_held(unsigned int n);

bool hold_is_guard(pid_t pid);
/* Whoever was left stopped is ours now. How many there were. */
int hold_end_children(void);
