/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "guard/resumers.h"

#include <errno.h>
#include <time.h>
#include <unistd.h>

#define STACK (64U << 10) /* besides what the system needs; all of it is locked */

static void *resume(void *arg)
{
	struct umbra_resumer *one = arg;

	for (;;) {
		while (sem_wait(&one->wanted) < 0)
			;
		one->result = umbra_dm_hold_resume(one->control, &one->device);
		sem_post(&one->done);
	}
	return NULL;
}

static int add(struct umbra_resumers *r, const pthread_attr_t *attr, int control)
{
	struct umbra_resumer *one = &r->v[r->n];
	int e;

	one->control = control;
	if (sem_init(&one->wanted, 0, 0) < 0 || sem_init(&one->done, 0, 0) < 0)
		return -errno;
	e = pthread_create(&one->thread, attr, resume, one);
	r->n += e == 0;
	return -e;
}

static bool is_free(struct umbra_resumer *one)
{
	if (one->asked && sem_trywait(&one->done) == 0)
		one->asked = false;
	return !one->asked;
}

int umbra_resumers_need(struct umbra_resumers *r, size_t n, int control)
{
	long least = sysconf(_SC_THREAD_STACK_MIN);
	pthread_attr_t attr;
	size_t i;
	int e;

	for (i = 0; i < r->n; i++)
		if (!is_free(&r->v[i]))
			return -EBUSY;
	if (pthread_attr_init(&attr) != 0)
		return -ENOMEM;
	e = -pthread_attr_setstacksize(&attr, STACK + (least > 0 ? (size_t)least : 0));
	while (e == 0 && r->n < n && r->n < UMBRA_HELD_MAX)
		e = add(r, &attr, control);
	pthread_attr_destroy(&attr);
	return e;
}

static struct timespec in_us(int64_t us)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	us += t.tv_nsec / 1000;
	t.tv_sec += us / 1000000;
	t.tv_nsec = us % 1000000 * 1000;
	return t;
}

int umbra_resumers_resume(struct umbra_resumers *r, size_t i, const struct umbra_dm_device *d,
			  int64_t limit_us)
{
	struct umbra_resumer *one = &r->v[i];
	struct timespec until = in_us(limit_us);

	if (!one->asked) {
		one->device = *d;
		one->asked = true;
		sem_post(&one->wanted);
	}
	if (sem_clockwait(&one->done, CLOCK_MONOTONIC, &until) < 0)
		return -EINPROGRESS;
	one->asked = false;
	return one->result;
}
