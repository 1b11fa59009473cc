/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A process that was stopped goes on by itself: a timer of the kernel, which runs on meanwhile,
 * sends it SIGCONT when it has made no step for a while. To one that is not stopped that means
 * nothing. A debugger keeps what it has stopped.
 */
#pragma once

#include <stdbool.h>
#include <time.h>

#define UMBRA_AWAKE_MS 1200

struct umbra_awake {
	timer_t timer;
	bool made;
};

/* In each process: a child does not inherit it. Logs when there is none to be had. */
void umbra_awake_begin(struct umbra_awake *a);
void umbra_awake_step(struct umbra_awake *a);
void umbra_awake_end(struct umbra_awake *a);
