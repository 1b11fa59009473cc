/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Segments given and taken, copies deleted and lost. */
#include "snapshot/provider/dm/pool/pool_parts.h"

#include <string.h>

int umbra_pool_grant(struct umbra_pool *pool, uint64_t store, uint32_t n, uint32_t *granted,
		     struct umbra_error *err)
{
	const uint32_t available = umbra_pool_free_segments(pool);
	struct umbra_pool_store *s;
	uint32_t i;
	int r;

	r = umbra_pool_need_store(pool, store, &i, err);
	if (r < 0)
		return r;
	s = &pool->stores[i];
	if (s->sealed || n == 0)
		return umbra_pool_misuse(err, "segments are for stores that are not sealed");
	if (available == 0)
		return umbra_fail(err, UMBRA_E_NO_SPACE, ENOSPC, "the diff area is full");
	n = n < available ? n : available;
	if (umbra_segments_reserve(&s->segments, n) < 0)
		return umbra_oom(err);
	umbra_segment_map_take(&pool->map, n, UMBRA_SEGMENT_OWNED, &s->segments);
	pool->changed = true;
	*granted = n;
	return 0;
}

int umbra_pool_shrink(struct umbra_pool *pool, uint32_t keep, struct umbra_error *err)
{
	struct umbra_pool_store *live = umbra_pool_live(pool);

	if (!live || keep == 0 || keep > live->segments.n)
		return umbra_pool_misuse(err, "the live store cannot keep that many segments");
	umbra_segment_map_give(&pool->map, &live->segments, keep, UMBRA_SEGMENT_FREE);
	pool->changed = true;
	return 0;
}

uint32_t umbra_pool_settle(struct umbra_pool *pool, const bool *mapped)
{
	uint32_t i, n = 0;

	if (pool->changed)
		return 0;
	for (i = 0; i < pool->map.n; i++) {
		if (pool->map.use[i] != UMBRA_SEGMENT_PENDING || (mapped && mapped[i]))
			continue;
		pool->map.use[i] = UMBRA_SEGMENT_FREE;
		n++;
	}
	return n;
}

int umbra_pool_move(struct umbra_pool *pool, uint32_t segment, uint32_t to, struct umbra_error *err)
{
	const uint32_t owner = umbra_pool_store_of(pool, segment);
	struct umbra_segments *list;
	uint32_t i;

	if (to >= pool->map.n || pool->map.use[to] != UMBRA_SEGMENT_FREE)
		return umbra_pool_misuse(err, "a segment goes where one is free");
	if (owner == pool->n_stores || !pool->stores[owner].sealed)
		return umbra_fail(err, UMBRA_E_BUSY, EBUSY,
				  "a segment of the diff area is being written");
	list = &pool->stores[owner].segments;
	for (i = 0; list->at[i] != segment;)
		i++;
	list->at[i] = to;
	pool->map.use[to] = UMBRA_SEGMENT_OWNED;
	pool->map.use[segment] = UMBRA_SEGMENT_PENDING;
	pool->changed = true;
	return 0;
}

int umbra_pool_resize(struct umbra_pool *pool, uint32_t segments, struct umbra_error *err)
{
	uint8_t *use;
	uint32_t i;

	if (segments > UMBRA_SEGMENTS_MAX)
		return umbra_fail(err, UMBRA_E_UNSUPPORTED, EFBIG,
				  "this diff area can have %u segments, not %u: remove it and make "
				  "a larger one",
				  UMBRA_SEGMENTS_MAX, segments);
	for (i = segments; i < pool->map.n; i++) {
		if (pool->map.use[i] != UMBRA_SEGMENT_FREE)
			return umbra_fail(err, UMBRA_E_BUSY, EBUSY,
					  "the end of the diff area is in use");
	}
	use = realloc(pool->map.use, segments ? segments : 1);
	if (!use)
		return umbra_oom(err);
	for (i = pool->map.n; i < segments; i++)
		use[i] = UMBRA_SEGMENT_FREE;
	pool->map.use = use;
	pool->map.n = pool->geometry.segments = segments;
	pool->changed = true;
	return 0;
}

int umbra_pool_revert(struct umbra_pool *pool, const struct umbra_id *id, struct umbra_error *err)
{
	uint32_t i, to = pool->n_copies;
	int r = id ? umbra_pool_need(pool, id, &to, err) : 0;

	if (r < 0)
		return r;
	if (id && pool->copies[to].state != UMBRA_POOL_KEPT)
		return umbra_pool_misuse(err,
					 "a volume can only be reverted to a copy that is kept");
	for (i = 0; i < pool->n_copies; i++)
		pool->copies[i].reverting = i == to;
	pool->changed = true;
	return 0;
}

int umbra_pool_remove(struct umbra_pool *pool, const struct umbra_id *id, struct umbra_error *err)
{
	uint32_t i;
	int r;

	r = umbra_pool_need(pool, id, &i, err);
	if (r < 0)
		return r;
	if (pool->copies[i].state == UMBRA_POOL_HIDDEN)
		return 0;
	if (pool->copies[i].state != UMBRA_POOL_LOST) {
		if (pool->copies[i].reverting)
			return umbra_fail(
				err, UMBRA_E_BUSY, EBUSY,
				"its volume is reverted to shadow copy '%s', and not done "
				"yet: 'umbra revert' goes on with it",
				id->s);
		r = umbra_pool_need_finished(pool, err);
		if (r < 0)
			return r;
		if (&pool->copies[i] == umbra_pool_newest(pool))
			return umbra_pool_hide(pool, id, err);
	}
	if (i > umbra_pool_oldest(pool)) {
		umbra_pool_merge_back(pool, i);
	} else {
		umbra_pool_drop_stores_of(pool, i);
		umbra_pool_forget(pool, i);
	}
	pool->changed = true;
	return 0;
}

int umbra_pool_lose(struct umbra_pool *pool, const struct umbra_id *id, struct umbra_error *err)
{
	uint32_t i = pool->n_copies;
	int r;

	if (id) {
		r = umbra_pool_need(pool, id, &i, err);
		if (r < 0)
			return r;
		i++;
	}
	while (i > 0) {
		umbra_pool_drop_stores_of(pool, --i);
		if (pool->copies[i].state == UMBRA_POOL_HIDDEN)
			umbra_pool_forget(pool, i);
		else
			pool->copies[i].state = UMBRA_POOL_LOST;
	}
	pool->changed = true;
	return 0;
}

int umbra_pool_clear(struct umbra_pool *pool, struct umbra_error *err)
{
	struct umbra_pool_copy *newest = umbra_pool_newest(pool);

	if (umbra_pool_needed(pool))
		return umbra_pool_misuse(err, "there are still shadow copies in it");
	return newest ? umbra_pool_lose(pool, &newest->id, err) : 0;
}

int umbra_pool_reserve(struct umbra_pool *pool, uint32_t n, struct umbra_segments *out,
		       struct umbra_error *err)
{
	if (umbra_pool_free_segments(pool) < n)
		return umbra_fail(err, UMBRA_E_NO_SPACE, ENOSPC,
				  "the diff area has not enough free space to be compacted");
	if (umbra_segments_reserve(out, n) < 0)
		return umbra_oom(err);
	umbra_segment_map_take(&pool->map, n, UMBRA_SEGMENT_RESERVED, out);
	return 0;
}

void umbra_pool_unreserve(struct umbra_pool *pool, struct umbra_segments *segments)
{
	umbra_segment_map_give(&pool->map, segments, 0, UMBRA_SEGMENT_FREE);
	umbra_segments_finish(segments);
}

static int check_drop(const struct umbra_pool *pool, uint32_t copy, const uint64_t *drop,
		      uint32_t n_drop, struct umbra_error *err)
{
	uint32_t i, j, s;
	int r;

	for (i = 0; i < n_drop; i++) {
		for (j = 0; j < i; j++) {
			if (drop[j] == drop[i])
				return umbra_pool_misuse(err, "a store is replaced once");
		}
		r = umbra_pool_need_store(pool, drop[i], &s, err);
		if (r < 0)
			return r;
		if (umbra_pool_owner(pool, s) != copy || !pool->stores[s].sealed)
			return umbra_pool_misuse(err,
						 "only sealed stores of one copy are replaced");
	}
	return 0;
}

static int check_replace(const struct umbra_pool *pool, const struct umbra_segments *segments,
			 uint64_t used, struct umbra_error *err)
{
	const uint64_t size = pool->geometry.segment_chunks;
	uint32_t i;

	if (used > size * segments->n || segments->n != (used + size - 1) / size)
		return umbra_pool_misuse(err, "a new store has just the segments that it uses");
	for (i = 0; i < segments->n; i++) {
		if (pool->map.use[segments->at[i]] != UMBRA_SEGMENT_RESERVED)
			return umbra_pool_misuse(err, "a new store lies in reserved segments");
	}
	if (used > 0 && pool->n_stores >= UMBRA_POOL_STORES_MAX)
		return umbra_fail(err, UMBRA_E_NO_SPACE, ENOSPC,
				  "the diff area has too many exception stores");
	return 0;
}

static void put_first(struct umbra_pool *pool, uint32_t copy, struct umbra_segments *segments,
		      uint64_t used)
{
	struct umbra_pool_store *s;
	uint32_t i;

	s = umbra_pool_put_store(pool, umbra_pool_first_store(pool, copy));
	s->sealed = true;
	s->used = used;
	s->segments = *segments;
	*segments = (struct umbra_segments){0};
	for (i = 0; i < s->segments.n; i++)
		pool->map.use[s->segments.at[i]] = UMBRA_SEGMENT_OWNED;
	pool->copies[copy].n_stores++;
}

int umbra_pool_replace(struct umbra_pool *pool, const struct umbra_id *id,
		       struct umbra_segments *segments, uint64_t used, const uint64_t *drop,
		       uint32_t n_drop, struct umbra_error *err)
{
	uint32_t copy, i;
	int r;

	r = umbra_pool_need(pool, id, &copy, err);
	if (r == 0)
		r = check_drop(pool, copy, drop, n_drop, err);
	if (r == 0)
		r = check_replace(pool, segments, used, err);
	if (r < 0)
		return r;
	if (umbra_pool_make_room(pool) < 0)
		return umbra_oom(err);
	for (i = 0; i < n_drop; i++) {
		umbra_pool_drop_store(pool, umbra_pool_find_store(pool, drop[i]),
				      UMBRA_SEGMENT_PENDING);
		pool->copies[copy].n_stores--;
	}
	if (used > 0)
		put_first(pool, copy, segments, used);
	pool->changed = true;
	return 0;
}
