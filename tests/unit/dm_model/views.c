/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copies that are read while all the rest goes on. */
#include <string.h>

#include "parts.h"

bool dm_world_view_read(void *arg, uint64_t chunk, void *buf)
{
	const struct dm_open_view *v = arg;
	const struct umbra_dm_view_line *l;
	size_t i;

	for (i = 0; i < v->layout.n_lines; i++) {
		l = &v->layout.lines[i];
		if (chunk < l->start || chunk - l->start >= l->count)
			continue;
		if (l->what == UMBRA_DM_VIEW_SCRATCH)
			memcpy(buf, v->scratch + (l->offset + chunk - l->start) * CHUNK, CHUNK);
		else if (l->what == UMBRA_DM_VIEW_AREA)
			memcpy(buf,
			       dm_disk_at(v->world->area,
					  l->offset + chunk - l->start - v->layout.first),
			       CHUNK);
		return l->what != UMBRA_DM_VIEW_NONE;
	}
	return false;
}

static bool view_write(void *arg, uint64_t chunk, const void *buf, bool fua)
{
	(void)arg;
	(void)chunk;
	(void)buf;
	(void)fua;
	return false;
}

static uint64_t view_chunks(void *arg)
{
	return ((struct dm_open_view *)arg)->layout.chunks;
}

static void add_to_view(struct dm_open_view *v, const struct umbra_pool_store *store)
{
	_cleanup_exceptions_ struct umbra_exceptions list = {0};
	uint64_t used;

	dm_world_read_store(v->world, store, &list, &used);
	if (umbra_dm_view_add(&v->plan, v->world->pool, store, &list, NULL) < 0)
		dm_world_wrong(v->world, "a store does not fit into a view");
}

/* Makes the device of a plan, as a kernel reads it. */
static void lay_out(struct dm_open_view *v, uint64_t over)
{
	uint64_t i, end = 0;

	umbra_dm_view_layout_finish(&v->layout);
	dm_snap_free(v->snap);
	free(v->scratch);
	if (umbra_dm_view_layout(&v->plan, v->world->pool, &v->layout, NULL) < 0)
		abort();
	v->scratch = calloc(v->layout.scratch_chunks, CHUNK);
	for (i = 0; i < v->layout.scratch_chunks; i++)
		umbra_dm_view_scratch(&v->plan, &v->layout, i, v->scratch + i * CHUNK);
	for (i = 0; i < v->layout.n_lines; i++) {
		if (v->layout.lines[i].start != end)
			dm_world_wrong(v->world, "the lines of a view have a gap");
		end += v->layout.lines[i].count;
	}
	if (end != v->layout.chunks)
		dm_world_wrong(v->world, "a view is not as long as its lines");
	v->over = over;
	v->snap = dm_snap_load(&(struct dm_cow){v, dm_world_view_read, view_write, view_chunks},
			       DM_WORLD_CHUNK_SECTORS, v->world->origin_chunks);
	if (!v->snap->valid)
		dm_world_wrong(v->world, "the kernel cannot read a view's store");
}

void dm_world_open_in(struct dm_world *w, uint32_t copy, struct dm_open_view *v)
{
	const struct umbra_pool_store *live = umbra_pool_live(w->pool);
	uint32_t i, first = umbra_pool_first_store(w->pool, copy), n = w->pool->n_stores - 1;

	v->world = w;
	v->id = w->pool->copies[copy].id;
	for (i = first; i < n; i++)
		add_to_view(v, &w->pool->stores[w->fault == DM_FAULT_MERGE_NEWEST_FIRST
							? n - 1 - (i - first)
							: i]);
	lay_out(v, live->number);
}

void dm_world_open(struct dm_world *w, uint32_t copy)
{
	uint32_t i;

	for (i = 0; i < DM_WORLD_VIEWS; i++) {
		if (w->views[i].id.s[0])
			continue;
		dm_world_open_in(w, copy, &w->views[i]);
		return;
	}
}

void dm_world_close(struct dm_world *w, struct dm_open_view *v)
{
	(void)w;
	umbra_dm_view_finish(&v->plan);
	umbra_dm_view_layout_finish(&v->layout);
	dm_snap_free(v->snap);
	free(v->scratch);
	*v = (struct dm_open_view){0};
}

void dm_world_rebase(struct dm_world *w, const struct umbra_pool_store *sealed, uint64_t over)
{
	uint32_t i;

	for (i = 0; i < DM_WORLD_VIEWS; i++) {
		if (!w->views[i].id.s[0] || w->fault == DM_FAULT_NO_REBASE)
			continue;
		add_to_view(&w->views[i], sealed);
		lay_out(&w->views[i], over);
	}
}
