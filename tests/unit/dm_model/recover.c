/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The next start: what a kill or the end of the power left is put right. */
#include "parts.h"

/* The kernel forgot everything: only the newest store is activated. */
static void activate(struct dm_world *w)
{
	if (umbra_pool_live(w->pool)) {
		dm_world_load(w, umbra_pool_live(w->pool));
		w->kernel[0].resumed = true;
	}
	w->mounted = true;
}

static void hide_or_discard(struct dm_world *w)
{
	const struct umbra_pool_copy *newest = w->pool->copies + w->pool->n_copies - 1;
	const struct umbra_pool_store *live = umbra_pool_live(w->pool);
	struct dm_in_kernel *k;
	struct umbra_pool *pool;
	struct umbra_id id;

	if (w->pool->n_copies == 0 || newest->state != UMBRA_POOL_PREPARED)
		return;
	id = newest->id;
	k = dm_world_in_kernel(w, live->number);
	if (!k || !k->resumed || w->fault == DM_FAULT_DISCARD_LIVE) {
		dm_world_take_back(w, &id);
		return;
	}
	pool = dm_world_dup_pool(w);
	umbra_pool_hide(pool, &id, NULL);
	dm_world_write_pool(w, pool);
}

void dm_world_recover(struct dm_world *w)
{
	struct umbra_pool *pool;
	uint32_t i;

	w->crashes++;
	w->held = false;
	for (i = 0; i < DM_WORLD_VIEWS; i++)
		dm_world_close(w, &w->views[i]);
	if (w->crash == DM_POWER) {
		w->mounted = false;
		while (w->kernel[0].number)
			dm_world_unload(&w->kernel[0]);
		dm_disk_cut(w->origin, &w->seed);
		dm_disk_cut(w->area, &w->seed);
		dm_disk_cut(w->slot[0], &w->seed);
		dm_disk_cut(w->slot[1], &w->seed);
	} else {
		dm_world_write(w, 3); /* while nobody is there */
	}
	w->dead = false;
	dm_world_load_pool(w);
	if (!w->dead)
		dm_world_unload_strangers(w);
	if (!w->mounted && !w->dead)
		activate(w);
	if (!w->dead)
		hide_or_discard(w);
	if (!w->dead && dm_world_unsealed_old(w->pool)) {
		pool = dm_world_dup_pool(w);
		dm_world_seal_old(w, pool);
		if (w->dead)
			umbra_pool_free(pool);
		else
			dm_world_write_pool(w, pool);
	}
	if (!w->dead)
		dm_world_settle(w);
	if (!w->dead)
		dm_world_slide_out(w);
	if (!w->dead && umbra_pool_live(w->pool)) {
		dm_world_extend_table(w, umbra_pool_live(w->pool)->number);
		dm_world_grant(w, UMBRA_SEGMENTS_MAX);
	}
}
