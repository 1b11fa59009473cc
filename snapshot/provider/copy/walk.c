/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/provider/copy/walk.h"

#include <sched.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#include "common/util.h"

#define THREADS_MAX    8
#define OPEN_MAX       512
#define FDS_FOR_OTHERS 64
#define THREAD_STACK   (512 * 1024)

/* --- directories with open descriptors, least recently used first to go --- */

static void list_remove(struct umbra_walk *w, struct umbra_walk_dir *d)
{
	*(d->newer ? &d->newer->older : &w->newest) = d->older;
	*(d->older ? &d->older->newer : &w->oldest) = d->newer;
	d->newer = d->older = NULL;
}

static void list_add(struct umbra_walk *w, struct umbra_walk_dir *d)
{
	d->newer = NULL;
	d->older = w->newest;
	*(w->newest ? &w->newest->newer : &w->oldest) = d;
	w->newest = d;
}

static void shut(struct umbra_walk *w, struct umbra_walk_dir *d)
{
	list_remove(w, d);
	w->n_open--;
	d->open = false;
	w->ops->shut(d);
}

static void opened(struct umbra_walk *w, struct umbra_walk_dir *d)
{
	struct umbra_walk_dir *old, *newer;

	d->open = true;
	w->n_open++;
	list_add(w, d);
	for (old = w->oldest; old && old != d && w->n_open > w->max_open; old = newer) {
		newer = old->newer;
		if (old->pins == 0)
			shut(w, old);
	}
}

/* --- their structs --- */

static void register_dir(struct umbra_walk *w, struct umbra_walk_dir *d)
{
	d->refs = 1;
	d->prev = NULL;
	d->next = w->all;
	if (w->all)
		w->all->prev = d;
	w->all = d;
	if (d->parent) {
		d->parent->refs++;
		d->depth = d->parent->depth + 1;
	}
}

static void free_dir(struct umbra_walk *w, struct umbra_walk_dir *d)
{
	if (d->open)
		shut(w, d);
	*(d->prev ? &d->prev->next : &w->all) = d->next;
	if (d->next)
		d->next->prev = d->prev;
	free(d->name);
	w->ops->free(d);
}

static void unref(struct umbra_walk *w, struct umbra_walk_dir *d)
{
	struct umbra_walk_dir *parent;

	for (; d && --d->refs == 0; d = parent) {
		parent = d->parent;
		free_dir(w, d);
	}
}

void umbra_walk_ref(struct umbra_walk *w, struct umbra_walk_dir *d)
{
	pthread_mutex_lock(&w->lock);
	d->refs++;
	pthread_mutex_unlock(&w->lock);
}

void umbra_walk_unref(struct umbra_walk *w, struct umbra_walk_dir *d)
{
	pthread_mutex_lock(&w->lock);
	unref(w, d);
	pthread_mutex_unlock(&w->lock);
}

/* --- pins --- */

static bool pin_open(struct umbra_walk *w, struct umbra_walk_dir *d)
{
	if (!d->open)
		return false;
	d->pins++;
	if (w->newest != d) {
		list_remove(w, d);
		list_add(w, d);
	}
	return true;
}

/* Parent is pinned. Opens d, unless another thread did meanwhile, and pins it. */
static int pin_closed(struct umbra_walk *w, struct umbra_walk_dir *d, struct umbra_error *err)
{
	int r = 0;

	pthread_mutex_lock(&w->lock);
	if (!pin_open(w, d)) {
		/* Opening under the lock: rare, and nobody can open it twice. */
		r = w->ops->open(w, d, err);
		if (r == 0) {
			d->pins++;
			opened(w, d);
		}
	}
	pthread_mutex_unlock(&w->lock);
	return r;
}

/* The descriptors were closed to keep below the limit: open again from the nearest directory
 * above that is open. Those in between stay open as long as the limit allows, so that coming up
 * again is cheap. */
static int pin_chain(struct umbra_walk *w, struct umbra_walk_dir *d, struct umbra_error *err)
{
	_cleanup_free_ struct umbra_walk_dir **chain = calloc(d->depth + 1U, sizeof(*chain));
	struct umbra_walk_dir *at = d, *above = NULL;
	size_t n = 0;
	int r = 0;

	if (!chain)
		return umbra_oom(err);
	pthread_mutex_lock(&w->lock);
	while (!pin_open(w, at)) {
		chain[n++] = at;
		at = at->parent; /* the root is always open */
	}
	pthread_mutex_unlock(&w->lock);
	for (above = at; n > 0 && r == 0; above = at) {
		at = chain[--n];
		r = pin_closed(w, at, err);
		umbra_walk_unpin(w, above);
	}
	return r;
}

int umbra_walk_pin(struct umbra_walk *w, struct umbra_walk_dir *d, struct umbra_error *err)
{
	bool done;

	pthread_mutex_lock(&w->lock);
	done = pin_open(w, d);
	pthread_mutex_unlock(&w->lock);
	return done ? 0 : pin_chain(w, d, err);
}

void umbra_walk_unpin(struct umbra_walk *w, struct umbra_walk_dir *d)
{
	pthread_mutex_lock(&w->lock);
	d->pins--;
	pthread_mutex_unlock(&w->lock);
}

/* --- work --- */

enum job_kind { JOB_NONE, JOB_ENTER, JOB_ITEMS, JOB_HANDED_OUT };

struct job {
	enum job_kind kind;
	struct umbra_walk_dir *dir;
	size_t from, to;
};

static void fail(struct umbra_walk *w, int r, const struct umbra_error *err)
{
	pthread_mutex_lock(&w->lock);
	if (w->result == 0) {
		w->result = r;
		w->err = *err;
	}
	w->stop = true;
	pthread_cond_broadcast(&w->more);
	pthread_mutex_unlock(&w->lock);
}

static struct job take_from(struct umbra_walk *w, struct umbra_walk_dir *d)
{
	struct job job = {.kind = JOB_HANDED_OUT, .dir = d};

	if (d->next_item < d->items) {
		job.kind = JOB_ITEMS;
		job.from = d->next_item;
		job.to = d->items - job.from < UMBRA_WALK_BATCH ? d->items
								: job.from + UMBRA_WALK_BATCH;
		d->next_item = job.to;
		d->pending++;
	} else if (d->next_subdir < d->subdirs) {
		job.kind = JOB_ENTER;
		job.from = d->next_subdir++;
		d->pending++;
	} else {
		w->stack = d->below;
	}
	return job;
}

/* Waits for work. */
static struct job take(struct umbra_walk *w)
{
	struct job job = {.kind = JOB_NONE};

	pthread_mutex_lock(&w->lock);
	while (!w->stack && !w->over && !w->stop)
		pthread_cond_wait(&w->more, &w->lock);
	if (w->stack && !w->stop)
		job = take_from(w, w->stack);
	pthread_mutex_unlock(&w->lock);
	return job;
}

static void push(struct umbra_walk *w, struct umbra_walk_dir *d)
{
	pthread_mutex_lock(&w->lock);
	d->pending = 1;
	d->below = w->stack;
	w->stack = d;
	pthread_cond_broadcast(&w->more);
	pthread_mutex_unlock(&w->lock);
}

static int leave_pinned(struct umbra_walk *w, struct umbra_walk_dir *d, struct umbra_error *err)
{
	int r = d->parent ? umbra_walk_pin(w, d->parent, err) : 0;

	if (r < 0)
		return r;
	r = w->ops->leave(w, d, err);
	if (d->parent)
		umbra_walk_unpin(w, d->parent);
	return r;
}

static int leave(struct umbra_walk *w, struct umbra_walk_dir *d, struct umbra_error *err)
{
	int r = umbra_walk_pin(w, d, err);

	if (r < 0)
		return r;
	r = leave_pinned(w, d, err);
	pthread_mutex_lock(&w->lock);
	if (--d->pins == 0)
		shut(w, d);
	pthread_mutex_unlock(&w->lock);
	return r;
}

/* One piece of d's work is done. With the last one d is left, which is a piece of its parent. */
static int piece_done(struct umbra_walk *w, struct umbra_walk_dir *d, struct umbra_error *err)
{
	struct umbra_walk_dir *parent;
	bool last;
	int r;

	for (; d; d = parent) {
		pthread_mutex_lock(&w->lock);
		last = --d->pending == 0;
		pthread_mutex_unlock(&w->lock);
		if (!last)
			return 0;
		r = leave(w, d, err);
		if (r < 0)
			return r;
		parent = d->parent;
		umbra_walk_unref(w, d);
	}
	pthread_mutex_lock(&w->lock);
	w->over = true;
	pthread_cond_broadcast(&w->more);
	pthread_mutex_unlock(&w->lock);
	return 0;
}

/* 0: on the stack. UMBRA_WALK_SKIP: the struct is gone again. */
static int enter(struct umbra_walk *w, struct umbra_walk_dir *d, struct umbra_error *err)
{
	int r = w->ops->enter(w, d, err);

	if (r != 0) {
		umbra_walk_unref(w, d);
		return r;
	}
	pthread_mutex_lock(&w->lock);
	if (!d->parent)
		d->pins++; /* open to the end */
	opened(w, d);
	pthread_mutex_unlock(&w->lock);
	push(w, d);
	return 0;
}

static int pinned_child(struct umbra_walk *w, struct umbra_walk_dir *parent, size_t i,
			struct umbra_error *err)
{
	struct umbra_walk_dir *d = w->ops->child(w, parent, i);

	if (!d)
		return umbra_oom(err);
	pthread_mutex_lock(&w->lock);
	d->parent = parent;
	register_dir(w, d);
	pthread_mutex_unlock(&w->lock);
	return enter(w, d, err);
}

static int do_child(struct umbra_walk *w, struct umbra_walk_dir *parent, size_t i,
		    struct umbra_error *err)
{
	int r = umbra_walk_pin(w, parent, err);

	if (r < 0)
		return r;
	/* Once the child is on the stack others may finish it, and with it the parent. */
	umbra_walk_ref(w, parent);
	r = pinned_child(w, parent, i, err);
	umbra_walk_unpin(w, parent);
	umbra_walk_unref(w, parent);
	return r == UMBRA_WALK_SKIP ? piece_done(w, parent, err) : r;
}

static int do_items(struct umbra_walk *w, const struct job *job, struct umbra_error *err)
{
	int r = umbra_walk_pin(w, job->dir, err);

	if (r < 0)
		return r;
	r = w->ops->items(w, job->dir, job->from, job->to, err);
	umbra_walk_unpin(w, job->dir);
	return r < 0 ? r : piece_done(w, job->dir, err);
}

static int do_job(struct umbra_walk *w, const struct job *job, struct umbra_error *err)
{
	switch (job->kind) {
	case JOB_ENTER:
		return do_child(w, job->dir, job->from, err);
	case JOB_ITEMS:
		return do_items(w, job, err);
	case JOB_HANDED_OUT:
		return piece_done(w, job->dir, err);
	case JOB_NONE:
		break;
	}
	return 0;
}

static void *work(void *arg)
{
	struct umbra_walk *w = arg;
	struct umbra_error err;
	struct job job;
	int r = 0;

	for (job = take(w); job.kind != JOB_NONE && r == 0; job = take(w)) {
		err = (struct umbra_error){0};
		r = do_job(w, &job, &err);
		if (r < 0)
			fail(w, r, &err);
	}
	pthread_mutex_lock(&w->lock);
	w->threads--;
	pthread_cond_signal(&w->finished);
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

static unsigned int processors(void)
{
	cpu_set_t set;
	int n = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 2;

	return n < 2 ? 2 : n > THREADS_MAX ? THREADS_MAX : (unsigned int)n;
}

static size_t open_limit(unsigned int fds)
{
	struct rlimit lim;
	size_t n;

	if (getrlimit(RLIMIT_NOFILE, &lim) < 0 || lim.rlim_cur < 2UL * FDS_FOR_OTHERS)
		return 1;
	n = (lim.rlim_cur - FDS_FOR_OTHERS) / (2UL * fds);
	return n > OPEN_MAX ? OPEN_MAX : n;
}

static bool still_running(struct umbra_walk *w)
{
	struct timespec until;
	bool running;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += UMBRA_WALK_TICK_MS * 1000000L;
	until.tv_sec += until.tv_nsec / 1000000000L;
	until.tv_nsec %= 1000000000L;
	pthread_mutex_lock(&w->lock);
	while (w->threads > 0 &&
	       pthread_cond_clockwait(&w->finished, &w->lock, CLOCK_MONOTONIC, &until) == 0)
		;
	running = w->threads > 0;
	pthread_mutex_unlock(&w->lock);
	return running;
}

static void watch(struct umbra_walk *w)
{
	struct umbra_error err = {0};
	int r;

	while (still_running(w)) {
		r = w->tick && !w->stop ? w->tick(w, &err) : 0;
		if (r < 0)
			fail(w, r, &err);
	}
}

static int run_threads(struct umbra_walk *w, struct umbra_error *err)
{
	unsigned int n = processors(), i;
	pthread_t threads[THREADS_MAX];
	pthread_attr_t attr;
	int r = 0;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, THREAD_STACK);
	for (i = 0; i < n && r == 0; i++) {
		pthread_mutex_lock(&w->lock);
		w->threads++;
		pthread_mutex_unlock(&w->lock);
		r = pthread_create(&threads[i], &attr, work, w);
	}
	pthread_attr_destroy(&attr);
	if (r != 0) { /* fewer will do, but one there must be */
		i--;
		pthread_mutex_lock(&w->lock);
		w->threads--;
		pthread_mutex_unlock(&w->lock);
	}
	if (i > 0)
		watch(w);
	else
		umbra_fail_errno(err, r, "cannot start a thread");
	n = i;
	for (i = 0; i < n; i++)
		pthread_join(threads[i], NULL);
	return n > 0 ? 0 : -r;
}

static void finish(struct umbra_walk *w)
{
	struct umbra_walk_dir *d, *next;

	/* After a failure directories are left in any state. */
	for (d = w->all; d; d = next) {
		next = d->next;
		free_dir(w, d);
	}
	pthread_cond_destroy(&w->finished);
	pthread_cond_destroy(&w->more);
	pthread_mutex_destroy(&w->lock);
}

int umbra_walk_run(struct umbra_walk *w, struct umbra_walk_dir *root, struct umbra_error *err)
{
	int r;

	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->more, NULL);
	pthread_cond_init(&w->finished, NULL);
	w->max_open = open_limit(w->ops->fds);
	register_dir(w, root);
	r = enter(w, root, err);
	if (r == 0)
		r = run_threads(w, err);
	if (r == 0 && w->result < 0) {
		r = w->result;
		if (err)
			*err = w->err;
	}
	finish(w);
	return r < 0 ? r : 0;
}
