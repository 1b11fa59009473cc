/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Segments: who has them, and where the live store's device ends. */
#include "parts.h"

#define MARGIN 24U /* chunks that the live store may use up meanwhile */

void dm_world_settle(struct dm_world *w)
{
	_cleanup_free_ bool *mapped = calloc(w->pool->map.n, sizeof(*mapped));
	uint32_t i;

	for (i = 0; i < DM_WORLD_VIEWS; i++) {
		if (w->views[i].id.s[0] && w->fault != DM_FAULT_SETTLE_UNDER_VIEWS)
			umbra_dm_view_mark(&w->views[i].layout, mapped);
	}
	umbra_pool_settle(w->pool, mapped);
}

void dm_world_extend_table(struct dm_world *w, uint64_t number)
{
	struct dm_in_kernel *k = dm_world_in_kernel(w, number);
	const uint32_t i = umbra_pool_find_store(w->pool, number);

	if (k && i < w->pool->n_stores && dm_world_act(w))
		dm_world_set_table(k, &w->pool->stores[i].segments, w->pool->stores[i].segments.n);
}

void dm_world_grant(struct dm_world *w, uint32_t n)
{
	struct umbra_pool *pool = dm_world_dup_pool(w);
	const struct umbra_pool_store *live = umbra_pool_live(pool);
	struct dm_in_kernel *k;
	uint32_t granted;

	if (!live || umbra_pool_grant(pool, live->number, n, &granted, NULL) < 0) {
		umbra_pool_free(pool);
		return;
	}
	k = dm_world_in_kernel(w, live->number);
	if (w->fault == DM_FAULT_GRANT_NOT_DURABLE && k && dm_world_act(w))
		dm_world_set_table(k, &live->segments, live->segments.n);
	dm_world_write_pool(w, pool);
	dm_world_extend_table(w, umbra_pool_live(w->pool)->number);
}

uint32_t dm_world_wall_off(struct dm_world *w, uint32_t keep)
{
	const struct umbra_pool_store *live = umbra_pool_live(w->pool);
	struct dm_in_kernel *k = live ? dm_world_in_kernel(w, live->number) : NULL;
	uint32_t in_use;

	if (!k || !dm_world_act(w))
		return keep;
	in_use = (uint32_t)((k->snap->next_free + DM_WORLD_SEGMENT) / DM_WORLD_SEGMENT);
	keep = keep > in_use ? keep : in_use;
	keep = keep < live->segments.n ? keep : live->segments.n;
	dm_world_set_table(k, &live->segments, keep);
	return keep;
}

uint32_t dm_world_keep_for(const struct dm_world *w)
{
	const struct umbra_pool_store *live = umbra_pool_live(w->pool);
	const struct dm_in_kernel *k;

	if (!live)
		return 0;
	k = dm_world_in_kernel((struct dm_world *)w, live->number);
	return umbra_pool_keep(w->pool, k ? k->snap->next_free : 0, MARGIN);
}
