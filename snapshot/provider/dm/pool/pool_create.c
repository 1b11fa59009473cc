/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A creation's steps in the pool. */
#include "snapshot/provider/dm/pool/pool_parts.h"
#include "snapshot/set.h"

uint32_t umbra_pool_keep(const struct umbra_pool *pool, uint64_t used, uint64_t margin)
{
	const struct umbra_pool_store *live = umbra_pool_live(pool);
	const uint32_t size = pool->geometry.segment_chunks;
	uint64_t need;

	if (!live)
		return 0;
	need = used / size + margin / size + (used % size + margin % size + size - 1) / size;
	if (need >= live->segments.n)
		return live->segments.n;
	if (need == 0)
		need = 1;
	return (uint32_t)need + (live->segments.n - (uint32_t)need) / 2;
}

static uint32_t free_record(const struct umbra_pool *pool)
{
	bool taken[UMBRA_POOL_COPIES_MAX] = {false};
	uint32_t i;

	for (i = 0; i < pool->n_copies; i++)
		taken[pool->copies[i].record] = true;
	for (i = 0; taken[i];)
		i++;
	return i;
}

static int check_limits(const struct umbra_pool *pool, struct umbra_error *err)
{
	uint32_t visible = umbra_pool_count(pool, UMBRA_POOL_KEPT);

	if (visible >= UMBRA_VOLUME_SHADOWS_MAX)
		return umbra_fail(err, UMBRA_E_NO_SPACE, EMLINK,
				  "the volume has %u shadow copies, which is the most: delete one",
				  visible);
	if (pool->n_copies >= UMBRA_POOL_COPIES_MAX)
		return umbra_fail(err, UMBRA_E_NO_SPACE, EMLINK,
				  "the diff area lists %u shadow copies, which is the most: delete "
				  "those that are lost",
				  pool->n_copies);
	if (pool->n_stores >= UMBRA_POOL_STORES_MAX)
		return umbra_fail(
			err, UMBRA_E_NO_SPACE, ENOSPC,
			"the diff area has %u exception stores, which is the most: it has "
			"to be compacted, or the oldest shadow copies deleted",
			pool->n_stores);
	return 0;
}

static int check_prepare(const struct umbra_pool *pool, const struct umbra_id *id, uint32_t keep,
			 struct umbra_error *err)
{
	const struct umbra_pool_store *live = umbra_pool_live(pool);
	int r;

	r = umbra_pool_need_finished(pool, err);
	if (r < 0)
		return r;
	if (!umbra_id_valid(id->s))
		return umbra_pool_misuse(err, "not the id of a shadow copy");
	if (umbra_pool_find(pool, id) < pool->n_copies)
		return umbra_fail(err, UMBRA_E_EXISTS, EEXIST,
				  "the diff area has a shadow copy %s already", id->s);
	if (live ? keep == 0 || keep > live->segments.n : keep != 0)
		return umbra_pool_misuse(err, "the live store cannot keep that many segments");
	if (umbra_pool_free_segments(pool) + (live ? live->segments.n - keep : 0) == 0)
		return umbra_fail(
			err, UMBRA_E_NO_SPACE, ENOSPC,
			"the diff area has no space for another shadow copy: delete some, "
			"or make it larger");
	return check_limits(pool, err);
}

int umbra_pool_prepare(struct umbra_pool *pool, const struct umbra_id *id, uint32_t keep,
		       struct umbra_error *err)
{
	_cleanup_segments_ struct umbra_segments segments = {0};
	struct umbra_pool_store *live;
	uint32_t n;
	int r;

	r = check_prepare(pool, id, keep, err);
	if (r < 0)
		return r;
	live = umbra_pool_live(pool);
	n = umbra_pool_free_segments(pool) + (live ? live->segments.n - keep : 0);
	if (umbra_segments_reserve(&segments, n) < 0 || umbra_pool_make_room(pool) < 0)
		return umbra_oom(err);
	live = umbra_pool_live(pool);
	if (live)
		umbra_segment_map_give(&pool->map, &live->segments, keep, UMBRA_SEGMENT_FREE);
	umbra_segment_map_take(&pool->map, n, UMBRA_SEGMENT_OWNED, &segments);
	umbra_pool_put_store(pool, pool->n_stores)->segments = segments;
	segments = (struct umbra_segments){0};
	pool->copies[pool->n_copies] = (struct umbra_pool_copy){
		.id = *id,
		.state = UMBRA_POOL_PREPARED,
		.record = free_record(pool),
		.n_stores = 1,
	};
	pool->n_copies++;
	pool->changed = true;
	return 0;
}

static int need_prepared(const struct umbra_pool *pool, const struct umbra_id *id, uint32_t *i,
			 struct umbra_error *err)
{
	int r = umbra_pool_need(pool, id, i, err);

	if (r == 0 && pool->copies[*i].state != UMBRA_POOL_PREPARED)
		return umbra_pool_misuse(err, "the copy is not prepared");
	return r;
}

int umbra_pool_discard(struct umbra_pool *pool, const struct umbra_id *id, struct umbra_error *err)
{
	uint32_t i;
	int r;

	r = need_prepared(pool, id, &i, err);
	if (r < 0)
		return r;
	umbra_pool_drop_store(pool, pool->n_stores - 1, UMBRA_SEGMENT_FREE);
	umbra_pool_forget(pool, i);
	pool->changed = true;
	return 0;
}

int umbra_pool_commit(struct umbra_pool *pool, const struct umbra_id *id, struct umbra_error *err)
{
	uint32_t i;
	int r;

	r = need_prepared(pool, id, &i, err);
	if (r < 0)
		return r;
	pool->copies[i].state = UMBRA_POOL_KEPT;
	pool->changed = true;
	return 0;
}

int umbra_pool_hide(struct umbra_pool *pool, const struct umbra_id *id, struct umbra_error *err)
{
	uint32_t i;
	int r;

	r = umbra_pool_need(pool, id, &i, err);
	if (r < 0)
		return r;
	if (&pool->copies[i] != umbra_pool_newest(pool))
		return umbra_pool_misuse(err, "only the newest copy can be hidden");
	pool->copies[i].state = UMBRA_POOL_HIDDEN;
	pool->changed = true;
	return 0;
}

/* A sealed store's hidden copy: what it has serves the next older one only. */
static void dissolve(struct umbra_pool *pool, uint32_t copy)
{
	if (copy > umbra_pool_oldest(pool)) {
		umbra_pool_merge_back(pool, copy);
		return;
	}
	umbra_pool_drop_stores_of(pool, copy);
	umbra_pool_forget(pool, copy);
}

int umbra_pool_seal(struct umbra_pool *pool, uint64_t store, uint64_t used, struct umbra_error *err)
{
	const uint32_t size = pool->geometry.segment_chunks;
	struct umbra_pool_store *s;
	uint32_t i, owner;
	int r;

	r = umbra_pool_need_store(pool, store, &i, err);
	if (r < 0)
		return r;
	s = &pool->stores[i];
	if (s->sealed || s == umbra_pool_live(pool))
		return umbra_pool_misuse(err, "this store is live, or sealed already");
	if (used > (uint64_t)s->segments.n * size)
		return umbra_pool_misuse(err, "a store cannot use more than it has");
	owner = umbra_pool_owner(pool, i);
	if (used > 0) {
		s->sealed = true;
		s->used = used;
		umbra_segment_map_give(&pool->map, &s->segments, (uint32_t)((used - 1) / size + 1),
				       UMBRA_SEGMENT_FREE);
	} else {
		umbra_pool_drop_store(pool, i, UMBRA_SEGMENT_FREE);
		pool->copies[owner].n_stores--;
	}
	if (pool->copies[owner].state == UMBRA_POOL_HIDDEN)
		dissolve(pool, owner);
	pool->changed = true;
	return 0;
}
