/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>

#include "parts.h"

static void write_compacted(struct dm_world *w, const struct umbra_compact *plan,
			    const struct umbra_segments *segments)
{
	const struct umbra_pool_store store = {.sealed = true, .segments = *segments};
	unsigned char chunk[CHUNK];
	uint64_t i, at;

	for (i = 0; i < plan->moves.n; i++) {
		umbra_pool_chunk_at(w->pool, &store, umbra_compact_target(w->pool, i), &at);
		if (i % 8 == 0 && !dm_world_act(w))
			return;
		memcpy(chunk, dm_disk_at(w->area, plan->moves.e[i].new - dm_world_first(w)), CHUNK);
		dm_disk_write(w->area, at - dm_world_first(w), chunk, CHUNK);
	}
	for (i = 0; i < umbra_compact_metadata_chunks(w->pool, plan); i++) {
		umbra_pool_chunk_at(w->pool, &store,
				    umbra_compact_metadata(w->pool, plan, i, chunk), &at);
		if (dm_world_act(w))
			dm_disk_write(w->area, at - dm_world_first(w), chunk, CHUNK);
	}
	if (w->fault != DM_FAULT_COMPACT_NO_FLUSH && dm_world_act(w))
		dm_disk_flush(w->area);
}

/* Takes half of the live store's room, to write to. */
static void make_room(struct dm_world *w)
{
	uint32_t keep = dm_world_keep_for(w);
	struct umbra_pool *pool;

	if (keep == 0)
		return;
	if (w->fault != DM_FAULT_COMPACT_LIVE_TAIL)
		keep = dm_world_wall_off(w, keep);
	pool = dm_world_dup_pool(w);
	if (umbra_pool_shrink(pool, keep, NULL) < 0)
		dm_world_wrong(w, "the live store cannot be made shorter");
	dm_world_write_pool(w, pool);
}

static void carry_out(struct dm_world *w, uint32_t copy, struct umbra_compact *plan)
{
	const struct umbra_id id = w->pool->copies[copy].id;
	_cleanup_segments_ struct umbra_segments segments = {0};
	struct umbra_pool *pool;
	struct umbra_error err;

	if (umbra_pool_reserve(w->pool, plan->segments, &segments, &err) < 0) {
		dm_world_wrong(w, "%s", err.text);
		return;
	}
	write_compacted(w, plan, &segments);
	if (w->dead)
		return;
	pool = dm_world_dup_pool(w);
	if (umbra_pool_replace(pool, &id, &segments, plan->used, plan->drop, plan->n_drop, &err) <
	    0)
		dm_world_wrong(w, "%s", err.text);
	dm_world_write_pool(w, pool);
	w->compacted += plan->n_drop;
	w->pieces++;
}

static bool compact_piece(struct dm_world *w, uint32_t copy, uint64_t piece)
{
	const struct umbra_compact_limits limits = {piece, umbra_pool_free_segments(w->pool)};
	const uint32_t first = umbra_pool_first_store(w->pool, copy);
	const uint32_t n = w->pool->copies[copy].n_stores;
	_cleanup_free_ struct umbra_exceptions *lists = calloc(n + 1, sizeof(*lists));
	_cleanup_compact_ struct umbra_compact plan = {0};
	uint64_t used;
	uint32_t i;
	int r;

	for (i = 0; i < n; i++)
		dm_world_read_store(w, &w->pool->stores[first + i], &lists[i], &used);
	r = umbra_compact_plan(w->pool, copy, lists, &limits, &plan, NULL);
	for (i = 0; i < n; i++)
		umbra_exceptions_finish(&lists[i]);
	if (r > 0)
		carry_out(w, copy, &plan);
	return r > 0;
}

void dm_world_compact(struct dm_world *w, uint32_t copy, uint64_t piece)
{
	const struct umbra_pool_copy *c = &w->pool->copies[copy];

	if (copy + 1 >= w->pool->n_copies || c->n_stores < 2)
		return;
	make_room(w);
	while (!w->dead && compact_piece(w, copy, piece))
		dm_world_settle(w);
	if (!w->dead)
		dm_world_grant(w, UMBRA_SEGMENTS_MAX);
}
