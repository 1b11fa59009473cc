/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/sys/limit.h"

#include <errno.h>
#include <unistd.h>

#define AGAIN_NS 10000000

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

static void nothing(int sig)
{
	(void)sig;
}

int umbra_limit_start(struct umbra_limit *limit, int ms)
{
	struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGALRM};
	struct sigaction handler = {.sa_handler = nothing}; /* without SA_RESTART */
	struct itimerspec when = {
		.it_value = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L},
		.it_interval = {.tv_nsec = AGAIN_NS},
	};

	sigset_t alarm;

	sigemptyset(&alarm);
	sigaddset(&alarm, SIGALRM);
	event.sigev_notify_thread_id = gettid();
	if (timer_create(CLOCK_MONOTONIC, &event, &limit->timer) < 0)
		return -errno;
	sigaction(SIGALRM, &handler, &limit->before);
	pthread_sigmask(SIG_UNBLOCK, &alarm, &limit->mask); /* who started us may have blocked it */
	timer_settime(limit->timer, 0, &when, NULL);
	return 0;
}

void umbra_limit_stop(struct umbra_limit *limit)
{
	timer_delete(limit->timer);
	pthread_sigmask(SIG_SETMASK, &limit->mask, NULL);
	sigaction(SIGALRM, &limit->before, NULL);
}
