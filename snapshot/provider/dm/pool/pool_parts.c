/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/provider/dm/pool/pool_parts.h"

#include <string.h>

uint32_t umbra_pool_oldest(const struct umbra_pool *pool)
{
	uint32_t i = 0;

	while (i < pool->n_copies && pool->copies[i].state == UMBRA_POOL_LOST)
		i++;
	return i;
}

struct umbra_pool_copy *umbra_pool_newest(const struct umbra_pool *pool)
{
	if (umbra_pool_oldest(pool) == pool->n_copies)
		return NULL;
	return &pool->copies[pool->n_copies - 1];
}

int umbra_pool_need(const struct umbra_pool *pool, const struct umbra_id *id, uint32_t *i,
		    struct umbra_error *err)
{
	*i = umbra_pool_find(pool, id);
	if (*i == pool->n_copies)
		return umbra_fail(err, UMBRA_E_NOT_FOUND, ENOENT,
				  "the diff area has no shadow copy %s", id->s);
	return 0;
}

int umbra_pool_need_store(const struct umbra_pool *pool, uint64_t number, uint32_t *i,
			  struct umbra_error *err)
{
	*i = umbra_pool_find_store(pool, number);
	if (*i == pool->n_stores)
		return umbra_fail(err, UMBRA_E_NOT_FOUND, ENOENT,
				  "the diff area has no exception store %llu",
				  (unsigned long long)number);
	return 0;
}

int umbra_pool_need_finished(const struct umbra_pool *pool, struct umbra_error *err)
{
	if (umbra_pool_unfinished(pool))
		return umbra_fail(
			err, UMBRA_E_BUSY, EBUSY,
			"a shadow copy of this volume is being made, or was not finished");
	return 0;
}

int umbra_pool_misuse(struct umbra_error *err, const char *what)
{
	return umbra_fail(err, UMBRA_E_INTERNAL, EINVAL, "the pool of a diff area: %s", what);
}

int umbra_pool_make_room(struct umbra_pool *pool)
{
	const uint32_t room = pool->stores_room * 2 + 8;
	struct umbra_pool_store *stores;

	if (pool->n_stores < pool->stores_room)
		return 0;
	stores = reallocarray(pool->stores, room, sizeof(*stores));
	if (!stores)
		return -ENOMEM;
	pool->stores = stores;
	pool->stores_room = room;
	return 0;
}

struct umbra_pool_store *umbra_pool_put_store(struct umbra_pool *pool, uint32_t at)
{
	struct umbra_pool_store *s = &pool->stores[at];

	memmove(s + 1, s, (pool->n_stores - at) * sizeof(*s));
	pool->n_stores++;
	*s = (struct umbra_pool_store){.number = pool->next_store++};
	return s;
}

void umbra_pool_drop_store(struct umbra_pool *pool, uint32_t at, enum umbra_segment_use use)
{
	struct umbra_pool_store *s = &pool->stores[at];

	umbra_segment_map_give(&pool->map, &s->segments, 0, use);
	umbra_segments_finish(&s->segments);
	pool->n_stores--;
	memmove(s, s + 1, (pool->n_stores - at) * sizeof(*s));
}

void umbra_pool_drop_stores_of(struct umbra_pool *pool, uint32_t copy)
{
	const uint32_t first = umbra_pool_first_store(pool, copy);

	for (; pool->copies[copy].n_stores > 0; pool->copies[copy].n_stores--)
		umbra_pool_drop_store(pool, first, UMBRA_SEGMENT_PENDING);
}

void umbra_pool_forget(struct umbra_pool *pool, uint32_t copy)
{
	struct umbra_pool_copy *c = &pool->copies[copy];

	pool->n_copies--;
	memmove(c, c + 1, (pool->n_copies - copy) * sizeof(*c));
}

void umbra_pool_merge_back(struct umbra_pool *pool, uint32_t copy)
{
	pool->copies[copy - 1].n_stores += pool->copies[copy].n_stores;
	umbra_pool_forget(pool, copy);
}
