/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/provider/dm/gauge.h"

static uint64_t segments_of(const struct umbra_pool *pool, uint64_t chunks)
{
	const uint32_t size = pool->geometry.segment_chunks;

	return (chunks + size - 1) / size;
}

/* One that is not sealed. */
static int read_one(const struct umbra_protected *p, const struct umbra_pool_store *s,
		    struct umbra_gauge *g, struct umbra_error *err)
{
	enum umbra_store_state state;
	uint64_t used, touched, left, granted;
	int r = umbra_store_device_state(&p->kernel, s->number, &state, &used, err);

	if (r < 0)
		return r;
	touched = state == UMBRA_STORE_LIVE ? segments_of(p->pool, used) : 0;
	left = touched < s->segments.n ? s->segments.n - touched : 0;
	g->total += left;
	if (state != UMBRA_STORE_LIVE || (g->store && g->left <= left))
		return 0;
	r = umbra_store_device_granted(&p->kernel, s->number, &granted, err);
	if (r < 0)
		return r;
	g->store = s;
	g->left = left;
	g->used = used;
	g->granted = granted;
	g->short_of = granted < (uint64_t)s->segments.n * p->pool->geometry.segment_chunks;
	return 0;
}

int umbra_gauge_read(const struct umbra_protected *p, struct umbra_gauge *out,
		     struct umbra_error *err)
{
	const uint32_t spare = umbra_pool_free_segments(p->pool);
	struct umbra_gauge g = {0};
	uint32_t i;
	int r = 0;

	for (i = 0; r == 0 && p->in && i < p->pool->n_stores; i++)
		if (!p->pool->stores[i].sealed)
			r = read_one(p, &p->pool->stores[i], &g, err);
	if (r < 0)
		return r;
	g.left += spare;
	g.total += spare;
	*out = g;
	return 0;
}

uint32_t umbra_gauge_in_use(const struct umbra_protected *p, const struct umbra_gauge *g)
{
	return p->pool->geometry.segments - (uint32_t)g->total;
}
