/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/provider/dm/volume/gauge.h"
#include "snapshot/provider/dm/device/wall.h"

static uint64_t segments_of(const struct umbra_pool *pool, uint64_t chunks)
{
	const uint32_t size = pool->geometry.segment_chunks;

	return (chunks + size - 1) / size;
}

static uint64_t untouched(const struct umbra_pool *pool, const struct umbra_pool_store *s,
			  uint64_t used)
{
	uint64_t touched = segments_of(pool, used);

	return touched < s->segments.n ? s->segments.n - touched : 0;
}

/* One that is not sealed, and not activated: what it says itself. */
static int read_asleep(const struct umbra_protected *p, const struct umbra_pool_store *s,
		       struct umbra_gauge *g, struct umbra_error *err)
{
	_cleanup_exceptions_ struct umbra_exceptions exceptions = {0};
	uint64_t used;
	int r = umbra_protected_read_store(p, s, &exceptions, &used, err);

	if (r == 0)
		g->total += untouched(p->pool, s, used);
	return r;
}

/* One that is not sealed. */
static int read_one(const struct umbra_protected *p, const struct umbra_pool_store *s,
		    struct umbra_gauge *g, struct umbra_error *err)
{
	enum umbra_store_state state;
	uint64_t used, left, granted;
	int r = umbra_store_device_state(&p->kernel, s->number, &state, &used, err);

	if (r < 0)
		return r;
	left = untouched(p->pool, s, state == UMBRA_STORE_LIVE ? used : 0);
	g->total += left;
	if (state != UMBRA_STORE_LIVE || (g->store && g->left <= left))
		return 0;
	r = umbra_wall_chunks(&p->kernel, s->number, &granted, err);
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

	for (i = 0; r == 0 && i < p->pool->n_stores; i++) {
		if (p->pool->stores[i].sealed)
			continue;
		if (p->asleep)
			r = read_asleep(p, &p->pool->stores[i], &g, err);
		else if (p->in)
			r = read_one(p, &p->pool->stores[i], &g, err);
	}
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
