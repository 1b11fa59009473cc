/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The watch over a holder of volumes: one process, nothing that allocates or waits for a disk. */
#pragma once

#include "guard/resumers.h"
#include "snapshot/sys/guard_wire.h"

/* What a guard has from its start on; all of it is there, and locked in memory, before the first
 * order. */
struct umbra_watch_state {
	int control; /* of device-mapper */
	int timer;   /* timerfd, CLOCK_BOOTTIME */
	struct umbra_guard_page *page;
	struct umbra_resumers resumers;
	int64_t delay_us; /* how far the second guard is behind the first */
	struct umbra_guard_order order;
	int file_fd; /* -1: not armed */
	/* What it did, for the end. */
	const char *why; /* NULL: nothing */
	unsigned int resumed, failed;
	bool killed;
};

/* Serves until the holder closes its end or dies. The exit status of the program. */
int umbra_watch_serve(struct umbra_watch_state *w);
