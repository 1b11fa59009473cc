/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Exception stores as provider dm reads them from a diff area, and what is made of them: a view, a
 * compaction. The first eight bytes are the shape; the header is made right most of the time.
 */
#include <stdlib.h>
#include <string.h>

#include "snapshot/provider/dm/pool/compact.h"
#include "snapshot/provider/dm/pool/view_plan.h"

#define SEGMENT 8U

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
	const uint8_t *data;
	size_t size;
	uint32_t chunk_sectors;
};

static int read_chunk(void *arg, uint64_t chunk, void *buf, struct umbra_error *err)
{
	const struct input *in = arg;
	const size_t bytes = (size_t)in->chunk_sectors * UMBRA_DM_SECTOR;
	const uint64_t at = chunk * bytes;
	size_t n = 0;

	(void)err;
	memset(buf, 0, bytes);
	if (at < in->size)
		n = in->size - at < bytes ? in->size - at : bytes;
	memcpy(buf, in->data + (n ? at : 0), n);
	if (chunk == 0 && n > 0 && in->data[0] != 0)
		umbra_dm_header(in->chunk_sectors, buf);
	return 0;
}

/* A copy that has the store twice, and a newest one. */
static struct umbra_pool *make_pool(uint32_t chunk_sectors, uint32_t segments)
{
	const struct umbra_id area = {"01234567-89ab-4def-8123-456789abcdef"};
	const struct umbra_pool_geometry g = {chunk_sectors, SEGMENT, 2 * segments + 1};
	struct umbra_pool *pool;
	uint32_t i, j;

	if (umbra_pool_new(&g, &area, "", &pool, NULL) < 0)
		abort();
	pool->stores = calloc(3, sizeof(*pool->stores));
	pool->n_stores = 3;
	for (i = 0; i < 3; i++) {
		if (umbra_segments_reserve(&pool->stores[i].segments, segments) < 0)
			abort();
		for (j = 0; j < (i < 2 ? segments : 1); j++)
			umbra_segments_push(&pool->stores[i].segments, i * segments + j);
		pool->stores[i].number = i + 1;
		pool->stores[i].sealed = i < 2;
	}
	pool->copies[0].n_stores = 2;
	pool->copies[1].n_stores = 1;
	pool->n_copies = 2;
	pool->copies[0].state = pool->copies[1].state = UMBRA_POOL_KEPT;
	return pool;
}

static void show(const struct umbra_pool *pool, const struct umbra_exceptions *list)
{
	_cleanup_view_plan_ struct umbra_dm_view_plan plan = {0};
	_cleanup_view_layout_ struct umbra_dm_view_layout l = {0};
	_cleanup_free_ char *chunk = malloc(pool->geometry.chunk_sectors * (size_t)UMBRA_DM_SECTOR);
	uint64_t i;

	if (!chunk || umbra_dm_view_add(&plan, pool, &pool->stores[0], list, NULL) < 0 ||
	    umbra_dm_view_add(&plan, pool, &pool->stores[1], list, NULL) < 0 ||
	    umbra_dm_view_layout(&plan, pool, &l, NULL) < 0 || plan.chunks.n != list->n)
		abort();
	for (i = 0; i < l.scratch_chunks; i++)
		umbra_dm_view_scratch(&plan, &l, i, chunk);
}

static void compact(const struct umbra_pool *pool, const struct umbra_exceptions *list)
{
	const struct umbra_exceptions lists[] = {*list, *list};
	const struct umbra_compact_limits limits = {list->n / 2 + 1, pool->geometry.segments};
	_cleanup_compact_ struct umbra_compact plan = {0};

	if (umbra_compact_plan(pool, 0, lists, &limits, &plan, NULL) < 0 ||
	    plan.moves.n > limits.chunks)
		abort();
}

static void check(const struct umbra_dm_store_shape *shape, const struct umbra_exceptions *list,
		  uint64_t used)
{
	size_t i;

	if (used > shape->chunks)
		abort();
	for (i = 0; i < list->n; i++) {
		if (list->e[i].old >= shape->origin_chunks || list->e[i].new >= used ||
		    (i > 0 && list->e[i].old <= list->e[i - 1].old))
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_exceptions_ struct umbra_exceptions list = {0};
	struct umbra_dm_store_shape shape;
	struct umbra_pool *pool;
	struct input in;
	uint64_t used;

	if (size < 8)
		return 0;
	shape.chunk_sectors = 1U << data[0] % 6;
	shape.chunks = 1 + (data[1] | (uint64_t)data[2] << 8);
	shape.origin_chunks = data[3] | (uint64_t)data[4] << 8;
	in = (struct input){data + 8, size - 8, shape.chunk_sectors};
	if (umbra_dm_store_read(&shape, read_chunk, &in, &list, &used, NULL) < 0)
		return 0;
	check(&shape, &list, used);
	pool = make_pool(shape.chunk_sectors, (uint32_t)(shape.chunks / SEGMENT + 1));
	show(pool, &list);
	compact(pool, &list);
	umbra_pool_free(pool);
	return 0;
}
