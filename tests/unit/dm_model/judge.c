/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Is what can be read what was there? */
#include <string.h>

#include "parts.h"

/* What the volume held when the copy was made; NULL: it never was. Ids count from 1. */
static const uint64_t *remembered(struct dm_world *w, const struct umbra_id *id)
{
	const unsigned long n = strtoul(id->s, NULL, 16);

	if (n >= 1 && n <= w->n_remembered)
		return w->remembered[n - 1].content;
	dm_world_wrong(w, "copy %.8s was never made", id->s);
	return NULL;
}

static void compare(struct dm_world *w, const struct umbra_id *id, const uint64_t *content,
		    const char *how)
{
	const uint64_t *was = remembered(w, id);
	uint32_t i;

	if (!was || memcmp(content, was, w->origin_chunks * sizeof(*was)) == 0)
		return;
	for (i = 0; content[i] == was[i];)
		i++;
	dm_world_wrong(w, "copy %.8s, %s: chunk %u is %llu, was %llu", id->s, how, i,
		       (unsigned long long)content[i], (unsigned long long)was[i]);
}

static void check_view(struct dm_world *w, const struct dm_open_view *v)
{
	const struct dm_in_kernel *k = dm_world_in_kernel(w, v->over);
	_cleanup_free_ uint64_t *content = calloc(w->origin_chunks, sizeof(*content));
	unsigned char data[CHUNK];
	uint64_t i;

	for (i = 0; i < w->origin_chunks; i++) {
		content[i] = UINT64_MAX;
		if (!v->snap->map[i] && k)
			content[i] = dm_world_snap_value(k, i);
		else if (v->snap->map[i] && dm_world_view_read((void *)v, v->snap->map[i], data))
			memcpy(&content[i], data, sizeof(*content));
	}
	compare(w, &v->id, content, "view");
}

void dm_world_check_open(struct dm_world *w)
{
	uint32_t i;

	for (i = 0; i < DM_WORLD_VIEWS; i++) {
		if (w->views[i].id.s[0])
			check_view(w, &w->views[i]);
	}
}

/* From the newest store down to each copy's first: what is older covers what is newer. */
static void check_stores(struct dm_world *w)
{
	const struct dm_in_kernel *k = dm_world_in_kernel(w, umbra_pool_live(w->pool)->number);
	_cleanup_free_ uint64_t *content = calloc(w->origin_chunks, sizeof(*content));
	const struct umbra_pool_store *s;
	uint32_t i, j, store = w->pool->n_stores - 1;
	struct umbra_exceptions list;
	uint64_t at, used;

	for (i = 0; i < w->origin_chunks; i++)
		content[i] = k ? dm_world_snap_value(k, i) : UINT64_MAX;
	for (i = w->pool->n_copies; i-- > 0 && w->pool->copies[i].state != UMBRA_POOL_LOST;) {
		for (j = umbra_pool_first_store(w->pool, i); store > j;) {
			s = &w->pool->stores[--store];
			list = (struct umbra_exceptions){0};
			dm_world_read_store(w, s, &list, &used);
			while (list.n-- > 0) {
				umbra_pool_chunk_at(w->pool, s, list.e[list.n].new, &at);
				content[list.e[list.n].old] =
					dm_world_area_value(w, at - dm_world_first(w));
			}
			umbra_exceptions_finish(&list);
		}
		if (w->pool->copies[i].state == UMBRA_POOL_KEPT)
			compare(w, &w->pool->copies[i].id, content, "stores");
	}
}

static void check_there(struct dm_world *w)
{
	const struct dm_remembered *r;
	uint32_t i;

	for (r = w->remembered; r < w->remembered + w->n_remembered; r++) {
		i = umbra_pool_find(w->pool, &r->id);
		if (r->made && !r->deleted &&
		    (i == w->pool->n_copies || w->pool->copies[i].state != UMBRA_POOL_KEPT))
			dm_world_wrong(w, "copy %.8s is gone", r->id.s);
	}
}

void dm_world_check(struct dm_world *w, unsigned int n_views)
{
	struct dm_open_view v = {0};
	struct umbra_error err;
	uint32_t i, n = w->pool->n_copies;

	if (umbra_pool_check(w->pool, &err) < 0)
		dm_world_wrong(w, "%s", err.text);
	check_there(w);
	if (!umbra_pool_live(w->pool))
		return;
	check_stores(w);
	dm_world_check_open(w);
	for (i = 0; i < n; i++) {
		if (w->pool->copies[i].state != UMBRA_POOL_KEPT ||
		    (n > n_views && i > 0 && dm_world_random(w, n) >= n_views))
			continue;
		dm_world_open_in(w, i, &v);
		check_view(w, &v);
		dm_world_close(w, &v);
	}
}
