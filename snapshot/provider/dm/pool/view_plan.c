/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/provider/dm/pool/view_plan.h"

#include <string.h>

/* Stores are merged together when there are many new exceptions, or few altogether. */
#define MERGE_MIN 65536U

void umbra_dm_view_finish(struct umbra_dm_view_plan *plan)
{
	umbra_exceptions_finish(&plan->chunks);
	plan->merged = 0;
}

void umbra_dm_view_layout_finish(struct umbra_dm_view_layout *layout)
{
	free(layout->lines);
	free(layout->position);
	*layout = (struct umbra_dm_view_layout){0};
}

/* The sort keeps the order of equals and older stores were added first: the first is the oldest. */
static int merge(struct umbra_dm_view_plan *plan)
{
	if (plan->merged == plan->chunks.n)
		return 0;
	if (umbra_exceptions_sort(&plan->chunks) < 0)
		return -ENOMEM;
	umbra_exceptions_unique(&plan->chunks);
	plan->merged = plan->chunks.n;
	return 0;
}

int umbra_dm_view_add(struct umbra_dm_view_plan *plan, const struct umbra_pool *pool,
		      const struct umbra_pool_store *store,
		      const struct umbra_exceptions *exceptions, struct umbra_error *err)
{
	const size_t added = plan->chunks.n - plan->merged;
	uint64_t at;
	size_t i;

	if (added > MERGE_MIN && added > plan->merged && merge(plan) < 0)
		return umbra_oom(err);
	if (umbra_exceptions_reserve(&plan->chunks, exceptions->n) < 0)
		return umbra_oom(err);
	for (i = 0; i < exceptions->n; i++) {
		if (umbra_pool_chunk_at(pool, store, exceptions->e[i].new, &at) < 0)
			return umbra_fail(err, UMBRA_E_DAMAGED, EBADMSG,
					  "exception store %llu has a chunk beyond its end",
					  (unsigned long long)store->number);
		umbra_exceptions_add(&plan->chunks, exceptions->e[i].old, at);
	}
	return 0;
}

static uint32_t segment_of(const struct umbra_dm_view_layout *l, uint64_t at)
{
	return (uint32_t)((at - l->first) / l->geometry.segment_chunks);
}

/* Which segments there are, in the order of their addresses: neighbours become one line. */
static uint32_t number_segments(const struct umbra_dm_view_plan *plan,
				struct umbra_dm_view_layout *l)
{
	uint32_t i, n = 0;
	size_t e;

	memset(l->position, 0xff, l->segments * sizeof(*l->position));
	for (e = 0; e < plan->chunks.n; e++)
		l->position[segment_of(l, plan->chunks.e[e].new)] = 0;
	for (i = 0; i < l->segments; i++) {
		if (l->position[i] != UMBRA_DM_VIEW_UNMAPPED)
			l->position[i] = n++;
	}
	return n;
}

static void add_line(struct umbra_dm_view_layout *l, enum umbra_dm_view_what what, uint64_t count,
		     uint64_t offset)
{
	struct umbra_dm_view_line *last = l->lines + (l->n_lines ? l->n_lines - 1 : 0);

	if (l->n_lines > 0 && last->what == what && last->offset + last->count == offset)
		last->count += count;
	else
		l->lines[l->n_lines++] =
			(struct umbra_dm_view_line){what, l->chunks, count, offset};
	l->chunks += count;
}

/* The place of an area: the exceptions need it, or it is a hole between data. */
static void add_area(struct umbra_dm_view_layout *l, uint64_t area)
{
	if (area + 1 < l->scratch_chunks)
		add_line(l, UMBRA_DM_VIEW_SCRATCH, 1, area + 1);
	else
		add_line(l, UMBRA_DM_VIEW_NONE, 1, 0);
}

static void add_lines(struct umbra_dm_view_layout *l, uint32_t n)
{
	const uint64_t size = l->geometry.segment_chunks;
	const uint64_t per_gap = umbra_dm_epa(l->geometry.chunk_sectors) / size;
	uint32_t i, done = 0;

	add_line(l, UMBRA_DM_VIEW_SCRATCH, 1, 0);
	add_area(l, 0);
	for (i = 0; i < l->segments; i++) {
		if (l->position[i] == UMBRA_DM_VIEW_UNMAPPED)
			continue;
		add_line(l, UMBRA_DM_VIEW_AREA, size, l->first + i * size);
		done++;
		if (done % per_gap == 0 && (done < n || done / per_gap + 1 < l->scratch_chunks))
			add_area(l, done / per_gap);
	}
}

int umbra_dm_view_layout(struct umbra_dm_view_plan *plan, const struct umbra_pool *pool,
			 struct umbra_dm_view_layout *out, struct umbra_error *err)
{
	_cleanup_view_layout_ struct umbra_dm_view_layout l = {
		.geometry = pool->geometry,
		.segments = pool->geometry.segments,
		.first = umbra_pool_segment_at(pool, 0),
	};
	uint32_t n;

	if (merge(plan) < 0)
		return umbra_oom(err);
	umbra_exceptions_trim(&plan->chunks);
	l.position = calloc(l.segments + 1, sizeof(*l.position));
	if (!l.position)
		return umbra_oom(err);
	n = number_segments(plan, &l);
	l.lines = calloc(2 * (size_t)n + 2, sizeof(*l.lines));
	if (!l.lines)
		return umbra_oom(err);
	l.scratch_chunks = umbra_dm_metadata_chunks(umbra_dm_epa(pool->geometry.chunk_sectors),
						    plan->chunks.n);
	add_lines(&l, n);
	*out = l;
	l = (struct umbra_dm_view_layout){0};
	return 0;
}

/* Where the view's store has a chunk of the area. */
static uint64_t new_chunk(const struct umbra_dm_view_layout *l, uint64_t at)
{
	const uint64_t size = l->geometry.segment_chunks;
	const uint64_t i = l->position[segment_of(l, at)] * size + (at - l->first) % size;

	return umbra_dm_data_at(umbra_dm_epa(l->geometry.chunk_sectors), i);
}

void umbra_dm_view_scratch(const struct umbra_dm_view_plan *plan,
			   const struct umbra_dm_view_layout *layout, uint64_t i, void *chunk)
{
	const uint32_t sectors = layout->geometry.chunk_sectors;
	const uint64_t epa = umbra_dm_epa(sectors), from = i > 0 ? (i - 1) * epa : 0;
	const struct umbra_exception *e;
	uint64_t j;

	if (i == 0) {
		umbra_dm_header(sectors, chunk);
		return;
	}
	memset(chunk, 0, (size_t)sectors * UMBRA_DM_SECTOR);
	for (j = 0; j < epa && from + j < plan->chunks.n; j++) {
		e = &plan->chunks.e[from + j];
		umbra_dm_put_exception(chunk, j, e->old, new_chunk(layout, e->new));
	}
}

void umbra_dm_view_mark(const struct umbra_dm_view_layout *layout, bool *mapped)
{
	uint32_t i;

	for (i = 0; i < layout->segments; i++) {
		if (layout->position[i] != UMBRA_DM_VIEW_UNMAPPED)
			mapped[i] = true;
	}
}
