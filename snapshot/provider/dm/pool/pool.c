/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/provider/dm/pool/pool.h"

#include <string.h>

#include "snapshot/provider/dm/pool/pool_disk.h"

#define SEGMENT_SECTORS_MIN 512U   /* 256 KiB */
#define SEGMENT_SECTORS_MAX 32768U /* 16 MiB */
#define SEGMENTS_WANTED     8192U
#define SEGMENTS_MIN        8U

bool umbra_pool_geometry_valid(const struct umbra_pool_geometry *g)
{
	return umbra_dm_chunk_valid(g->chunk_sectors) && g->segment_chunks >= 4 &&
	       g->segment_chunks <= umbra_dm_epa(g->chunk_sectors) &&
	       (g->segment_chunks & (g->segment_chunks - 1)) == 0 &&
	       g->segments <= UMBRA_SEGMENTS_MAX;
}

int umbra_pool_geometry(uint64_t area_sectors, uint32_t chunk_sectors,
			struct umbra_pool_geometry *out, struct umbra_error *err)
{
	const uint64_t before = UMBRA_POOL_DATA_AT / UMBRA_DM_SECTOR;
	const uint64_t sectors = area_sectors > before ? area_sectors - before : 0;
	uint64_t size = SEGMENT_SECTORS_MIN, largest;

	if (!umbra_dm_chunk_valid(chunk_sectors) || chunk_sectors > SEGMENT_SECTORS_MIN / 4)
		return umbra_fail(err, UMBRA_E_INTERNAL, EINVAL, "no chunks of %u sectors",
				  chunk_sectors);
	largest = umbra_dm_epa(chunk_sectors) * chunk_sectors;
	if (largest > SEGMENT_SECTORS_MAX)
		largest = SEGMENT_SECTORS_MAX;
	if (size > largest)
		size = largest;
	while (size < largest && sectors / size > SEGMENTS_WANTED)
		size *= 2;
	if (sectors / size < SEGMENTS_MIN)
		return umbra_fail(
			err, UMBRA_E_NO_SPACE, ENOSPC,
			"a diff area of %llu KiB is too small; it needs %llu KiB at least",
			(unsigned long long)area_sectors / 2,
			(unsigned long long)(before + SEGMENTS_MIN * size) / 2);
	out->chunk_sectors = chunk_sectors;
	out->segment_chunks = (uint32_t)(size / chunk_sectors);
	out->segments = (uint32_t)(sectors / size > UMBRA_SEGMENTS_MAX ? UMBRA_SEGMENTS_MAX
								       : sectors / size);
	return 0;
}

uint64_t umbra_pool_sectors_of(const struct umbra_pool_geometry *g, uint32_t segments)
{
	return UMBRA_POOL_DATA_AT / UMBRA_DM_SECTOR +
	       (uint64_t)segments * g->segment_chunks * g->chunk_sectors;
}

uint32_t umbra_pool_segments_in(const struct umbra_pool_geometry *g, uint64_t area_sectors)
{
	const uint64_t before = umbra_pool_sectors_of(g, 0);
	uint64_t n = area_sectors > before ? area_sectors - before : 0;

	n /= (uint64_t)g->segment_chunks * g->chunk_sectors;
	return (uint32_t)(n < UMBRA_SEGMENTS_MAX ? n : UMBRA_SEGMENTS_MAX);
}

uint64_t umbra_pool_chunks(const struct umbra_pool *pool)
{
	return (uint64_t)pool->geometry.segments * pool->geometry.segment_chunks;
}

uint64_t umbra_pool_segment_at(const struct umbra_pool *pool, uint32_t segment)
{
	const struct umbra_pool_geometry *g = &pool->geometry;

	return UMBRA_POOL_DATA_AT / UMBRA_DM_SECTOR / g->chunk_sectors +
	       (uint64_t)segment * g->segment_chunks;
}

uint64_t umbra_pool_end(const struct umbra_pool *pool)
{
	return umbra_pool_segment_at(pool, pool->geometry.segments) * pool->geometry.chunk_sectors;
}

int umbra_pool_chunk_at(const struct umbra_pool *pool, const struct umbra_pool_store *store,
			uint64_t chunk, uint64_t *at)
{
	const uint32_t size = pool->geometry.segment_chunks;

	if (chunk / size >= store->segments.n)
		return -ERANGE;
	*at = umbra_pool_segment_at(pool, store->segments.at[chunk / size]) + chunk % size;
	return 0;
}

struct umbra_dm_store_shape umbra_pool_store_shape(const struct umbra_pool *pool,
						   const struct umbra_pool_store *store,
						   uint64_t origin_chunks)
{
	const uint64_t granted = (uint64_t)store->segments.n * pool->geometry.segment_chunks;

	return (struct umbra_dm_store_shape){
		.chunk_sectors = pool->geometry.chunk_sectors,
		.chunks = store->sealed ? store->used : granted,
		.origin_chunks = origin_chunks,
	};
}

static int set_text(char out[UMBRA_POOL_TEXT_MAX], const char *text, struct umbra_error *err)
{
	if (strlen(text) >= UMBRA_POOL_TEXT_MAX)
		return umbra_fail(err, UMBRA_E_INTERNAL, EINVAL,
				  "what a diff area is to record is too long: '%s'", text);
	memset(out, 0, UMBRA_POOL_TEXT_MAX);
	snprintf(out, UMBRA_POOL_TEXT_MAX, "%s", text);
	return 0;
}

int umbra_pool_new(const struct umbra_pool_geometry *g, const struct umbra_id *area,
		   const char *volume, struct umbra_pool **out, struct umbra_error *err)
{
	_cleanup_pool_ struct umbra_pool *pool = calloc(1, sizeof(*pool));
	int r;

	if (!pool)
		return umbra_oom(err);
	pool->geometry = *g;
	pool->area = *area;
	pool->next_store = UMBRA_POOL_NO_STORE + 1;
	pool->changed = true;
	r = set_text(pool->volume, volume, err);
	if (r < 0)
		return r;
	pool->copies = calloc(UMBRA_POOL_COPIES_MAX, sizeof(*pool->copies));
	if (!pool->copies || umbra_segment_map_init(&pool->map, g->segments) < 0)
		return umbra_oom(err);
	*out = TAKE_PTR(pool);
	return 0;
}

static int dup_stores(const struct umbra_pool *pool, struct umbra_pool *to)
{
	const struct umbra_segments *from;
	uint32_t i;

	to->stores = calloc(pool->n_stores + 1, sizeof(*to->stores));
	if (!to->stores)
		return -ENOMEM;
	to->stores_room = pool->n_stores + 1;
	for (i = 0; i < pool->n_stores; i++) {
		from = &pool->stores[i].segments;
		to->stores[i] = pool->stores[i];
		to->stores[i].segments = (struct umbra_segments){0};
		to->n_stores++;
		if (umbra_segments_reserve(&to->stores[i].segments, from->n) < 0)
			return -ENOMEM;
		if (from->n > 0)
			memcpy(to->stores[i].segments.at, from->at, from->n * sizeof(*from->at));
		to->stores[i].segments.n = from->n;
	}
	return 0;
}

int umbra_pool_dup(const struct umbra_pool *pool, struct umbra_pool **out, struct umbra_error *err)
{
	_cleanup_pool_ struct umbra_pool *to = NULL;
	int r;

	r = umbra_pool_new(&pool->geometry, &pool->area, pool->volume, &to, err);
	if (r < 0)
		return r;
	memcpy(to->stamp, pool->stamp, sizeof(to->stamp));
	memcpy(to->copies, pool->copies, pool->n_copies * sizeof(*to->copies));
	memcpy(to->map.use, pool->map.use, pool->map.n);
	to->n_copies = pool->n_copies;
	to->next_store = pool->next_store;
	to->generation = pool->generation;
	r = umbra_pool_set_extents(to, pool->extents, pool->n_extents, err);
	if (r < 0)
		return r;
	if (dup_stores(pool, to) < 0)
		return umbra_oom(err);
	to->changed = pool->changed;
	*out = TAKE_PTR(to);
	return 0;
}

struct umbra_pool *umbra_pool_free(struct umbra_pool *pool)
{
	uint32_t i;

	if (!pool)
		return NULL;
	for (i = 0; i < pool->n_stores; i++)
		umbra_segments_finish(&pool->stores[i].segments);
	umbra_segment_map_finish(&pool->map);
	free(pool->stores);
	free(pool->copies);
	free(pool->extents);
	free(pool);
	return NULL;
}

int umbra_pool_set_stamp(struct umbra_pool *pool, const char *stamp, struct umbra_error *err)
{
	int r = set_text(pool->stamp, stamp, err);

	if (r == 0)
		pool->changed = true;
	return r;
}

int umbra_pool_set_extents(struct umbra_pool *pool, const struct umbra_pool_extent *extents,
			   uint32_t n, struct umbra_error *err)
{
	struct umbra_pool_extent *copy;

	if (n > UMBRA_POOL_EXTENTS_MAX)
		return umbra_fail(err, UMBRA_E_UNSUPPORTED, E2BIG,
				  "the file of the diff area has %u extents, more than the %u that "
				  "can be recorded: make it where more space lies together",
				  n, UMBRA_POOL_EXTENTS_MAX);
	copy = calloc(n + 1, sizeof(*copy));
	if (!copy)
		return umbra_oom(err);
	if (n > 0)
		memcpy(copy, extents, n * sizeof(*copy));
	free(pool->extents);
	pool->extents = copy;
	pool->n_extents = n;
	pool->changed = true;
	return 0;
}

uint32_t umbra_pool_count(const struct umbra_pool *pool, enum umbra_pool_state state)
{
	uint32_t i, n = 0;

	for (i = 0; i < pool->n_copies; i++)
		n += pool->copies[i].state == state;
	return n;
}

uint32_t umbra_pool_find(const struct umbra_pool *pool, const struct umbra_id *id)
{
	uint32_t i;

	for (i = 0; i < pool->n_copies; i++) {
		if (strcmp(pool->copies[i].id.s, id->s) == 0)
			break;
	}
	return i;
}

uint32_t umbra_pool_find_store(const struct umbra_pool *pool, uint64_t number)
{
	uint32_t i;

	for (i = 0; i < pool->n_stores; i++) {
		if (pool->stores[i].number == number)
			break;
	}
	return i;
}

uint32_t umbra_pool_first_store(const struct umbra_pool *pool, uint32_t copy)
{
	uint32_t i, n = 0;

	for (i = 0; i < copy; i++)
		n += pool->copies[i].n_stores;
	return n;
}

uint32_t umbra_pool_owner(const struct umbra_pool *pool, uint32_t store)
{
	uint32_t i, end = 0;

	for (i = 0; i < pool->n_copies; i++) {
		end += pool->copies[i].n_stores;
		if (store < end)
			break;
	}
	return i;
}

uint32_t umbra_pool_store_of(const struct umbra_pool *pool, uint32_t segment)
{
	const struct umbra_segments *list;
	uint32_t i, j;

	for (i = 0; i < pool->n_stores; i++) {
		list = &pool->stores[i].segments;
		for (j = 0; j < list->n; j++)
			if (list->at[j] == segment)
				return i;
	}
	return i;
}

struct umbra_pool_store *umbra_pool_live(const struct umbra_pool *pool)
{
	return pool->n_stores > 0 ? &pool->stores[pool->n_stores - 1] : NULL;
}

bool umbra_pool_needed(const struct umbra_pool *pool)
{
	uint32_t i;

	for (i = 0; i < pool->n_copies; i++) {
		if (pool->copies[i].state == UMBRA_POOL_KEPT ||
		    pool->copies[i].state == UMBRA_POOL_PREPARED)
			return true;
	}
	return false;
}

bool umbra_pool_unfinished(const struct umbra_pool *pool)
{
	const uint32_t n = pool->n_stores;

	if (pool->n_copies > 0 && pool->copies[pool->n_copies - 1].state == UMBRA_POOL_PREPARED)
		return true;
	return n > 1 && !pool->stores[n - 2].sealed;
}

const struct umbra_pool_copy *umbra_pool_reverting(const struct umbra_pool *pool)
{
	uint32_t i;

	for (i = 0; i < pool->n_copies; i++)
		if (pool->copies[i].reverting)
			return &pool->copies[i];
	return NULL;
}

uint32_t umbra_pool_free_segments(const struct umbra_pool *pool)
{
	return umbra_segment_map_count(&pool->map, UMBRA_SEGMENT_FREE);
}
