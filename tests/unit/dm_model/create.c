/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>

#include "parts.h"

static struct umbra_id new_id(struct dm_world *w)
{
	struct umbra_id id;

	snprintf(id.s, sizeof(id.s), "%08x-89ab-4def-8123-456789abcdef", ++w->n_remembered);
	w->remembered = realloc(w->remembered, w->n_remembered * sizeof(*w->remembered));
	w->remembered[w->n_remembered - 1] = (struct dm_remembered){
		.id = id,
		.content = calloc(w->origin_chunks, sizeof(uint64_t)),
	};
	return id;
}

static void zero_beginning(struct dm_world *w, const struct umbra_pool_store *store)
{
	static const unsigned char zero[CHUNK];
	uint64_t at, i;

	if (w->fault == DM_FAULT_OLD_BLOCKS)
		return;
	for (i = 0; i < 2; i++) {
		umbra_pool_chunk_at(w->pool, store, i, &at);
		if (dm_world_act(w))
			dm_disk_write(w->area, at - dm_world_first(w), zero, CHUNK);
	}
	if (dm_world_act(w))
		dm_disk_flush(w->area);
}

/* Everything before the hold. false: there is no room. */
static bool prepare(struct dm_world *w, const struct umbra_id *id)
{
	const uint32_t keep = dm_world_wall_off(w, dm_world_keep_for(w));
	struct umbra_pool *pool = dm_world_dup_pool(w);

	if (umbra_pool_prepare(pool, id, keep, NULL) < 0) {
		umbra_pool_free(pool);
		if (umbra_pool_live(w->pool))
			dm_world_extend_table(w, umbra_pool_live(w->pool)->number);
		return false;
	}
	zero_beginning(w, umbra_pool_live(pool));
	if (w->fault == DM_FAULT_PREPARE_NOT_DURABLE) {
		umbra_pool_free(w->pool);
		w->pool = pool;
	} else {
		dm_world_write_pool(w, pool);
	}
	if (dm_world_act(w))
		dm_world_load(w, umbra_pool_live(w->pool));
	return true;
}

static void hold_and_commit(struct dm_world *w, const struct umbra_id *id)
{
	struct dm_in_kernel *k = dm_world_in_kernel(w, umbra_pool_live(w->pool)->number);

	if (dm_world_act(w))
		dm_disk_flush(w->origin); /* syncfs */
	w->held = true;
	if (dm_world_act(w)) {
		dm_disk_flush(w->origin);
		k->resumed = true;
		memcpy(w->remembered[w->n_remembered - 1].content, w->origin->now,
		       w->origin_chunks * sizeof(uint64_t));
	}
	w->held = false;
	(void)id;
}

struct umbra_pool_store *dm_world_unsealed_old(struct umbra_pool *pool)
{
	struct umbra_pool_store *s = pool->n_stores > 1 ? &pool->stores[pool->n_stores - 2] : NULL;

	return s && !s->sealed ? s : NULL;
}

void dm_world_seal_old(struct dm_world *w, struct umbra_pool *pool)
{
	_cleanup_exceptions_ struct umbra_exceptions list = {0};
	const struct umbra_pool_store *old = dm_world_unsealed_old(w->pool);
	struct dm_in_kernel *k;
	struct umbra_error err;
	uint64_t used;

	if (!old)
		return;
	if (dm_world_act(w))
		dm_world_rebase(w, old, umbra_pool_live(w->pool)->number);
	k = dm_world_in_kernel(w, old->number);
	if (k && dm_world_act(w))
		dm_world_unload(k);
	if (!dm_world_act(w))
		return;
	dm_world_read_store(w, old, &list, &used);
	if (w->fault == DM_FAULT_SEAL_SHORT && used > DM_WORLD_SEGMENT)
		used -= DM_WORLD_SEGMENT;
	if (umbra_pool_seal(pool, old->number, used, &err) < 0)
		dm_world_wrong(w, "%s", err.text);
}

/* After the instant: one write of the superblock for all of it, or two. */
static void finish(struct dm_world *w, const struct umbra_id *id, enum dm_outcome outcome)
{
	struct umbra_pool *pool = dm_world_dup_pool(w);
	uint32_t granted;

	if (outcome == DM_SUCCEED)
		umbra_pool_commit(pool, id, NULL);
	else
		umbra_pool_hide(pool, id, NULL);
	if (dm_world_random(w, 2)) {
		dm_world_write_pool(w, pool);
		pool = dm_world_dup_pool(w);
	}
	dm_world_seal_old(w, pool);
	if (w->dead) {
		umbra_pool_free(pool);
		return;
	}
	umbra_pool_grant(pool, umbra_pool_live(pool)->number, UMBRA_SEGMENTS_MAX, &granted, NULL);
	dm_world_write_pool(w, pool);
	dm_world_extend_table(w, umbra_pool_live(w->pool)->number);
	dm_world_settle(w);
	w->remembered[w->n_remembered - 1].made = !w->dead && outcome == DM_SUCCEED;
}

void dm_world_take_back(struct dm_world *w, const struct umbra_id *id)
{
	struct dm_in_kernel *k = dm_world_in_kernel(w, umbra_pool_live(w->pool)->number);
	struct umbra_pool *pool;
	struct umbra_error err;

	if (k && dm_world_act(w))
		dm_world_unload(k);
	pool = dm_world_dup_pool(w);
	if (umbra_pool_discard(pool, id, &err) < 0)
		dm_world_wrong(w, "%s", err.text);
	dm_world_write_pool(w, pool);
	dm_world_grant(w, UMBRA_SEGMENTS_MAX);
}

void dm_world_create(struct dm_world *w, enum dm_outcome outcome)
{
	struct umbra_id id;

	if (umbra_pool_live(w->pool) && umbra_pool_live(w->pool)->segments.n < 8)
		dm_world_monitor(w);
	if (w->dead)
		return;
	id = new_id(w);
	if (!prepare(w, &id) || w->dead)
		return;
	if (outcome != DM_FAIL_BEFORE)
		hold_and_commit(w, &id);
	if (w->dead)
		return;
	if (outcome == DM_FAIL_BEFORE ||
	    (outcome == DM_FAIL_AFTER && w->fault == DM_FAULT_DISCARD_LIVE))
		dm_world_take_back(w, &id);
	else
		finish(w, &id, outcome);
}
