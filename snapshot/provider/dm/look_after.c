/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Space: the live store gets what is free. When little is left the oldest copy goes, and what it
 * held is handed over; the newest is never given up for space. Writers that outran this wait at the
 * wall; what cannot be had for them in time never will, and the volume goes on without its copies.
 */
#include "snapshot/provider/dm/look_after.h"

#include <string.h>

#include "common/fault.h"
#include "common/log.h"
#include "common/token.h"
#include "snapshot/provider/dm/parts.h"

#define LOCK_WAIT_MS 100
#define OFTEN_MS     50      /* while little is left, or somebody has the lock */
#define SELDOM_MS    250     /* at 1 GB/s a quarter of a GB */
#define STUCK_US     1500000 /* and then it takes a look and a step until writers go on: 2 s */

/* An eighth of the pool, at most what is written in a second. */
#define LOW_BYTES (512ULL << 20)

struct look {
	const struct umbra_storage_watch *watch;
	int again_ms;
};

/* Since when writers have been waiting, by area. */
static struct stuck {
	struct umbra_id area;
	int64_t since_us;
	struct stuck *next;
} * stuck_areas;

static struct stuck *stuck_of(const struct umbra_id *area)
{
	struct stuck *s;

	for (s = stuck_areas; s; s = s->next)
		if (strcmp(s->area.s, area->s) == 0)
			return s;
	s = calloc(1, sizeof(*s));
	if (s) {
		s->area = *area;
		s->next = stuck_areas;
		stuck_areas = s;
	}
	return s;
}

uint64_t umbra_dm_low_water(const struct umbra_pool *pool)
{
	uint64_t segment = (uint64_t)pool->geometry.segment_chunks * pool->geometry.chunk_sectors *
			   UMBRA_DM_SECTOR;
	uint64_t low = pool->geometry.segments / 8;

	return low * segment > LOW_BYTES ? LOW_BYTES / segment : low ? low : 1;
}

/* Segments that the live store has not touched yet, those that are free included. */
static int left(const struct umbra_protected *p, uint64_t *out, bool *waiting,
		struct umbra_error *err)
{
	const struct umbra_pool_store *live = umbra_pool_live(p->pool);
	uint64_t used, segments, chunks = p->pool->geometry.segment_chunks;
	enum umbra_store_state state;
	int r = umbra_store_device_state(&p->kernel, live->number, &state, &used, err);

	if (r < 0)
		return r;
	segments = (used + chunks - 1) / chunks;
	*waiting = used > live->segments.n * chunks;
	*out = umbra_pool_free_segments(p->pool) +
	       (segments < live->segments.n ? live->segments.n - segments : 0);
	return 0;
}

int umbra_dm_grant_all(struct umbra_protected *p, struct umbra_error *err)
{
	_cleanup_pool_ struct umbra_pool *next = NULL;
	uint32_t n = umbra_pool_free_segments(p->pool), granted;
	const struct umbra_pool_store *live = umbra_pool_live(p->pool);
	int r;

	if (!p->in || !live || n == 0)
		return 0;
	r = umbra_protected_begin(p, &next, err);
	if (r == 0)
		r = umbra_pool_grant(next, live->number, n, &granted, err);
	if (r == 0)
		r = umbra_protected_write(p, &next, err);
	if (r == 0)
		r = umbra_fault_fail("dm.granted", err);
	if (r == 0)
		r = umbra_store_device_grant(&p->kernel, p->pool, umbra_pool_live(p->pool), err);
	return r;
}

/* The oldest, if it is not the newest, nor what the volume is being reverted to. */
static const struct umbra_pool_copy *oldest(const struct umbra_pool *pool)
{
	const struct umbra_pool_copy *first = NULL;
	uint32_t i;

	for (i = 0; i < pool->n_copies; i++) {
		if (pool->copies[i].state != UMBRA_POOL_KEPT)
			continue;
		if (first)
			return first->reverting ? NULL : first;
		first = &pool->copies[i];
	}
	return NULL;
}

static int drop_oldest(struct umbra_protected *p, const struct look *look, struct umbra_error *err)
{
	const struct umbra_pool_copy *copy = oldest(p->pool);
	struct umbra_id id;
	int r;

	if (!copy)
		return -ENOSPC;
	id = copy->id;
	r = umbra_dm_forget(p, &id, err);
	if (r == 0)
		look->watch->lost(
			look->watch->arg, &id,
			"the oldest of its volume, given up because the diff area was full");
	return r;
}

/* Enough is free, or all that can be had. */
static int make_room(struct umbra_protected *p, struct look *look, bool *waiting,
		     struct umbra_error *err)
{
	uint64_t n, low = umbra_dm_low_water(p->pool);
	int r = left(p, &n, waiting, err);

	while (r == 0 && n < low) {
		look->again_ms = OFTEN_MS;
		r = drop_oldest(p, look, err);
		if (r == 0)
			r = left(p, &n, waiting, err);
	}
	if (r == -ENOSPC)
		r = 0;
	if (r == 0)
		r = umbra_dm_grant_all(p, err);
	return r < 0 ? r : left(p, &n, waiting, err);
}

static int give_up_if_late(struct umbra_protected *p, bool waiting, struct look *look,
			   struct umbra_error *err)
{
	struct stuck *s = stuck_of(&p->kernel.area);
	int64_t now = umbra_now_us();
	int r;

	if (!s)
		return umbra_oom(err);
	if (!waiting) {
		s->since_us = 0;
		return 0;
	}
	look->again_ms = OFTEN_MS;
	if (s->since_us == 0)
		s->since_us = now;
	if (now - s->since_us < STUCK_US)
		return 0;
	s->since_us = 0;
	umbra_log_error("the diff area of '%s' is full and nothing older can be given up: the "
			"volume goes on without its shadow copies",
			p->pool->volume);
	r = umbra_store_device_give_up(&p->kernel, umbra_pool_live(p->pool)->number, err);
	return r < 0 ? r : umbra_protected_settle(p, err);
}

static int look_at(struct umbra_protected *p, struct look *look, struct umbra_error *err)
{
	bool waiting = false;
	int r;

	if (!p->in)
		return 0;
	if (look->again_ms < 0 || look->again_ms > SELDOM_MS)
		look->again_ms = SELDOM_MS;
	r = make_room(p, look, &waiting, err);
	return r < 0 ? r : give_up_if_late(p, waiting, look, err);
}

static int look_one(const struct umbra_dm_state *s, void *arg)
{
	_cleanup_protected_ struct umbra_protected *p = NULL;
	struct umbra_error why = {0};
	struct look *look = arg;
	int r = umbra_protected_open(s, LOCK_WAIT_MS, &p, &why);

	if (r == -EBUSY)
		look->again_ms = OFTEN_MS;
	else if (r == 0)
		r = look_at(p, look, &why);
	if (r < 0 && r != -EBUSY)
		umbra_log_error("looking after '%s': %s", s->path, why.text);
	return 0;
}

int umbra_dm_look_after(const struct umbra_storage_watch *watch, int *again_ms,
			struct umbra_error *err)
{
	struct look look = {.watch = watch, .again_ms = -1};
	int r = umbra_dm_state_each(watch->state_fd, look_one, &look, err);

	*again_ms = look.again_ms;
	return r;
}
