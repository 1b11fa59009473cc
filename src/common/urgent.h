/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How soon this process gets processor and disk. Others wait for who holds volumes, or gives
 * writers room: that must not be at the mercy of whoever started it with nice(1), chrt(1) or
 * ionice(1). What is not allowed is left as it is.
 */
#pragma once

#include <sched.h>

struct umbra_urgency {
	int policy, nice, io; /* io: as ioprio_get(2) has it */
	struct sched_param param;
};

/* Before all ordinary processes, until put back. *before may be NULL. */
void umbra_urgent_raise(struct umbra_urgency *before);
void umbra_urgent_put_back(const struct umbra_urgency *before);

/* Like any other process, at least; for good. */
void umbra_urgent_usual(void);
