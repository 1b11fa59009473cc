/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/awake.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#include "common/log.h"

void umbra_awake_begin(struct umbra_awake *a)
{
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGCONT};

	a->made = timer_create(CLOCK_MONOTONIC, &event, &a->timer) == 0;
	if (!a->made)
		umbra_log_warning("whoever stops this umbrad stops it for good: %s",
				  strerror(errno));
	umbra_awake_step(a);
}

void umbra_awake_step(struct umbra_awake *a)
{
	struct itimerspec in = {
		.it_value = {UMBRA_AWAKE_MS / 1000, UMBRA_AWAKE_MS % 1000 * 1000000L}};

	if (a->made)
		timer_settime(a->timer, 0, &in, NULL);
}

void umbra_awake_end(struct umbra_awake *a)
{
	if (a->made)
		timer_delete(a->timer);
	a->made = false;
}
