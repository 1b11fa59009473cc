/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>

#include "parts.h"

/* All of the live store that it has not used. */
static void take_unused(struct dm_world *w)
{
	const struct umbra_pool_store *live = umbra_pool_live(w->pool);
	struct umbra_pool *pool;
	uint32_t keep;

	if (!live)
		return;
	keep = w->fault == DM_FAULT_MOVE_LIVE_TAIL ? dm_world_keep_for(w) : dm_world_wall_off(w, 1);
	pool = dm_world_dup_pool(w);
	if (umbra_pool_shrink(pool, keep, NULL) < 0)
		dm_world_wrong(w, "the live store cannot be made shorter");
	dm_world_write_pool(w, pool);
}

static void copy_segment(struct dm_world *w, uint32_t from, uint32_t to)
{
	unsigned char chunk[CHUNK];
	uint32_t i;

	for (i = 0; i < DM_WORLD_SEGMENT && dm_world_act(w); i++) {
		memcpy(chunk, dm_disk_at(w->area, (uint64_t)from * DM_WORLD_SEGMENT + i), CHUNK);
		dm_disk_write(w->area, (uint64_t)to * DM_WORLD_SEGMENT + i, chunk, CHUNK);
	}
}

static uint32_t lowest_free(const struct umbra_pool *pool)
{
	uint32_t i;

	for (i = 0; i < pool->map.n && pool->map.use[i] != UMBRA_SEGMENT_FREE; i++)
		;
	return i;
}

/* Into the front what lies behind, as far as there is room. */
static void move_tail(struct dm_world *w, struct umbra_pool *pool, uint32_t segments)
{
	uint32_t i, to;

	for (i = pool->map.n; i-- > segments && !w->dead;) {
		to = lowest_free(pool);
		if (pool->map.use[i] != UMBRA_SEGMENT_OWNED || to >= segments ||
		    !pool->stores[umbra_pool_store_of(pool, i)].sealed)
			continue;
		copy_segment(w, i, to);
		if (umbra_pool_move(pool, i, to, NULL) < 0)
			dm_world_wrong(w, "a segment cannot be moved");
		w->moved++;
	}
	if (w->fault != DM_FAULT_MOVE_NO_FLUSH && dm_world_act(w))
		dm_disk_flush(w->area);
}

static void set_segments(struct dm_world *w, struct umbra_pool *pool, uint32_t segments)
{
	uint32_t n = pool->map.n, granted;

	while (n > segments && pool->map.use[n - 1] == UMBRA_SEGMENT_FREE)
		n--;
	if (segments > n)
		n = segments;
	if (umbra_pool_resize(pool, n, NULL) < 0)
		dm_world_wrong(w, "the pool cannot have that size");
	if (umbra_pool_live(pool))
		umbra_pool_grant(pool, umbra_pool_live(pool)->number, UMBRA_SEGMENTS_MAX, &granted,
				 NULL);
	dm_world_write_pool(w, pool);
	if (umbra_pool_live(w->pool))
		dm_world_extend_table(w, umbra_pool_live(w->pool)->number);
}

void dm_world_resize(struct dm_world *w, uint32_t segments)
{
	const bool shorter = segments < w->pool->map.n;
	struct umbra_pool *pool;

	dm_world_settle(w);
	if (shorter)
		take_unused(w);
	pool = dm_world_dup_pool(w);
	if (shorter)
		move_tail(w, pool, segments);
	if (w->dead) {
		umbra_pool_free(pool);
		return;
	}
	set_segments(w, pool, segments);
	dm_world_settle(w);
	w->resized++;
}
