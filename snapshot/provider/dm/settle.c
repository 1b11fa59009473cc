/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Brings the kernel to what the pool says and the other way round. Every step leaves a state that
 * this function goes on from, so it may be killed anywhere and called again.
 */
#include <inttypes.h>
#include <string.h>

#include "common/fault.h"
#include "common/log.h"
#include "snapshot/provider/dm/protected.h"
#include "snapshot/provider/dm/view_device.h"

static struct umbra_pool_copy *newest(const struct umbra_protected *p)
{
	return p->pool->n_copies ? &p->pool->copies[p->pool->n_copies - 1] : NULL;
}

/* All copies that depend on what is known to be incomplete. */
static int lose_all(struct umbra_protected *p, const char *why, struct umbra_error *err)
{
	_cleanup_pool_ struct umbra_pool *next = NULL;
	int r = umbra_protected_begin(p, &next, err);

	if (r == 0)
		r = umbra_pool_lose(next, NULL, err);
	if (r == 0)
		r = umbra_protected_write(p, &next, err);
	if (r == 0)
		umbra_log_error("the shadow copies of '%s' are lost: %s", p->pool->volume, why);
	return r;
}

static int live_state(const struct umbra_protected *p, enum umbra_store_state *out,
		      struct umbra_error *err)
{
	const struct umbra_pool_store *live = umbra_pool_live(p->pool);

	*out = UMBRA_STORE_ABSENT;
	return live && p->in ? umbra_store_device_state(&p->kernel, live->number, out, NULL, err)
			     : 0;
}

/* A creation that nobody goes on with. Whether its store was ever live the kernel knows. */
static int undo_creation(struct umbra_protected *p, struct umbra_error *err)
{
	_cleanup_pool_ struct umbra_pool *next = NULL;
	const struct umbra_pool_store *live = umbra_pool_live(p->pool);
	struct umbra_pool_copy *copy = newest(p);
	enum umbra_store_state state;
	int r = live_state(p, &state, err);
	bool resumed;

	if (r < 0)
		return r;
	resumed = state == UMBRA_STORE_LIVE || state == UMBRA_STORE_INVALID;
	if (!resumed && p->in)
		r = umbra_store_device_remove(&p->kernel, live->number, err);
	if (r == 0)
		r = umbra_protected_begin(p, &next, err);
	if (r == 0)
		r = resumed ? umbra_pool_hide(next, &copy->id, err)
			    : umbra_pool_discard(next, &copy->id, err);
	return r < 0 ? r : umbra_protected_write(p, &next, err);
}

/* A store that another one has followed: out of the kernel, and its used part is known for good. */
static int seal(struct umbra_protected *p, uint64_t number, struct umbra_error *err)
{
	_cleanup_exceptions_ struct umbra_exceptions exceptions = {0};
	_cleanup_pool_ struct umbra_pool *next = NULL;
	uint64_t used;
	int r = umbra_store_device_remove(&p->kernel, number, err);

	if (r == 0)
		r = umbra_fault_fail("dm.store-out", err);
	if (r == 0)
		r = umbra_protected_begin(p, &next, err);
	if (r == 0)
		r = umbra_protected_read_store(
			p, &p->pool->stores[umbra_pool_find_store(p->pool, number)], &exceptions,
			&used, err);
	if (r == -EBADMSG) {
		/* It has nothing to say any more, so nor have the copies that read it. */
		uint32_t owner = umbra_pool_owner(next, umbra_pool_find_store(next, number));

		umbra_log_error("%s: the copies that need it are lost",
				err ? err->text : "damaged");
		r = umbra_pool_lose(next, &next->copies[owner].id, err);
	} else if (r == 0) {
		r = umbra_pool_seal(next, number, used, err);
	}
	return r < 0 ? r : umbra_protected_write(p, &next, err);
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
		live = umbra_pool_live(p->pool);
		i = UINT32_MAX; /* the list is another one now */
	}
	return r;
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
	if (r == 0)
		umbra_pool_settle(p->pool, NULL);
	return r;
}

/* Is what the pool calls live what the kernel has? */
static int judge(struct umbra_protected *p, struct umbra_error *err)
{
	enum umbra_store_state state;
	int r;

	if (!umbra_pool_live(p->pool))
		return 0;
	if (!p->in)
		return lose_all(p,
				"the volume is in use without umbra's layer (restarted without "
				"'umbra activate', or its table was replaced)",
				err);
	r = live_state(p, &state, err);
	if (r < 0 || state == UMBRA_STORE_LIVE)
		return r;
	return lose_all(p,
			state == UMBRA_STORE_INVALID
				? "the diff area was full, or failed"
				: "the newest one is not in the kernel any more",
			err);
}

/* Who was killed between the pool and the device, either way round, left one of them short. */
static int align_grant(struct umbra_protected *p, struct umbra_error *err)
{
	const struct umbra_pool_store *live = umbra_pool_live(p->pool);
	uint64_t chunks;
	int r;

	if (!live)
		return 0;
	r = umbra_store_device_granted(&p->kernel, live->number, &chunks, err);
	if (r < 0 || chunks == (uint64_t)live->segments.n * p->pool->geometry.segment_chunks)
		return r;
	return umbra_store_device_grant(&p->kernel, p->pool, live, err);
}

int umbra_protected_settle(struct umbra_protected *p, struct umbra_error *err)
{
	struct umbra_pool_copy *copy = newest(p);
	int r = 0;

	if (p->in && umbra_protected_being_made(p))
		return umbra_view_devices_settle(p, err);
	if (copy && copy->state == UMBRA_POOL_PREPARED)
		r = undo_creation(p, err);
	if (r == 0)
		r = judge(p, err);
	if (r == 0 && p->in)
		r = seal_followed(p, err);
	if (r == 0 && p->in)
		r = align_grant(p, err);
	if (r == 0 && p->in)
		r = umbra_view_devices_settle(p, err);
	if (r == 0 && !umbra_pool_needed(p->pool))
		r = leave(p, err);
	return r;
}
