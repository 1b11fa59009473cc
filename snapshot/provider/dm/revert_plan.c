/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/provider/dm/revert_parts.h"

static int add_store(struct umbra_dm_revert *v, const struct umbra_protected *p,
		     const struct umbra_pool_store *s, uint64_t live, struct umbra_error *err)
{
	_cleanup_exceptions_ struct umbra_exceptions found = {0};
	int r = umbra_protected_read_store(p, s, &found, NULL, err);
	size_t i;

	if (r < 0)
		return r;
	if (umbra_exceptions_reserve(&v->chunks, found.n) < 0)
		return umbra_oom(err);
	for (i = 0; i < found.n; i++)
		umbra_exceptions_add(&v->chunks, found.e[i].old, live);
	return 0;
}

int umbra_dm_revert_plan(struct umbra_dm_revert *v, const struct umbra_protected *p, uint32_t copy,
			 struct umbra_error *err)
{
	const struct umbra_pool_store *live = umbra_pool_live(p->pool), *s;
	uint32_t i;
	int r;

	umbra_exceptions_finish(&v->chunks);
	v->next = 0;
	r = add_store(v, p, live, 1, err); /* first: of two the first stays */
	for (i = umbra_pool_first_store(p->pool, copy); r == 0 && i < p->pool->n_stores; i++) {
		s = &p->pool->stores[i];
		if (s != live)
			r = add_store(v, p, s, 0, err);
	}
	if (r < 0)
		return r;
	if (umbra_exceptions_sort(&v->chunks) < 0)
		return umbra_oom(err);
	umbra_exceptions_unique(&v->chunks);
	v->base.bytes_total = v->chunks.n * v->chunk_bytes;
	return 0;
}

uint64_t umbra_dm_revert_need(const struct umbra_dm_revert *v)
{
	uint64_t n = 0;
	size_t i;

	for (i = 0; i < v->chunks.n; i++)
		n += v->chunks.e[i].new == 0;
	return n;
}

int umbra_dm_revert_fits(const struct umbra_protected *p, uint64_t chunks, uint64_t spare,
			 struct umbra_error *err)
{
	const struct umbra_pool_store *live = umbra_pool_live(p->pool);
	const struct umbra_pool_geometry *g = &p->pool->geometry;
	enum umbra_store_state state;
	uint64_t used, have, want;
	int r = umbra_store_device_state(&p->kernel, live->number, &state, &used, err);

	if (r < 0)
		return r;
	have = ((uint64_t)live->segments.n + umbra_pool_free_segments(p->pool)) * g->segment_chunks;
	want = used + umbra_dm_store_chunks(umbra_dm_epa(g->chunk_sectors), chunks) +
	       spare * g->segment_chunks;
	return want <= have;
}
