/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/urgent.h"

#include <linux/ioprio.h>
#include <stddef.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SOONEST (-20)

static void set_io(int io)
{
	syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, io);
}

void umbra_urgent_raise(struct umbra_urgency *before)
{
	const struct sched_param first = {.sched_priority = 1}, none = {0};

	if (before) {
		before->policy = sched_getscheduler(0);
		sched_getparam(0, &before->param);
		before->nice = getpriority(PRIO_PROCESS, 0);
		before->io = (int)syscall(SYS_ioprio_get, IOPRIO_WHO_PROCESS, 0);
	}
	setpriority(PRIO_PROCESS, 0, SOONEST);
	if (sched_setscheduler(0, SCHED_FIFO, &first) < 0)
		sched_setscheduler(0, SCHED_OTHER, &none);
	set_io(IOPRIO_PRIO_VALUE(IOPRIO_CLASS_BE, 0));
}

void umbra_urgent_put_back(const struct umbra_urgency *before)
{
	sched_setscheduler(0, before->policy, &before->param);
	setpriority(PRIO_PROCESS, 0, before->nice);
	set_io(before->io);
}

void umbra_urgent_usual(void)
{
	const struct sched_param none = {0};
	int policy = sched_getscheduler(0);

	if (policy == SCHED_IDLE || policy == SCHED_BATCH)
		sched_setscheduler(0, SCHED_OTHER, &none);
	if (getpriority(PRIO_PROCESS, 0) > 0)
		setpriority(PRIO_PROCESS, 0, 0);
	set_io(IOPRIO_PRIO_VALUE(IOPRIO_CLASS_NONE, 0));
}
