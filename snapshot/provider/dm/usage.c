/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What deleting a copy would free. The oldest: all it has. The newest: nothing, because its store
 * goes on collecting for the next older one, unless it is the only one. Others: what the next older
 * copy has itself, once that is compacted.
 */
#include <unistd.h>

#include "snapshot/provider/dm/parts.h"
#include "snapshot/provider/dm/volume/copies.h"
#include "snapshot/provider/dm/volume/gauge.h"

/* Index of the oldest copy that is not lost. */
static uint32_t oldest(const struct umbra_pool *pool)
{
	uint32_t i;

	for (i = 0; i < pool->n_copies && pool->copies[i].state == UMBRA_POOL_LOST; i++)
		;
	return i;
}

static int count_all(const struct umbra_protected *p, uint32_t copy, uint64_t *chunks,
		     struct umbra_error *err)
{
	const uint32_t first = umbra_pool_first_store(p->pool, copy);
	const struct umbra_pool_store *s;
	struct umbra_gauge gauge;
	uint32_t i;
	int r = umbra_gauge_read(p, &gauge, err);

	for (i = 0; i < p->pool->copies[copy].n_stores; i++) {
		s = &p->pool->stores[first + i];
		*chunks += s->sealed ? s->used : gauge.store == s ? gauge.used : 0;
	}
	return r;
}

static int add_exceptions(const struct umbra_protected *p, uint32_t copy,
			  struct umbra_exceptions *out, struct umbra_error *err)
{
	const uint32_t first = umbra_pool_first_store(p->pool, copy);
	uint32_t i;
	size_t e;
	int r = 0;

	for (i = 0; r == 0 && i < p->pool->copies[copy].n_stores; i++) {
		_cleanup_exceptions_ struct umbra_exceptions one = {0};

		r = umbra_protected_read_store(p, &p->pool->stores[first + i], &one, NULL, err);
		if (r == 0 && umbra_exceptions_reserve(out, one.n) < 0)
			r = umbra_oom(err);
		for (e = 0; r == 0 && e < one.n; e++)
			umbra_exceptions_add(out, one.e[e].old, one.e[e].new);
	}
	if (r == 0 && umbra_exceptions_sort(out) < 0)
		r = umbra_oom(err);
	umbra_exceptions_unique(out);
	return r;
}

/* Chunks that both have; sorted. */
static uint64_t count_common(const struct umbra_exceptions *a, const struct umbra_exceptions *b)
{
	size_t i = 0, j = 0;
	uint64_t n = 0;

	while (i < a->n && j < b->n) {
		if (a->e[i].old == b->e[j].old)
			n++;
		if (a->e[i].old <= b->e[j].old)
			i++;
		else
			j++;
	}
	return n;
}

static int count_needless(const struct umbra_protected *p, uint32_t copy, uint64_t *chunks,
			  struct umbra_error *err)
{
	_cleanup_exceptions_ struct umbra_exceptions own = {0}, older = {0};
	int r = add_exceptions(p, copy, &own, err);

	if (r == 0)
		r = add_exceptions(p, copy - 1, &older, err);
	if (r == 0)
		*chunks = count_common(&own, &older);
	return r;
}

int umbra_dm_usage(int state_fd, const struct umbra_shadow *shadow, int64_t *bytes,
		   struct umbra_error *err)
{
	_cleanup_protected_ struct umbra_protected *p = NULL;
	uint64_t chunks = 0;
	uint32_t i;
	int r;

	*bytes = -1;
	if (geteuid() != 0)
		return 0;
	r = umbra_dm_find(state_fd, shadow, &p, err);
	if (r < 0)
		return r;
	i = umbra_pool_find(p->pool, &shadow->id);
	if (i == p->pool->n_copies)
		return 0;
	if (p->pool->copies[i].state != UMBRA_POOL_LOST && i == oldest(p->pool))
		r = count_all(p, i, &chunks, err);
	else if (p->pool->copies[i].state == UMBRA_POOL_KEPT && i + 1 < p->pool->n_copies)
		r = count_needless(p, i, &chunks, err);
	if (r == 0)
		*bytes = (int64_t)(chunks * p->pool->geometry.chunk_sectors * UMBRA_DM_SECTOR);
	return r;
}
