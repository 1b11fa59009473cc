/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/provider/copy/flush.h"

#include <fcntl.h>
#include <pthread.h>
#include <time.h>
#include <unistd.h>

#define TICK_MS 100

struct flush {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	int fd;
	bool done;
	bool alone; /* nobody waits any more: the thread frees this */
	int result;
};

static void free_flush(struct flush *f)
{
	umbra_close(f->fd);
	pthread_cond_destroy(&f->changed);
	pthread_mutex_destroy(&f->lock);
	free(f);
}

static void *run(void *arg)
{
	struct flush *f = arg;
	int r = syncfs(f->fd) < 0 ? -errno : 0;
	bool alone;

	pthread_mutex_lock(&f->lock);
	f->result = r;
	f->done = true;
	alone = f->alone;
	pthread_cond_signal(&f->changed);
	pthread_mutex_unlock(&f->lock);
	if (alone)
		free_flush(f);
	return NULL;
}

static bool wait_done(struct flush *f)
{
	struct timespec until;
	bool done;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += TICK_MS * 1000000L;
	until.tv_sec += until.tv_nsec / 1000000000L;
	until.tv_nsec %= 1000000000L;
	pthread_mutex_lock(&f->lock);
	while (!f->done &&
	       pthread_cond_clockwait(&f->changed, &f->lock, CLOCK_MONOTONIC, &until) == 0)
		;
	done = f->done;
	pthread_mutex_unlock(&f->lock);
	return done;
}

/* Whoever is second, this or the thread, frees it. */
static void forget(struct flush *f)
{
	bool done;

	pthread_mutex_lock(&f->lock);
	done = f->done;
	f->alone = true;
	pthread_mutex_unlock(&f->lock);
	if (done)
		free_flush(f);
}

static int start(int fd, struct flush **out)
{
	struct flush *f = calloc(1, sizeof(*f));
	pthread_t thread;
	int r;

	if (!f)
		return -ENOMEM;
	pthread_mutex_init(&f->lock, NULL);
	pthread_cond_init(&f->changed, NULL);
	f->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	r = f->fd < 0 ? -errno : -pthread_create(&thread, NULL, run, f);
	if (r < 0) {
		free_flush(f);
		return r;
	}
	pthread_detach(thread);
	*out = f;
	return 0;
}

int umbra_flush(int fd, struct umbra_watch *watch, const struct umbra_progress *progress,
		struct umbra_error *err)
{
	struct flush *f;
	int r = start(fd, &f);

	if (r < 0) /* then without ticks */
		r = syncfs(fd) < 0 ? -errno : 0;
	else {
		while (!wait_done(f)) {
			r = umbra_watch_tick(watch, progress, err);
			if (r < 0) {
				forget(f);
				return r;
			}
		}
		r = f->result;
		free_flush(f);
	}
	return r < 0 ? umbra_fail_errno(err, r, "writing everything back failed") : 0;
}
