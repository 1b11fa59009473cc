/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Space: the live store gets what is free. When little is left the oldest copy goes, and what it
 * held is handed over; the newest is never given up for space. Writers that outran this wait at the
 * wall; what cannot be had for them in time never will, and the volume goes on without its copies
 * (walls.h).
 *
 * Most looks are a glance: is the kernel as it was when all was well? The volume is opened, under
 * its lock, when it is not, and now and then anyway.
 */
#include "snapshot/provider/dm/storage/look_after.h"

#include <string.h>
#include <sys/stat.h>

#include "common/fault.h"
#include "common/log.h"
#include "common/token.h"
#include "snapshot/provider/dm/device/wall.h"
#include "snapshot/provider/dm/parts.h"
#include "snapshot/provider/dm/storage/harm.h"
#include "snapshot/provider/dm/volume/compact_run.h"
#include "snapshot/provider/dm/volume/gauge.h"
#include "snapshot/provider/dm/volume/stamp.h"
#include "snapshot/provider/dm/volume/view_device.h"
#include "snapshot/provider/dm/volume/walls.h"

#define LOCK_WAIT_MS 100
#define OFTEN_MS     20
#define SELDOM_MS    250
#define CREATION_MS  50
#define PACE_MS      100     /* between two pieces of compaction: 40 MiB/s */
#define ANYWAY_US    3000000 /* opened at least so often */
#define LATE_MS      1500    /* writers wait for so long, and a look more: at most 2 s */
#define ASK_AGAIN    4       /* looks before the space that is left would be used up */

/* An eighth of the pool has to be left, at most what is written in a second. */
#define LOW_BYTES (512ULL << 20)

/* An area as it was when it was opened last. */
struct known {
	struct umbra_kernel kernel; /* area; the rest only as long as it is in */
	dev_t origin;
	bool in, asleep;
	bool in_use;                     /* the volume, before it was opened */
	char stamp[UMBRA_POOL_TEXT_MAX]; /* in the pool */
	uint64_t store, next_store; /* the one that is written, and the one that would come next */
	uint64_t used, seen;        /* chunks, then and at the last glance */
	uint64_t low;               /* chunks */
	int64_t at_us, seen_us;
	bool unfinished;           /* a creation is */
	bool compacting;           /* there may be something to do */
	uint64_t compacted;        /* umbra_compact_sign() of what there is nothing to do about */
	char why[UMBRA_ERROR_MAX]; /* it could not be opened; "": it could */
	uint32_t lost;             /* copies */
	struct umbra_harm harm;
	bool opened; /* ever */
	struct known *next;
};

static struct known *areas;
static struct timespec listed; /* when the list of areas was last changed */

struct look {
	const struct umbra_storage_watch *watch;
	int again_ms;
};

static void again(struct look *look, int64_t ms)
{
	if (ms < OFTEN_MS)
		ms = OFTEN_MS;
	if (ms > SELDOM_MS)
		ms = SELDOM_MS;
	if (look->again_ms < 0 || look->again_ms > ms)
		look->again_ms = (int)ms;
}

static struct known *known_of(const struct umbra_id *area)
{
	struct known *k;

	for (k = areas; k; k = k->next)
		if (strcmp(k->kernel.area.s, area->s) == 0)
			return k;
	k = calloc(1, sizeof(*k));
	if (k) {
		k->kernel.area = *area;
		k->next = areas;
		areas = k;
	}
	return k;
}

static void forget_areas(void)
{
	struct known *k;

	while ((k = areas)) {
		areas = k->next;
		umbra_harm_forget(&k->harm);
		free(k);
	}
}

/* --- a glance --- */

/* 1, 0 or negative. */
static int slid_in(dev_t origin, struct umbra_error *err)
{
	_cleanup_dm_table_ struct umbra_dm_table table = {0};
	int r = umbra_dm_table(umbra_dm_numbered(origin), UMBRA_DM_LIVE, &table, err);

	return r < 0 ? r : table.n == 1 && strcmp(table.v[0].target, "snapshot-origin") == 0;
}

/* When the store would be full at the speed of the last moments. */
static int64_t time_left_ms(struct known *k, uint64_t used, uint64_t left)
{
	int64_t now = umbra_now_us(), passed = now - k->seen_us;
	uint64_t written = used > k->seen ? used - k->seen : 0;

	k->seen = used;
	k->seen_us = now;
	if (written == 0 || passed <= 0)
		return SELDOM_MS * ASK_AGAIN;
	return (int64_t)((double)left / (double)written * (double)passed / 1000);
}

/* Is there enough, or nothing that could be done about it? */
static int store_is_well(struct known *k, struct look *look, struct umbra_error *err)
{
	enum umbra_store_state state;
	uint64_t used, granted;
	int r = umbra_store_device_state(&k->kernel, k->next_store, &state, NULL, err);

	if (r < 0 || state != UMBRA_STORE_ABSENT)
		return r < 0 ? r : 0;
	r = umbra_store_device_state(&k->kernel, k->store, &state, &used, err);
	if (r < 0 || state != UMBRA_STORE_LIVE)
		return r < 0 ? r : 0;
	r = umbra_wall_chunks(&k->kernel, k->store, &granted, err);
	if (r < 0 || used > granted || (used + k->low > granted && used != k->used))
		return r < 0 ? r : 0;
	again(look, time_left_ms(k, used, granted - used) / ASK_AGAIN);
	return 1;
}

/* Has it been mounted or unmounted, or mounted otherwise, and the pool does not know? Of the disk
 * that is asked only when there is a reason. */
static bool stamp_is_well(const struct known *k, const struct look *look)
{
	if (!k->in && !k->asleep)
		return true;
	if ((umbra_stamp_used(k->origin, "", NULL) > 0) != k->in_use)
		return false;
	return !k->in || !look->watch->mounts ||
	       !umbra_stamp_differs(k->origin, k->kernel.real, k->kernel.sectors, k->stamp);
}

static bool is_well(struct known *k, struct look *look)
{
	int r;

	if (umbra_harm_look(&k->harm) != UMBRA_HARM_NONE || umbra_now_us() - k->at_us > ANYWAY_US)
		return false;
	if (*k->why)
		return true;
	if (k->unfinished || k->compacting)
		return false;
	r = slid_in(k->origin, NULL);
	if (r < 0 || (r > 0) != k->in || !stamp_is_well(k, look))
		return false;
	return !k->in || store_is_well(k, look, NULL) > 0;
}

/* --- what is done --- */

uint64_t umbra_dm_low_water_of(const struct umbra_pool_geometry *g, uint32_t segments)
{
	uint64_t segment = (uint64_t)g->segment_chunks * g->chunk_sectors * UMBRA_DM_SECTOR;
	uint64_t low = segments / 8;

	return low * segment > LOW_BYTES ? LOW_BYTES / segment : low ? low : 1;
}

uint64_t umbra_dm_low_water(const struct umbra_pool *pool)
{
	return umbra_dm_low_water_of(&pool->geometry, pool->geometry.segments);
}

int umbra_dm_grant_all(struct umbra_protected *p, struct umbra_error *err)
{
	_cleanup_pool_ struct umbra_pool *next = NULL;
	uint32_t n = umbra_pool_free_segments(p->pool), granted, i;
	struct umbra_gauge gauge;
	uint64_t number;
	int r = umbra_gauge_read(p, &gauge, err);

	if (r < 0 || !gauge.store || (n == 0 && !gauge.short_of))
		return r;
	number = gauge.store->number;
	if (n > 0) {
		r = umbra_protected_begin(p, &next, err);
		if (r == 0)
			r = umbra_pool_grant(next, number, n, &granted, err);
		if (r == 0)
			r = umbra_protected_write(p, &next, err);
		if (r == 0)
			r = umbra_fault_fail("dm.granted", err);
		if (r < 0)
			return r;
	}
	i = umbra_pool_find_store(p->pool, number);
	return umbra_store_device_grant(&p->kernel, p->pool, &p->pool->stores[i], err);
}

/* The oldest that is not the newest; NULL: none can be given up. */
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

/* Deleting waits until a creation is finished, which may take longer than writers can wait. */
static int forget_now(struct umbra_protected *p, const struct umbra_id *id, struct umbra_error *err)
{
	_cleanup_pool_ struct umbra_pool *next = NULL;
	int r = umbra_view_devices_close(p, id, err);

	if (r == 0)
		r = umbra_protected_begin(p, &next, err);
	if (r == 0)
		r = umbra_pool_lose(next, id, err);
	if (r == 0)
		r = umbra_pool_remove(next, id, err);
	if (r == 0)
		r = umbra_protected_write(p, &next, err);
	if (r == 0)
		r = umbra_fault_fail("dm.given-up", err);
	if (r == 0)
		r = umbra_protected_settle(p, err);
	return r < 0 ? r : umbra_dm_grant_all(p, err);
}

static int drop_oldest(struct umbra_protected *p, const struct look *look, struct umbra_error *err)
{
	const struct umbra_pool_copy *copy = oldest(p->pool);
	struct umbra_id id;
	int r;

	if (!copy)
		return -ENOSPC;
	id = copy->id;
	r = umbra_pool_unfinished(p->pool) ? forget_now(p, &id, err) : umbra_dm_forget(p, &id, err);
	if (r == 0)
		look->watch->lost(
			look->watch->arg, &id,
			"the oldest of its volume, given up because the diff area was full");
	return r;
}

/* While a copy is made its store has half of what was left. */
static bool is_low(const struct umbra_gauge *g, uint64_t low)
{
	return g->total < low || (g->store && g->left < low / 4);
}

/* Writers are about to wait, and no older copy is left to give up: rather none is made. */
static int outrun(struct umbra_protected *p, struct umbra_gauge *gauge, struct umbra_error *err)
{
	int r = gauge->store && gauge->left == 0 ? umbra_protected_outrun(p, err) : 0;

	if (r <= 0)
		return r;
	umbra_log_warning("'%s' is written so fast that the shadow copy that was being made is "
			  "given up for the older ones",
			  p->path);
	return umbra_gauge_read(p, gauge, err);
}

/* Enough is free, or all that can be had. */
static int make_room(struct umbra_protected *p, struct look *look, struct umbra_gauge *gauge,
		     struct umbra_error *err)
{
	uint64_t low = umbra_dm_low_water(p->pool);
	int r = umbra_gauge_read(p, gauge, err);

	while (r == 0 && is_low(gauge, low)) {
		look->watch->step(look->watch->arg);
		r = drop_oldest(p, look, err);
		if (r == 0)
			r = umbra_gauge_read(p, gauge, err);
	}
	if (r == -ENOSPC)
		r = outrun(p, gauge, err);
	if (r == 0)
		r = umbra_dm_grant_all(p, err);
	return r < 0 ? r : umbra_gauge_read(p, gauge, err);
}

static uint32_t count_lost(const struct umbra_pool *pool)
{
	uint32_t n = 0;

	while (n < pool->n_copies && pool->copies[n].state == UMBRA_POOL_LOST)
		n++;
	return n;
}

static void tell_change(const struct look *look)
{
	if (look->watch->changed)
		look->watch->changed(look->watch->arg);
}

static void remember(struct known *k, const struct umbra_protected *p,
		     const struct umbra_gauge *gauge, const struct look *look)
{
	if (*k->why || (k->opened && k->lost != count_lost(p->pool)))
		tell_change(look);
	k->opened = true;
	k->lost = count_lost(p->pool);
	k->origin = p->layer.origin;
	k->in = p->in;
	k->asleep = p->asleep;
	k->kernel = p->kernel;
	snprintf(k->stamp, sizeof(k->stamp), "%s", p->pool->stamp);
	k->at_us = k->seen_us = umbra_now_us();
	k->store = gauge->store ? gauge->store->number : UMBRA_POOL_NO_STORE;
	k->next_store = p->pool->next_store;
	k->used = k->seen = gauge->used;
	k->unfinished = umbra_pool_unfinished(p->pool);
	*k->why = '\0';
	k->low = umbra_dm_low_water(p->pool) * p->pool->geometry.segment_chunks;
	umbra_harm_remember(&k->harm, p);
}

/* A piece of it, when nobody writes first-time, or everybody soon will have to wait. */
static int compact(struct umbra_protected *p, struct known *k, const struct umbra_gauge *gauge,
		   struct look *look, struct umbra_error *err)
{
	uint64_t low = umbra_dm_low_water(p->pool), sign = umbra_compact_sign(p->pool);
	struct umbra_error why = {0};
	bool quiet = gauge->store && gauge->store->number == k->store && gauge->used == k->seen;
	int r;

	k->compacting = sign != 0 && sign != k->compacted && !umbra_pool_unfinished(p->pool);
	if (!k->compacting)
		return 0;
	again(look, PACE_MS);
	if (!quiet && gauge->total >= 2 * low)
		return 0;
	r = umbra_compact_run(p, low, &why);
	if (r < 0 && p->pool) {
		/* Of less weight than writers, who need us. */
		umbra_log_error("compacting the diff area of '%s': %s", p->path, why.text);
		r = 0;
		k->compacted = sign;
		k->compacting = false;
	} else if (r < 0) {
		return umbra_fail(err, why.code, r, "%s", why.text);
	} else if (r == 0) {
		k->compacted = sign;
		k->compacting = false;
		if (umbra_segment_map_count(&p->pool->map, UMBRA_SEGMENT_PENDING) > 0)
			r = umbra_view_devices_rebase(p, err);
		if (r == 0)
			r = umbra_view_devices_settle(p, err);
	}
	return r < 0 ? r : umbra_dm_grant_all(p, err);
}

/* An umbrad that was told to end has left it open. */
static int close_wall(const struct umbra_protected *p, struct umbra_error *err)
{
	struct umbra_gauge gauge = {0};
	int r = umbra_gauge_read(p, &gauge, err);

	return r < 0 || !gauge.store ? r : umbra_wall_close(&p->kernel, gauge.store->number, err);
}

static int look_at(struct umbra_protected *p, struct known *k, struct look *look,
		   struct umbra_error *err)
{
	struct umbra_gauge gauge = {0};
	int r = 0;

	if (p->in) {
		if (!k->opened)
			r = close_wall(p, err);
		if (r == 0)
			r = make_room(p, look, &gauge, err);
		if (r < 0)
			return r;
		r = compact(p, k, &gauge, look, err);
		if (r == 0)
			r = umbra_gauge_read(p, &gauge, err);
		if (r < 0)
			return r;
		again(look, umbra_pool_unfinished(p->pool) ? CREATION_MS : SELDOM_MS);
	}
	remember(k, p, &gauge, look);
	return 0;
}

/* Said once, tried again and again. */
static void remember_failure(struct known *k, const char *path, const char *why,
			     const struct look *look)
{
	if (strcmp(k->why, why) != 0) {
		umbra_log_error("looking after '%s': %s", path, why);
		tell_change(look);
	}
	snprintf(k->why, sizeof(k->why), "%s", why);
	k->at_us = umbra_now_us();
}

/* Without the lock, which somebody may have for long. Who opens the volume then says why. */
static void stop_harm(struct known *k, const char *path, struct look *look)
{
	struct umbra_error why = {0};

	if (umbra_harm_look(&k->harm) != UMBRA_HARM_CERTAIN)
		return;
	again(look, OFTEN_MS);
	if (umbra_kernel_stop(&k->kernel, &why) < 0)
		umbra_log_error("looking after '%s': %s", path, why.text);
}

static int look_one(const struct umbra_dm_state *s, void *arg)
{
	_cleanup_protected_ struct umbra_protected *p = NULL;
	struct known *k = known_of(&s->area);
	struct umbra_error why = {0};
	struct look *look = arg;
	int r;

	if (!k)
		return -ENOMEM;
	look->watch->step(look->watch->arg);
	stop_harm(k, s->path, look);
	k->in_use = k->origin && umbra_stamp_used(k->origin, "", NULL) > 0;
	r = umbra_protected_open_area(look->watch->state_fd, s->area.s, LOCK_WAIT_MS, &p, &why);
	if (r == 0)
		r = look_at(p, k, look, &why);
	if (r < 0)
		again(look, SELDOM_MS);
	if (r == -EBUSY)
		k->at_us = 0;
	else if (r < 0)
		remember_failure(k, s->path, why.text, look);
	if (umbra_protected_out_of_reach(r))
		umbra_harm_forget(&k->harm); /* nothing is stored there any more */
	return 0;
}

/* Are all areas known, and well? */
static bool all_well(struct look *look)
{
	struct stat st;
	struct known *k;
	bool well;

	if (umbra_dm_state_stat(look->watch->state_fd, &st) < 0)
		return false;
	well = memcmp(&st.st_mtim, &listed, sizeof(listed)) == 0;
	if (!well)
		forget_areas();
	listed = st.st_mtim;
	for (k = areas; well && k; k = k->next)
		well = is_well(k, look);
	return well;
}

bool umbra_dm_depends_on(dev_t device)
{
	const struct known *k;

	for (k = areas; k; k = k->next)
		if (k->origin == device)
			return true;
	return false;
}

int umbra_dm_look_after(const struct umbra_storage_watch *watch, int *again_ms,
			struct umbra_error *err)
{
	struct look look = {.watch = watch, .again_ms = -1};
	int r = 0, waiting;

	umbra_harm_quiet();
	if (!all_well(&look))
		r = umbra_dm_state_each(watch->state_fd, look_one, &look, err);
	if (r == -ENOMEM)
		umbra_oom(err);
	waiting = umbra_walls_let_go(LATE_MS, r == 0 ? err : NULL);
	if (waiting > 0)
		again(&look, OFTEN_MS);
	*again_ms = look.again_ms;
	return r < 0 ? r : waiting < 0 ? waiting : 0;
}
