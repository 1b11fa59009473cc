/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/provider/dm/pool/compact.h"

#include <string.h>

/* While a plan is made, new of an exception is which store has it and where in it. */
#define STORE_SHIFT 40

_Static_assert((uint64_t)UMBRA_POOL_STORES_MAX << STORE_SHIFT >> STORE_SHIFT ==
		       UMBRA_POOL_STORES_MAX,
	       "a store's index has room");

struct candidate {
	uint32_t index;  /* among the stores of the copy */
	uint64_t needed; /* chunks that nobody before has */
	uint32_t segments;
	bool chosen;
};

struct making {
	const struct umbra_pool *pool;
	const struct umbra_pool_store *stores; /* of the copy */
	uint32_t n;
	const struct umbra_compact_limits *limits;
	struct umbra_exceptions needed; /* sorted by old */
	struct candidate *candidates;
};

void umbra_compact_finish(struct umbra_compact *plan)
{
	umbra_exceptions_finish(&plan->moves);
	free(plan->drop);
	*plan = (struct umbra_compact){0};
}

static uint64_t epa_of(const struct umbra_pool *pool)
{
	return umbra_dm_epa(pool->geometry.chunk_sectors);
}

static uint64_t length_for(const struct umbra_pool *pool, uint64_t chunks)
{
	return chunks ? umbra_dm_store_chunks(epa_of(pool), chunks) : 0;
}

static uint64_t segments_for(const struct umbra_pool *pool, uint64_t chunks)
{
	const uint64_t size = pool->geometry.segment_chunks;

	return (length_for(pool, chunks) + size - 1) / size;
}

/* Of each chunk the first of the copy's stores that has it. */
static int find_needed(struct making *m, const struct umbra_exceptions *exceptions)
{
	uint64_t total = 0;
	uint32_t i;
	size_t e;

	for (i = 0; i < m->n; i++)
		total += exceptions[i].n;
	if (umbra_exceptions_reserve(&m->needed, total) < 0)
		return -ENOMEM;
	for (i = 0; i < m->n; i++) {
		for (e = 0; e < exceptions[i].n; e++)
			umbra_exceptions_add(&m->needed, exceptions[i].e[e].old,
					     (uint64_t)i << STORE_SHIFT | exceptions[i].e[e].new);
	}
	if (umbra_exceptions_sort(&m->needed) < 0)
		return -ENOMEM;
	umbra_exceptions_unique(&m->needed);
	return 0;
}

/* Fewest needed chunks a segment first. */
static int by_worth(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;
	const uint64_t left = x->needed * y->segments, right = y->needed * x->segments;

	if (left != right)
		return left < right ? -1 : 1;
	return (x->index > y->index) - (x->index < y->index);
}

static int find_candidates(struct making *m)
{
	uint32_t i;
	size_t e;

	m->candidates = calloc(m->n, sizeof(*m->candidates));
	if (!m->candidates)
		return -ENOMEM;
	for (i = 0; i < m->n; i++)
		m->candidates[i] =
			(struct candidate){.index = i, .segments = m->stores[i].segments.n};
	for (e = 0; e < m->needed.n; e++)
		m->candidates[m->needed.e[e].new >> STORE_SHIFT].needed++;
	qsort(m->candidates, m->n, sizeof(*m->candidates), by_worth);
	return 0;
}

static bool crowded(const struct umbra_pool *pool)
{
	return pool->n_stores > UMBRA_POOL_STORES_MAX / 2;
}

struct choice {
	uint32_t n; /* the first of the candidates */
	uint64_t chunks, segments;
};

/* With this one too, if that stays within the limits. */
static bool extend(const struct making *m, struct choice *c, const struct candidate *with)
{
	const uint64_t chunks = c->chunks + with->needed;

	if (chunks > m->limits->chunks || segments_for(m->pool, chunks) > m->limits->segments)
		return false;
	*c = (struct choice){c->n + 1, chunks, c->segments + with->segments};
	return true;
}

static int64_t gain(const struct making *m, const struct choice *c)
{
	return (int64_t)c->segments - (int64_t)segments_for(m->pool, c->chunks);
}

/* Is what c gives more than `than` does worth what is written more? */
static bool worth(const struct making *m, const struct choice *c, const struct choice *than)
{
	const int64_t more = gain(m, c) - gain(m, than);

	if (crowded(m->pool) && c->n > 1)
		return more >= 0;
	return more > 0 &&
	       (uint64_t)more * m->pool->geometry.segment_chunks >= (c->chunks - than->chunks) / 4;
}

/* Of the candidates that fit, from the best on, as many as give most together. */
static struct choice choose(struct making *m)
{
	struct choice all = {0}, best = {0};
	struct candidate swap;
	uint32_t i;

	for (i = 0; i < m->n; i++) {
		if (!extend(m, &all, &m->candidates[i]))
			continue;
		swap = m->candidates[all.n - 1];
		m->candidates[all.n - 1] = m->candidates[i];
		m->candidates[i] = swap;
		if (worth(m, &all, &best))
			best = all;
	}
	for (i = 0; i < best.n; i++)
		m->candidates[i].chosen = true;
	return best;
}

/* One store alone that is worth it but too much for one piece: its first chunks. */
static uint64_t choose_piece(struct making *m)
{
	const uint64_t piece = m->limits->chunks;
	const struct choice none = {0};
	struct choice alone;
	struct candidate *c;

	if (piece == 0)
		return 0;
	for (c = m->candidates; c < m->candidates + m->n; c++) {
		alone = (struct choice){1, c->needed, c->segments};
		if (c->needed > piece && worth(m, &alone, &none) &&
		    (c->needed / piece + 1) * segments_for(m->pool, piece) <= m->limits->segments) {
			c->chosen = true;
			return piece;
		}
	}
	return 0;
}

static int make_moves(const struct making *m, uint64_t chunks, struct umbra_exceptions *out)
{
	_cleanup_free_ bool *chosen = calloc(m->n, sizeof(*chosen));
	const struct umbra_exception *e;
	uint64_t at;
	uint32_t i;

	if (!chosen || umbra_exceptions_reserve(out, chunks) < 0)
		return -ENOMEM;
	for (i = 0; i < m->n; i++)
		chosen[m->candidates[i].index] = m->candidates[i].chosen;
	for (e = m->needed.e; out->n < chunks && e < m->needed.e + m->needed.n; e++) {
		i = (uint32_t)(e->new >> STORE_SHIFT);
		if (!chosen[i])
			continue;
		if (umbra_pool_chunk_at(m->pool, &m->stores[i], e->new &((1ULL << STORE_SHIFT) - 1),
					&at) < 0)
			return -EBADMSG;
		umbra_exceptions_add(out, e->old, at);
	}
	return 0;
}

static int make_drop(const struct making *m, uint32_t n, struct umbra_compact *plan)
{
	plan->drop = calloc(n + 1, sizeof(*plan->drop));
	if (!plan->drop)
		return -ENOMEM;
	while (plan->n_drop < n) {
		plan->drop[plan->n_drop] = m->stores[m->candidates[plan->n_drop].index].number;
		plan->n_drop++;
	}
	return 0;
}

static int make(struct making *m, const struct umbra_exceptions *exceptions,
		struct umbra_compact *plan)
{
	struct choice choice;
	uint64_t chunks;

	if (find_needed(m, exceptions) < 0 || find_candidates(m) < 0)
		return -ENOMEM;
	choice = choose(m);
	chunks = choice.n > 0 ? choice.chunks : choose_piece(m);
	if (choice.n == 0 && chunks == 0)
		return 0;
	plan->freed = (uint32_t)choice.segments;
	plan->used = length_for(m->pool, chunks);
	plan->segments = (uint32_t)segments_for(m->pool, chunks);
	if (make_drop(m, choice.n, plan) < 0)
		return -ENOMEM;
	return make_moves(m, chunks, &plan->moves) ?: 1;
}

int umbra_compact_plan(const struct umbra_pool *pool, uint32_t copy,
		       const struct umbra_exceptions *exceptions,
		       const struct umbra_compact_limits *limits, struct umbra_compact *out,
		       struct umbra_error *err)
{
	_cleanup_compact_ struct umbra_compact plan = {0};
	struct making m = {.pool = pool, .limits = limits};
	int r;

	if (umbra_pool_unfinished(pool) || copy + 1 >= pool->n_copies)
		return 0;
	m.n = pool->copies[copy].n_stores;
	m.stores = pool->stores + umbra_pool_first_store(pool, copy);
	if (m.n < 2)
		return 0;
	r = make(&m, exceptions, &plan);
	umbra_exceptions_finish(&m.needed);
	free(m.candidates);
	if (r == -ENOMEM)
		return umbra_oom(err);
	if (r < 0)
		return umbra_fail(err, UMBRA_E_DAMAGED, -r,
				  "an exception store has a chunk beyond its end");
	if (r > 0) {
		*out = plan;
		plan = (struct umbra_compact){0};
	}
	return r;
}

uint64_t umbra_compact_target(const struct umbra_pool *pool, uint64_t i)
{
	return umbra_dm_data_at(epa_of(pool), i);
}

uint64_t umbra_compact_metadata_chunks(const struct umbra_pool *pool,
				       const struct umbra_compact *plan)
{
	return plan->moves.n ? umbra_dm_metadata_chunks(epa_of(pool), plan->moves.n) : 0;
}

uint64_t umbra_compact_metadata(const struct umbra_pool *pool, const struct umbra_compact *plan,
				uint64_t i, void *chunk)
{
	const uint32_t sectors = pool->geometry.chunk_sectors;
	const uint64_t epa = epa_of(pool), from = i > 0 ? (i - 1) * epa : 0;
	uint64_t j;

	if (i == 0) {
		umbra_dm_header(sectors, chunk);
		return 0;
	}
	memset(chunk, 0, (size_t)sectors * UMBRA_DM_SECTOR);
	for (j = 0; j < epa && from + j < plan->moves.n; j++)
		umbra_dm_put_exception(chunk, j, plan->moves.e[from + j].old,
				       umbra_dm_data_at(epa, from + j));
	return umbra_dm_metadata_at(epa, i);
}
