/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Brings the kernel to what the pool says and the other way round. Every step leaves a state that
 * this function goes on from, so it may be killed anywhere and called again.
 */
#include <inttypes.h>
#include <string.h>

#include "common/fault.h"
#include "common/log.h"
#include "snapshot/provider/dm/device/wall.h"
#include "snapshot/provider/dm/volume/compact_run.h"
#include "snapshot/provider/dm/volume/fate.h"
#include "snapshot/provider/dm/volume/space.h"
#include "snapshot/provider/dm/volume/stamp.h"
#include "snapshot/provider/dm/volume/view_device.h"

/* Of a store that is to be taken away: what may be written until it is. */
#define WAY_CHUNKS 256

static struct umbra_pool_copy *newest(const struct umbra_protected *p)
{
	return p->pool->n_copies ? &p->pool->copies[p->pool->n_copies - 1] : NULL;
}

int umbra_protected_lose(struct umbra_protected *p, const char *why, struct umbra_error *err)
{
	_cleanup_pool_ struct umbra_pool *next = NULL;
	bool any = umbra_pool_needed(p->pool); /* or nobody has lost anything */
	int r = umbra_protected_begin(p, &next, err);

	if (r == 0)
		r = umbra_pool_lose(next, NULL, err);
	if (r == 0)
		r = umbra_protected_write(p, &next, err);
	if (r < 0)
		return r;
	umbra_dm_lost_note(p, why);
	if (any && !p->adrift) /* adrift: it is found again the next time */
		umbra_log_error("the shadow copies of '%s' are lost: %s", p->path, why);
	return 0;
}

static int state_of(const struct umbra_protected *p, const struct umbra_pool_store *store,
		    enum umbra_store_state *out, struct umbra_error *err)
{
	*out = UMBRA_STORE_ABSENT;
	return p->in ? umbra_store_device_state(&p->kernel, store->number, out, NULL, err) : 0;
}

/* A creation that nobody goes on with. */
static int undo_creation(struct umbra_protected *p, bool resumed, struct umbra_error *err)
{
	_cleanup_pool_ struct umbra_pool *next = NULL;
	struct umbra_pool_copy *copy = newest(p);
	int r = 0;

	if (!resumed)
		r = umbra_store_device_remove(&p->kernel, umbra_pool_live(p->pool)->number, err);
	if (r == 0)
		r = umbra_protected_begin(p, &next, err);
	if (r == 0)
		r = resumed ? umbra_pool_hide(next, &copy->id, err)
			    : umbra_pool_discard(next, &copy->id, err);
	return r < 0 ? r : umbra_protected_write(p, &next, err);
}

/*
 * Writers at the wall of a store have to be through before the kernel takes it away, or it is
 * lost: what it needs for that the newest store has. What it does not use comes back at once.
 */
static int give_way(struct umbra_protected *p, uint64_t number, struct umbra_error *err)
{
	const struct umbra_pool_store *live = umbra_pool_live(p->pool);
	enum umbra_store_state state;
	uint64_t used, granted;
	int r = umbra_store_device_state(&p->kernel, number, &state, &used, err);

	if (r < 0 || state != UMBRA_STORE_LIVE)
		return r;
	r = umbra_wall_chunks(&p->kernel, number, &granted, err);
	if (r < 0 || used + WAY_CHUNKS <= granted)
		return r;
	if (umbra_pool_free_segments(p->pool) == 0)
		r = umbra_live_give_back(p, live->segments.n / 2, err);
	return r < 0 ? r : umbra_space_grant_all(p, err);
}

static int write_header(struct umbra_protected *p, const struct umbra_pool_store *s, bool valid,
			struct umbra_error *err)
{
	const uint32_t sectors = p->pool->geometry.chunk_sectors;
	const size_t bytes = (size_t)sectors * UMBRA_DM_SECTOR;
	_cleanup_free_ char *chunk = malloc(bytes);
	uint64_t at = 0;
	int r;

	if (!chunk)
		return umbra_oom(err);
	if (valid)
		umbra_dm_header(sectors, chunk);
	else
		umbra_dm_header_invalid(sectors, chunk);
	umbra_pool_chunk_at(p->pool, s, 0, &at); /* every store has a segment */
	r = umbra_area_write(p->area, at * bytes, chunk, bytes, err);
	return r < 0 ? r : umbra_area_flush(p->area, err);
}

/*
 * What the kernel has given up it says in the store, if it can: an area that failed for a moment
 * may not have taken that either. Nobody knows it any more when the device is gone. 1: it has not
 * given up the store, which is live.
 */
static int say_given_up(struct umbra_protected *p, const struct umbra_pool_store *s,
			struct umbra_error *err)
{
	enum umbra_store_state state;
	int r = state_of(p, s, &state, err);

	if (r < 0 || state != UMBRA_STORE_INVALID)
		return r < 0 ? r : state == UMBRA_STORE_LIVE;
	return write_header(p, s, false, err);
}

static const struct umbra_pool_store *numbered(const struct umbra_protected *p, uint64_t number)
{
	return &p->pool->stores[umbra_pool_find_store(p->pool, number)];
}

/*
 * was_live: the kernel had not given it up when the next one collected already. What it gave it up
 * for since, as there was no space for it any more, the next one has.
 */
static int read_followed(struct umbra_protected *p, uint64_t number, bool was_live,
			 struct umbra_exceptions *out, uint64_t *used, struct umbra_error *err)
{
	int r = umbra_protected_read_store(p, numbered(p, number), out, used, err);

	if (r != -EBADMSG || !was_live)
		return r;
	r = write_header(p, numbered(p, number), true, err);
	return r < 0 ? r : umbra_protected_read_store(p, numbered(p, number), out, used, err);
}

/* A store that another one has followed: out of the kernel, and its used part is known for good. */
static int seal(struct umbra_protected *p, uint64_t number, struct umbra_error *err)
{
	_cleanup_exceptions_ struct umbra_exceptions exceptions = {0};
	_cleanup_pool_ struct umbra_pool *next = NULL;
	uint64_t used;
	char why[UMBRA_ERROR_MAX] = "";
	bool was_live;
	int r = give_way(p, number, err);

	if (r == 0)
		r = say_given_up(p, numbered(p, number), err);
	was_live = r > 0;
	if (r >= 0)
		r = umbra_fault_fail("dm.sealing", err);
	if (r == 0)
		r = umbra_store_device_remove(&p->kernel, number, err);
	if (r == 0)
		r = umbra_fault_fail("dm.store-out", err);
	if (r == 0)
		r = umbra_protected_begin(p, &next, err);
	if (r == 0)
		r = read_followed(p, number, was_live, &exceptions, &used, err);
	if (r == -EBADMSG) {
		/* It has nothing to say any more, so nor have the copies that read it. */
		uint32_t owner = umbra_pool_owner(next, umbra_pool_find_store(next, number));

		umbra_dm_reason(why, UMBRA_DM_AREA_DAMAGED,
				err ? err->text : "a list of exceptions is wrong");
		umbra_log_error("%s: the copies that need it are lost", why);
		r = umbra_pool_lose(next, &next->copies[owner].id, err);
	} else if (r == 0) {
		r = umbra_pool_seal(next, number, used, err);
	}
	if (r == 0)
		r = umbra_protected_write(p, &next, err);
	if (r == 0 && *why)
		umbra_dm_lost_note(p, why);
	return r;
}

static int seal_followed(struct umbra_protected *p, struct umbra_error *err)
{
	const struct umbra_pool_store *live = umbra_pool_live(p->pool), *s;
	uint32_t i;
	int r = 0;

	for (i = 0; r == 0 && live && i < p->pool->n_stores; i++) {
		s = &p->pool->stores[i];
		if (s->sealed || s->number == live->number)
			continue;
		r = umbra_view_devices_rebase(p, err);
		if (r == 0)
			r = seal(p, s->number, err);
		if (r < 0)
			break; /* there may be no pool any more */
		live = umbra_pool_live(p->pool);
		i = UINT32_MAX; /* the list is another one now */
	}
	return r;
}

/* Whoever makes it may resume its store at this moment: then that is taken away again, and the copy
 * is none, as the pool does not know it any more. The store before it collects all the time. */
int umbra_protected_outrun(struct umbra_protected *p, struct umbra_error *err)
{
	enum umbra_store_state state;
	int r;

	if (!umbra_pool_unfinished(p->pool) || p->pool->n_stores < 2)
		return 0;
	r = state_of(p, umbra_pool_live(p->pool), &state, err);
	if (r < 0 || state == UMBRA_STORE_LIVE || state == UMBRA_STORE_INVALID)
		return r;
	r = undo_creation(p, false, err);
	return r < 0 ? r : 1;
}

/* Nothing that anybody could see needs the layer. */
static int leave(struct umbra_protected *p, struct umbra_error *err)
{
	_cleanup_pool_ struct umbra_pool *next = NULL;
	int r = 0;

	if (p->in) {
		r = umbra_kernel_clear(&p->kernel, err);
		if (r == 0)
			r = umbra_fault_fail("dm.leaving", err);
		umbra_area_set_base(p->area, p->layer.origin);
		if (r == 0)
			r = umbra_layer_out(&p->layer, err);
		if (r < 0)
			return r;
		p->in = false;
	}
	if (p->pool->n_stores > 0)
		r = umbra_protected_begin(p, &next, err);
	if (r == 0 && next)
		r = umbra_pool_clear(next, err);
	if (r == 0 && next)
		r = umbra_protected_write(p, &next, err);
	if (r < 0)
		return r;
	umbra_pool_settle(p->pool, NULL);
	p->asleep = false; /* there is nothing to wake */
	return 0;
}

/*
 * A PREPARED store that is not live: 1 when nobody misses it, as the one before it still collects,
 * or there is none. After a restart of the machine that is not known. *given_up: the kernel has
 * given up the one before it.
 */
static int not_missed(const struct umbra_protected *p, bool *given_up, struct umbra_error *err)
{
	enum umbra_store_state state;
	int r;

	*given_up = false;
	if (!p->in || newest(p)->state != UMBRA_POOL_PREPARED)
		return 0;
	if (p->pool->n_stores < 2)
		return 1;
	r = state_of(p, &p->pool->stores[p->pool->n_stores - 2], &state, err);
	*given_up = r == 0 && state == UMBRA_STORE_INVALID;
	return r < 0 ? r : state == UMBRA_STORE_LIVE;
}

/* Nothing collects. As long as nothing was written either, that can be mended. */
static int judge_without(struct umbra_protected *p, struct umbra_error *err)
{
	int r = umbra_stamp_holds(p, false, err);

	if (r < 0)
		return r;
	p->asleep = r > 0;
	if (r > 0)
		r = umbra_protected_mend(p, err);
	if (r < 0)
		return r;
	if (p->asleep)
		return newest(p)->state == UMBRA_POOL_PREPARED ? undo_creation(p, true, err) : 0;
	p->adrift = !p->in && !umbra_area_certain(p->area);
	if (p->replaced)
		return umbra_protected_lose(
			p,
			"table replaced: the volume got another table while it had shadow copies, "
			"as by lvextend, lvreduce, lvcreate -s, lvchange --refresh, cryptsetup or "
			"dmsetup, and what was written since is in none",
			err);
	return umbra_protected_lose(
		p,
		"written without umbra's layer: the volume was mounted before 'umbra activate', or "
		"by another system, or its table was replaced, or that cannot be ruled out",
		err);
}

/* Is what the pool calls live what the kernel has? */
static int judge(struct umbra_protected *p, struct umbra_error *err)
{
	enum umbra_store_state state;
	bool given_up;
	int r;

	p->asleep = false;
	if (!umbra_pool_live(p->pool)) {
		/* Nothing of the kernel's, and no stamp, says that the area is still there. */
		p->adrift = !p->in && !umbra_area_certain(p->area);
		return 0;
	}
	r = state_of(p, umbra_pool_live(p->pool), &state, err);
	if (r < 0)
		return r;
	if (state == UMBRA_STORE_LIVE)
		return newest(p)->state == UMBRA_POOL_PREPARED ? undo_creation(p, true, err) : 0;
	r = not_missed(p, &given_up, err);
	if (r != 0)
		return r < 0 ? r : undo_creation(p, false, err);
	if (state == UMBRA_STORE_INVALID || given_up)
		return umbra_protected_lose(
			p,
			"diff area full or failed: what is replaced on the volume could "
			"not be kept there; if it was full, 'umbra storage resize' makes it larger "
			"for the next copies, and if its disk failed, dmesg has that",
			err);
	return judge_without(p, err);
}

/* Who was killed between the pool and the device, either way round, left one of them short. */
static int align_grant(struct umbra_protected *p, struct umbra_error *err)
{
	const struct umbra_pool_store *live = umbra_pool_live(p->pool);
	uint64_t chunks;
	int r;

	if (!live)
		return 0;
	r = umbra_wall_chunks(&p->kernel, live->number, &chunks, err);
	if (r < 0 || chunks == (uint64_t)live->segments.n * p->pool->geometry.segment_chunks)
		return r;
	return umbra_store_device_grant(&p->kernel, p->pool, live, err);
}

/* What is live is its maker's. But the machine may stop before he is done. */
static int settle_beside(struct umbra_protected *p, struct umbra_error *err)
{
	const struct umbra_pool_store *base = umbra_protected_base(p);
	int r = base ? say_given_up(p, base, err) : 0;

	return r < 0 ? r : umbra_view_devices_settle(p, err);
}

int umbra_protected_settle(struct umbra_protected *p, struct umbra_error *err)
{
	int r;

	if (p->in && umbra_protected_being_made(p))
		return settle_beside(p, err);
	r = judge(p, err);
	if (r == 0 && p->in && !p->asleep)
		r = seal_followed(p, err);
	if (r == 0 && p->in && !p->asleep)
		r = align_grant(p, err);
	if (r == 0 && p->in && !p->asleep)
		r = umbra_view_devices_settle(p, err);
	if (r == 0 && !umbra_pool_needed(p->pool))
		r = leave(p, err);
	if (r == 0 && p->in && !p->asleep)
		r = umbra_stamp_renew(p, err);
	return r;
}
