/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Is a pool consistent? What is read from a disk may be anything. */
#include <string.h>

#include "snapshot/provider/dm/pool/pool_parts.h"

static int wrong(struct umbra_error *err, const char *what, uint64_t which)
{
	return umbra_fail(err, UMBRA_E_DAMAGED, EBADMSG,
			  "the superblock of a diff area is damaged: %s (%llu)", what,
			  (unsigned long long)which);
}

static int by_number(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static int by_id(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int check_ids(const struct umbra_pool *pool, struct umbra_error *err)
{
	const char *ids[UMBRA_POOL_COPIES_MAX] = {NULL};
	uint32_t i;

	for (i = 0; i < pool->n_copies; i++) {
		ids[i] = pool->copies[i].id.s;
		if (!umbra_id_valid(ids[i]))
			return wrong(err, "a shadow copy has no id", i);
	}
	qsort(ids, pool->n_copies, sizeof(*ids), by_id);
	for (i = 1; i < pool->n_copies; i++) {
		if (strcmp(ids[i - 1], ids[i]) == 0)
			return wrong(err, "a shadow copy is there twice", i);
	}
	return 0;
}

/* May the newest copy's predecessor be hidden? Until its store is sealed, which dissolves it. */
static bool may_precede(const struct umbra_pool *pool, const struct umbra_pool_copy *hidden)
{
	return hidden->n_stores > 0 && pool->n_stores > 1 &&
	       !pool->stores[pool->n_stores - 2].sealed;
}

/* LOST first; PREPARED and HIDDEN only at the end, HIDDEN also before a creation's newest. */
static int check_states(const struct umbra_pool *pool, struct umbra_error *err)
{
	const uint32_t oldest = umbra_pool_oldest(pool), n = pool->n_copies;
	uint32_t i;

	for (i = oldest; i < n; i++) {
		switch (pool->copies[i].state) {
		case UMBRA_POOL_KEPT:
			break;
		case UMBRA_POOL_PREPARED:
			if (i + 1 < n)
				return wrong(err, "an older shadow copy is unfinished", i);
			break;
		case UMBRA_POOL_HIDDEN:
			if (i + 1 < n && (i + 2 < n || !may_precede(pool, &pool->copies[i])))
				return wrong(err, "an older shadow copy is hidden", i);
			break;
		case UMBRA_POOL_LOST:
		default:
			return wrong(err, "a shadow copy has no possible state", i);
		}
	}
	return 0;
}

static int check_reverting(const struct umbra_pool *pool, struct umbra_error *err)
{
	const struct umbra_pool_copy *c;
	uint32_t i, n = 0;

	for (i = 0; i < pool->n_copies; i++) {
		c = &pool->copies[i];
		if (!c->reverting)
			continue;
		if (++n > 1 || (c->state != UMBRA_POOL_KEPT && c->state != UMBRA_POOL_LOST))
			return wrong(err, "a volume cannot be reverted to this shadow copy", i);
	}
	return 0;
}

static int check_copies(const struct umbra_pool *pool, struct umbra_error *err)
{
	const uint32_t oldest = umbra_pool_oldest(pool);
	bool taken[UMBRA_POOL_COPIES_MAX] = {false};
	const struct umbra_pool_copy *c;
	uint64_t stores = 0;
	uint32_t i;

	for (i = 0; i < pool->n_copies; i++) {
		c = &pool->copies[i];
		if (c->record >= UMBRA_POOL_COPIES_MAX || taken[c->record])
			return wrong(err, "a record slot is used twice, or none", i);
		taken[c->record] = true;
		stores += c->n_stores;
		if (i < oldest && c->n_stores > 0)
			return wrong(err, "a lost shadow copy has exception stores", i);
	}
	if (stores != pool->n_stores)
		return wrong(err, "exception stores belong to no shadow copy", stores);
	if (oldest < pool->n_copies && pool->copies[pool->n_copies - 1].n_stores != 1)
		return wrong(err, "the newest shadow copy has not one exception store", stores);
	return 0;
}

static int check_numbers(const struct umbra_pool *pool, struct umbra_error *err)
{
	_cleanup_free_ uint64_t *numbers = calloc(pool->n_stores + 1, sizeof(*numbers));
	uint32_t i;

	if (!numbers)
		return umbra_oom(err);
	for (i = 0; i < pool->n_stores; i++)
		numbers[i] = pool->stores[i].number;
	qsort(numbers, pool->n_stores, sizeof(*numbers), by_number);
	for (i = 0; i < pool->n_stores; i++) {
		if (numbers[i] == UMBRA_POOL_NO_STORE || numbers[i] >= pool->next_store)
			return wrong(err, "an exception store has no number", numbers[i]);
		if (i > 0 && numbers[i] == numbers[i - 1])
			return wrong(err, "an exception store is there twice", numbers[i]);
	}
	return 0;
}

static int check_store(const struct umbra_pool *pool, uint32_t i, struct umbra_error *err)
{
	const struct umbra_pool_store *s = &pool->stores[i];
	const uint32_t size = pool->geometry.segment_chunks;

	if (s->segments.n == 0)
		return wrong(err, "an exception store has no segments", s->number);
	if (!s->sealed && i + 2 < pool->n_stores)
		return wrong(err, "an old exception store is not sealed", s->number);
	if (!s->sealed)
		return 0;
	if (i + 1 == pool->n_stores)
		return wrong(err, "the newest exception store is sealed", s->number);
	if (s->used < 3 || (s->used - 1) / size + 1 != s->segments.n)
		return wrong(err, "an exception store has not what it uses", s->number);
	return 0;
}

/* Each segment that a store has is the store's alone, and the map knows. */
static int check_segments(const struct umbra_pool *pool, struct umbra_error *err)
{
	_cleanup_free_ bool *seen = calloc(pool->map.n + 1, sizeof(*seen));
	const struct umbra_segments *list;
	uint32_t i, j, owned = 0;

	if (!seen)
		return umbra_oom(err);
	for (i = 0; i < pool->n_stores; i++) {
		list = &pool->stores[i].segments;
		for (j = 0; j < list->n; j++) {
			if (list->at[j] >= pool->map.n)
				return wrong(err, "a segment beyond the end", list->at[j]);
			if (seen[list->at[j]] || pool->map.use[list->at[j]] != UMBRA_SEGMENT_OWNED)
				return wrong(err, "a segment is used twice", list->at[j]);
			seen[list->at[j]] = true;
			owned++;
		}
	}
	if (owned != umbra_segment_map_count(&pool->map, UMBRA_SEGMENT_OWNED))
		return wrong(err, "segments belong to no exception store", owned);
	return 0;
}

int umbra_pool_check(const struct umbra_pool *pool, struct umbra_error *err)
{
	uint32_t i;
	int r;

	if (!umbra_pool_geometry_valid(&pool->geometry) || pool->map.n != pool->geometry.segments)
		return wrong(err, "impossible sizes", pool->geometry.segment_chunks);
	if (!umbra_id_valid(pool->area.s))
		return wrong(err, "the area has no id", 0);
	r = check_ids(pool, err);
	if (r == 0)
		r = check_copies(pool, err);
	if (r == 0)
		r = check_states(pool, err);
	if (r == 0)
		r = check_reverting(pool, err);
	if (r == 0)
		r = check_numbers(pool, err);
	for (i = 0; i < pool->n_stores && r == 0; i++)
		r = check_store(pool, i, err);
	if (r == 0)
		r = check_segments(pool, err);
	return r;
}
