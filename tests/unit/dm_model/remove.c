/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>

#include "parts.h"

static struct dm_remembered *find(struct dm_world *w, const struct umbra_id *id)
{
	uint32_t i;

	for (i = 0; i < w->n_remembered; i++) {
		if (strcmp(w->remembered[i].id.s, id->s) == 0)
			return &w->remembered[i];
	}
	abort();
}

void dm_world_slide_out(struct dm_world *w)
{
	struct umbra_pool *pool;
	uint32_t i;

	if (umbra_pool_needed(w->pool) || !umbra_pool_live(w->pool))
		return;
	for (i = 0; i < DM_WORLD_VIEWS; i++)
		dm_world_close(w, &w->views[i]);
	while (w->kernel[0].number && dm_world_act(w))
		dm_world_unload(&w->kernel[0]);
	pool = dm_world_dup_pool(w);
	if (umbra_pool_clear(pool, NULL) < 0)
		dm_world_wrong(w, "the pool cannot be cleared");
	dm_world_write_pool(w, pool);
	dm_world_settle(w);
}

/* DM_FAULT_REMOVE_NEWEST: its store goes and the one before is fed again. */
static void remove_newest(struct dm_world *w, struct umbra_pool *pool)
{
	struct umbra_pool_copy *newest = &pool->copies[pool->n_copies - 1];

	newest->state = UMBRA_POOL_PREPARED;
	umbra_pool_discard(pool, &newest->id, NULL);
	if (!umbra_pool_live(pool))
		return;
	umbra_pool_live(pool)->sealed = false;
	pool->copies[pool->n_copies - 1].n_stores = 1;
	while (w->kernel[0].number)
		dm_world_unload(&w->kernel[0]);
	dm_world_load(w, umbra_pool_live(pool));
	w->kernel[0].resumed = true;
}

void dm_world_remove(struct dm_world *w, uint32_t copy)
{
	const struct umbra_id id = w->pool->copies[copy].id;
	struct umbra_pool *pool = dm_world_dup_pool(w);
	struct umbra_error err;
	uint32_t i;

	find(w, &id)->deleted = true;
	if (w->fault == DM_FAULT_REMOVE_NEWEST && copy > 0 && copy + 1 == pool->n_copies &&
	    pool->copies[copy - 1].n_stores == 1)
		remove_newest(w, pool);
	else if (umbra_pool_remove(pool, &id, &err) < 0)
		dm_world_wrong(w, "%s", err.text);
	if (w->fault == DM_FAULT_SETTLE_NOT_DURABLE) {
		pool->changed = false;
		umbra_pool_settle(pool, NULL);
	}
	if (w->fault == DM_FAULT_SETTLE_NOT_DURABLE && pool->n_copies > 1) {
		umbra_pool_free(w->pool);
		w->pool = pool;
	} else {
		dm_world_write_pool(w, pool);
	}
	for (i = 0; i < DM_WORLD_VIEWS; i++) {
		if (strcmp(w->views[i].id.s, id.s) == 0 && dm_world_random(w, 2))
			dm_world_close(w, &w->views[i]);
	}
	dm_world_settle(w);
	dm_world_slide_out(w);
}

void dm_world_unload_strangers(struct dm_world *w)
{
	uint32_t i;

	for (i = 2; i-- > 0;) {
		if (w->kernel[i].number && dm_world_act(w) &&
		    umbra_pool_find_store(w->pool, w->kernel[i].number) == w->pool->n_stores)
			dm_world_unload(&w->kernel[i]);
	}
}

void dm_world_lose(struct dm_world *w, uint32_t copy)
{
	struct umbra_pool *pool = dm_world_dup_pool(w);
	const struct umbra_id id = pool->copies[copy].id;
	uint32_t i;

	for (i = 0; i <= copy; i++)
		find(w, &pool->copies[i].id)->deleted = true;
	for (i = 0; i < DM_WORLD_VIEWS; i++)
		dm_world_close(w, &w->views[i]);
	if (umbra_pool_lose(pool, copy + 1 < pool->n_copies ? &id : NULL, NULL) < 0)
		dm_world_wrong(w, "copies cannot be lost");
	w->lost += copy + 1;
	dm_world_write_pool(w, pool);
	dm_world_unload_strangers(w);
	dm_world_settle(w);
	dm_world_slide_out(w);
}
