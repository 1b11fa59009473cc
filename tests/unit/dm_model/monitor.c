/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "parts.h"

static bool low(struct dm_world *w)
{
	const struct umbra_pool_store *live = umbra_pool_live(w->pool);
	const struct dm_in_kernel *k = live ? dm_world_in_kernel(w, live->number) : NULL;

	return k && k->snap->next_free + 32 > (uint64_t)live->segments.n * DM_WORLD_SEGMENT;
}

/* As long as there is little room: what is free, else what the oldest copy has. */
void dm_world_monitor(struct dm_world *w)
{
	uint32_t i;

	while (!w->dead && low(w)) {
		dm_world_settle(w);
		if (umbra_pool_free_segments(w->pool) > 0) {
			dm_world_grant(w, UMBRA_SEGMENTS_MAX);
			continue;
		}
		for (i = 0; i < DM_WORLD_VIEWS; i++)
			dm_world_close(w, &w->views[i]);
		dm_world_settle(w);
		if (umbra_pool_free_segments(w->pool) > 0)
			continue;
		if (w->pool->n_copies < 2)
			return;
		w->dropped++;
		dm_world_remove(w, 0);
	}
}
