/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/provider/dm/volume/compact_run.h"

#include <string.h>

#include "common/fault.h"
#include "snapshot/provider/dm/pool/compact.h"
#include "snapshot/provider/dm/volume/gauge.h"
#include "snapshot/provider/dm/volume/view_device.h"

#define PIECE_CHUNKS  256
#define RUN_CHUNKS    64
#define MARGIN_CHUNKS 256 /* that the live store may use up meanwhile */

/* --- room --- */

int umbra_live_give_back(struct umbra_protected *p, uint32_t n, struct umbra_error *err)
{
	const struct umbra_pool_store *live = umbra_pool_live(p->pool);
	_cleanup_pool_ struct umbra_pool *next = NULL;
	enum umbra_store_state state;
	uint32_t keep;
	uint64_t used;
	int r;

	if (!live || n >= live->segments.n)
		return 0;
	keep = live->segments.n - n;
	r = umbra_store_device_state(&p->kernel, live->number, &state, &used, err);
	if (r < 0 || state != UMBRA_STORE_LIVE ||
	    used + MARGIN_CHUNKS > (uint64_t)keep * p->pool->geometry.segment_chunks)
		return r < 0 ? r : 0;
	r = umbra_store_device_cut(&p->kernel, p->pool, live, keep, err);
	if (r <= 0)
		return r;
	r = umbra_fault_fail("dm.given-back", err);
	if (r == 0)
		r = umbra_protected_begin(p, &next, err);
	if (r == 0)
		r = umbra_pool_shrink(next, keep, err);
	if (r == 0)
		r = umbra_protected_write(p, &next, err);
	return r < 0 ? r : 1;
}

/* Are so many segments free, by now? */
static int make_room(struct umbra_protected *p, uint32_t n, struct umbra_error *err)
{
	uint32_t available = umbra_pool_free_segments(p->pool);

	return n <= available ? 1 : umbra_live_give_back(p, n - available, err);
}

/* --- copying --- */

struct copying {
	const struct umbra_protected *p;
	const struct umbra_compact *plan;
	struct umbra_pool_store to; /* number and list alone */
	size_t bytes;               /* of a chunk */
	char *buffer;               /* RUN_CHUNKS */
};

static int target(const struct copying *c, uint64_t chunk, uint64_t *at, struct umbra_error *err)
{
	int r = umbra_pool_chunk_at(c->p->pool, &c->to, chunk, at);

	return r < 0 ? umbra_fail_errno(err, r, "a new store is too short") : 0;
}

/* How many of the moves from i on lie one behind the other, where they are and where they go. */
static int find_run(const struct copying *c, size_t i, size_t *n, uint64_t *to,
		    struct umbra_error *err)
{
	const struct umbra_pool *pool = c->p->pool;
	uint64_t next;
	int r = target(c, umbra_compact_target(pool, i), to, err);

	for (*n = 1; r == 0 && *n < RUN_CHUNKS && i + *n < c->plan->moves.n; (*n)++) {
		if (c->plan->moves.e[i + *n].new != c->plan->moves.e[i].new + *n)
			break;
		r = target(c, umbra_compact_target(pool, i + *n), &next, err);
		if (r == 0 && next != *to + *n)
			break;
	}
	return r;
}

static int copy_data(const struct copying *c, struct umbra_error *err)
{
	uint64_t to;
	size_t i, n;
	int r = 0;

	for (i = 0; r == 0 && i < c->plan->moves.n; i += n) {
		r = find_run(c, i, &n, &to, err);
		if (r == 0)
			r = umbra_area_read(c->p->area, c->plan->moves.e[i].new * c->bytes,
					    c->buffer, n * c->bytes, err);
		if (r == 0)
			r = umbra_area_write(c->p->area, to * c->bytes, c->buffer, n * c->bytes,
					     err);
	}
	return r;
}

static int write_metadata(const struct copying *c, struct umbra_error *err)
{
	const struct umbra_pool *pool = c->p->pool;
	uint64_t i, at, n = umbra_compact_metadata_chunks(pool, c->plan);
	int r = 0;

	for (i = 0; r == 0 && i < n; i++) {
		r = target(c, umbra_compact_metadata(pool, c->plan, i, c->buffer), &at, err);
		if (r == 0)
			r = umbra_area_write(c->p->area, at * c->bytes, c->buffer, c->bytes, err);
	}
	return r;
}

/* The new store, durably. Nobody reads there yet. */
static int fill(const struct umbra_protected *p, const struct umbra_compact *plan,
		const struct umbra_segments *segments, struct umbra_error *err)
{
	size_t bytes = (size_t)p->pool->geometry.chunk_sectors * UMBRA_DM_SECTOR;
	_cleanup_free_ char *buffer = malloc(RUN_CHUNKS * bytes);
	struct copying c = {.p = p,
			    .plan = plan,
			    .to = {.segments = *segments},
			    .bytes = bytes,
			    .buffer = buffer};
	int r;

	if (!buffer)
		return umbra_oom(err);
	r = copy_data(&c, err);
	if (r == 0)
		r = umbra_fault_fail("dm.compact-copied", err);
	if (r == 0)
		r = write_metadata(&c, err);
	return r < 0 ? r : umbra_area_flush(p->area, err);
}

/* --- a piece --- */

static int carry_out(struct umbra_protected *p, uint32_t copy, const struct umbra_compact *plan,
		     struct umbra_error *err)
{
	_cleanup_pool_ struct umbra_pool *next = NULL;
	_cleanup_segments_ struct umbra_segments segments = {0};
	struct umbra_id id = p->pool->copies[copy].id;
	int r = umbra_protected_begin(p, &next, err);

	if (r == 0 && plan->segments > 0)
		r = umbra_pool_reserve(next, plan->segments, &segments, err);
	if (r == 0)
		r = fill(p, plan, &segments, err);
	if (r == 0)
		r = umbra_fault_fail("dm.compact-filled", err);
	if (r == 0)
		r = umbra_pool_replace(next, &id, &segments, plan->used, plan->drop, plan->n_drop,
				       err);
	if (r == 0)
		r = umbra_protected_write(p, &next, err);
	if (r == 0)
		r = umbra_fault_fail("dm.compacted", err);
	return r < 0 ? r : umbra_view_devices_settle(p, err);
}

static int plan_copy(struct umbra_protected *p, uint32_t copy, uint32_t room,
		     struct umbra_compact *plan, struct umbra_error *err)
{
	const struct umbra_compact_limits limits = {.chunks = PIECE_CHUNKS, .segments = room};
	const uint32_t first = umbra_pool_first_store(p->pool, copy);
	const uint32_t n = p->pool->copies[copy].n_stores;
	struct umbra_exceptions *exceptions = calloc(n, sizeof(*exceptions));
	uint32_t i;
	int r = exceptions ? 0 : umbra_oom(err);

	for (i = 0; r == 0 && i < n; i++)
		r = umbra_protected_read_store(p, &p->pool->stores[first + i], &exceptions[i], NULL,
					       err);
	if (r == 0)
		r = umbra_compact_plan(p->pool, copy, exceptions, &limits, plan, err);
	for (i = 0; exceptions && i < n; i++)
		umbra_exceptions_finish(&exceptions[i]);
	free(exceptions);
	return r;
}

int umbra_compact_run(struct umbra_protected *p, uint64_t spare, struct umbra_error *err)
{
	struct umbra_gauge gauge;
	uint32_t copy, room;
	int r = umbra_gauge_read(p, &gauge, err);

	if (r < 0 || umbra_pool_unfinished(p->pool))
		return r < 0 ? r : 0;
	room = gauge.total > spare ? (uint32_t)(gauge.total - spare) : 0;
	for (copy = 0; r == 0 && copy + 1 < p->pool->n_copies; copy++) {
		_cleanup_compact_ struct umbra_compact plan = {0};

		if (p->pool->copies[copy].n_stores < 2)
			continue;
		r = plan_copy(p, copy, room, &plan, err);
		if (r > 0)
			r = make_room(p, plan.segments, err);
		if (r > 0)
			r = carry_out(p, copy, &plan, err) ?: 1;
	}
	return r;
}

uint64_t umbra_compact_sign(const struct umbra_pool *pool)
{
	uint64_t sign = 0;
	uint32_t i, s, first;

	for (i = 0; i + 1 < pool->n_copies; i++) {
		first = umbra_pool_first_store(pool, i);
		for (s = 0; pool->copies[i].n_stores > 1 && s < pool->copies[i].n_stores; s++)
			sign = sign * 1099511628211ULL + pool->stores[first + s].number + i;
	}
	return sign;
}
