/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A time limit for a call of this thread that only a signal can end: from then on SIGALRM comes
 * every few milliseconds, so that it cannot be missed between two instructions, until stopped.
 * The handler does nothing; it, and whether the signal was blocked, are put back as they were. One
 * limit a process at a time.
 */
#pragma once

#include <signal.h>
#include <time.h>

struct umbra_limit {
	timer_t timer;
	struct sigaction before;
	sigset_t mask;
};

int umbra_limit_start(struct umbra_limit *limit, int ms);
void umbra_limit_stop(struct umbra_limit *limit);
