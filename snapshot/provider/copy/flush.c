/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/provider/copy/flush.h"

#include <fcntl.h>
#include <pthread.h>
#include <time.h>
#include <unistd.h>

#define TICK_MS 100

struct umbra_flush {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	int fd;
	bool done;
	bool alone; /* nobody waits any more: the thread frees this */
	int result;
};

static void free_flush(struct umbra_flush *f)
{
	umbra_close(f->fd);
	pthread_cond_destroy(&f->changed);
	pthread_mutex_destroy(&f->lock);
	free(f);
}

static void *run(void *arg)
{
	struct umbra_flush *f = arg;
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

static bool wait_done(struct umbra_flush *f)
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

bool umbra_flush_running(struct umbra_flush *f)
{
	bool done;

	pthread_mutex_lock(&f->lock);
	done = f->done;
	pthread_mutex_unlock(&f->lock);
	return !done;
}

/* Whoever is second, this or the thread, frees it. */
struct umbra_flush *umbra_flush_forget(struct umbra_flush *f)
{
	bool done;

	if (!f)
		return NULL;
	pthread_mutex_lock(&f->lock);
	done = f->done;
	f->alone = true;
	pthread_mutex_unlock(&f->lock);
	if (done)
		free_flush(f);
	return NULL;
}

struct umbra_flush *umbra_flush_start(int fd)
{
	struct umbra_flush *f = calloc(1, sizeof(*f));
	pthread_t thread;

	if (!f)
		return NULL;
	pthread_mutex_init(&f->lock, NULL);
	pthread_cond_init(&f->changed, NULL);
	f->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (f->fd < 0 || pthread_create(&thread, NULL, run, f) != 0) {
		free_flush(f);
		return NULL;
	}
	pthread_detach(thread);
	return f;
}

static int wait_with_ticks(struct umbra_flush *f, struct umbra_watch *watch,
			   const struct umbra_progress *progress, struct umbra_error *err)
{
	int r;

	while (!wait_done(f)) {
		r = umbra_watch_tick(watch, progress, err);
		if (r < 0)
			return r;
	}
	r = f->result;
	return r < 0 ? umbra_fail_errno(err, r, "writing everything back failed") : 0;
}

int umbra_flush(int fd, struct umbra_watch *watch, const struct umbra_progress *progress,
		struct umbra_error *err)
{
	struct umbra_flush *f = umbra_flush_start(fd);
	int r;

	if (!f) /* then without ticks */
		return syncfs(fd) < 0
			       ? umbra_fail_errno(err, errno, "writing everything back failed")
			       : 0;
	r = wait_with_ticks(f, watch, progress, err);
	umbra_flush_forget(f);
	return r;
}
