/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The disks, the kernel, who writes, who looks. */
#include "dm_world.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define CHUNK   ((size_t)DM_WORLD_CHUNK_SECTORS * DM_SECTOR)
#define AT_ONCE 6U

unsigned int dm_world_random(struct dm_world *w, unsigned int below)
{
	return below ? (unsigned int)rand_r(&w->seed) % below : 0;
}

void dm_world_wrong(struct dm_world *w, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (w->wrong++ == 0)
		vsnprintf(w->what, sizeof(w->what), fmt, ap);
	va_end(ap);
}

uint64_t dm_world_first(const struct dm_world *w)
{
	return umbra_pool_segment_at(w->pool, 0);
}

struct dm_world *dm_world_new(unsigned int seed, uint32_t origin_chunks, uint32_t segments)
{
	const struct umbra_pool_geometry g = {DM_WORLD_CHUNK_SECTORS, DM_WORLD_SEGMENT, segments};
	const struct umbra_id area = {"01234567-89ab-4def-8123-456789abcdef"};
	struct dm_world *w = calloc(1, sizeof(*w));
	_cleanup_free_ void *data = NULL;
	uint64_t i;
	size_t len;

	w->seed = seed;
	w->writes = 3;
	w->mounted = true;
	w->origin_chunks = origin_chunks;
	w->origin = dm_disk_new(sizeof(w->next_value), origin_chunks);
	w->area = dm_disk_new(CHUNK, (uint64_t)segments * DM_WORLD_SEGMENT);
	w->slot[0] = dm_disk_new(DM_SECTOR, UMBRA_POOL_SLOT_BYTES / DM_SECTOR / 8);
	w->slot[1] = dm_disk_new(DM_SECTOR, UMBRA_POOL_SLOT_BYTES / DM_SECTOR / 8);
	for (i = 0; i < w->area->n * CHUNK; i++) /* what an old disk has */
		w->area->now[i] = w->area->durable[i] = (unsigned char)rand_r(&w->seed);
	if (umbra_pool_new(&g, &area, "", &w->pool, NULL) < 0 ||
	    umbra_pool_encode(w->pool, &data, &len, NULL) < 0)
		abort();
	umbra_pool_written(w->pool);
	for (i = 0; i < 2; i++) {
		dm_disk_write(w->slot[i], 0, data, len);
		dm_disk_flush(w->slot[i]);
	}
	return w;
}

struct dm_world *dm_world_free(struct dm_world *w)
{
	uint32_t i;

	for (i = 0; i < DM_WORLD_VIEWS; i++)
		dm_world_close(w, &w->views[i]);
	for (i = 0; i < 2; i++) {
		dm_world_unload(&w->kernel[i]);
		dm_disk_free(w->slot[i]);
	}
	for (i = 0; i < w->n_remembered; i++)
		free(w->remembered[i].content);
	free(w->remembered);
	dm_disk_free(w->origin);
	dm_disk_free(w->area);
	umbra_pool_free(w->pool);
	free(w);
	return NULL;
}

/* --- the kernel --- */

static bool table_chunk(const struct dm_in_kernel *k, uint64_t chunk, uint64_t *at)
{
	if (chunk / DM_WORLD_SEGMENT >= k->n_table)
		return false;
	*at = (uint64_t)k->table[chunk / DM_WORLD_SEGMENT] * DM_WORLD_SEGMENT +
	      chunk % DM_WORLD_SEGMENT;
	return true;
}

static bool cow_read(void *arg, uint64_t chunk, void *buf)
{
	struct dm_in_kernel *k = arg;
	uint64_t at;

	if (!table_chunk(k, chunk, &at))
		return false;
	memcpy(buf, dm_disk_at(k->world->area, at), CHUNK);
	return true;
}

static bool cow_write(void *arg, uint64_t chunk, const void *buf, bool fua)
{
	struct dm_in_kernel *k = arg;
	uint64_t at;

	if (!table_chunk(k, chunk, &at))
		return false;
	dm_disk_write(k->world->area, at, buf, CHUNK);
	if (fua)
		dm_disk_flush(k->world->area);
	return true;
}

static uint64_t cow_chunks(void *arg)
{
	return (uint64_t)((struct dm_in_kernel *)arg)->n_table * DM_WORLD_SEGMENT;
}

struct dm_in_kernel *dm_world_in_kernel(struct dm_world *w, uint64_t number)
{
	if (number == 0)
		return NULL;
	if (w->kernel[0].number == number)
		return &w->kernel[0];
	return w->kernel[1].number == number ? &w->kernel[1] : NULL;
}

void dm_world_set_table(struct dm_in_kernel *k, const struct umbra_segments *list, uint32_t n)
{
	free(k->table);
	k->table = calloc(n + 1, sizeof(*k->table));
	memcpy(k->table, list->at, n * sizeof(*k->table));
	k->n_table = n;
}

void dm_world_load(struct dm_world *w, const struct umbra_pool_store *store)
{
	const struct dm_cow cow = {NULL, cow_read, cow_write, cow_chunks};
	struct dm_in_kernel *k = &w->kernel[w->kernel[0].number ? 1 : 0];

	if (k->number) {
		dm_world_wrong(w, "a third store for the kernel");
		return;
	}
	k->world = w;
	k->number = store->number;
	k->resumed = false;
	dm_world_set_table(k, &store->segments, store->segments.n);
	k->snap = dm_snap_load(&(struct dm_cow){k, cow.read, cow.write, cow.chunks},
			       DM_WORLD_CHUNK_SECTORS, w->origin_chunks);
}

/* The newer one moves up: callbacks go to where it is. */
void dm_world_unload(struct dm_in_kernel *k)
{
	struct dm_in_kernel *next;

	dm_snap_free(k->snap);
	free(k->table);
	if (k->world && k == &k->world->kernel[0] && k->world->kernel[1].number) {
		next = &k->world->kernel[1];
		*k = *next;
		k->snap->cow.arg = k;
		k = next;
	}
	*k = (struct dm_in_kernel){0};
}

static uint64_t value_at(const struct dm_world *w, uint64_t area_chunk)
{
	uint64_t value;

	memcpy(&value, dm_disk_at(w->area, area_chunk), sizeof(value));
	return value;
}

static uint64_t origin_value(const struct dm_world *w, uint64_t chunk)
{
	uint64_t value;

	memcpy(&value, dm_disk_at(w->origin, chunk), sizeof(value));
	return value;
}

static uint64_t snap_value(const struct dm_in_kernel *k, uint64_t chunk)
{
	uint64_t at;

	if (!k->snap->map[chunk])
		return origin_value(k->world, chunk);
	if (!table_chunk(k, k->snap->map[chunk], &at))
		return UINT64_MAX;
	return value_at(k->world, at);
}

/* --- who writes --- */

/* Has every live store room for that many first writes, and for the area after them? */
static bool has_room(const struct dm_world *w, uint64_t n)
{
	const struct dm_in_kernel *k;

	for (k = w->kernel; k < w->kernel + 2; k++) {
		if (k->number && k->resumed &&
		    k->snap->next_free + 2 * n + 3 >= (uint64_t)k->n_table * DM_WORLD_SEGMENT)
			return false;
	}
	return true;
}

static void copy_out(struct dm_in_kernel *k, uint64_t chunk, uint64_t new)
{
	unsigned char data[CHUNK];
	const uint64_t value = origin_value(k->world, chunk);

	memset(data, 0xdd, sizeof(data));
	memcpy(data, &value, sizeof(value));
	cow_write(k, new, data, false);
}

/* n writes at a time, chunks all different: places first, then exceptions in any order. */
static void write_batch(struct dm_world *w, uint64_t *chunks, uint32_t n)
{
	uint64_t new[2][AT_ONCE] = {{0}};
	struct dm_in_kernel *k;
	uint32_t i, s;

	for (s = 0; s < 2; s++) {
		k = &w->kernel[s];
		for (i = 0; i < n && k->number && k->resumed; i++) {
			if (k->snap->map[chunks[i]])
				continue;
			new[s][i] = dm_snap_allocate(k->snap);
			copy_out(k, chunks[i], new[s][i]);
		}
	}
	for (i = 0; i < n; i++) {
		for (s = 0; s < 2; s++) {
			if (new[s][i])
				dm_snap_commit(w->kernel[s].snap, chunks[i], new[s][i]);
		}
	}
	for (i = 0; i < n; i++) {
		w->next_value++;
		dm_disk_write(w->origin, chunks[i], &w->next_value, sizeof(w->next_value));
	}
}

void dm_world_write(struct dm_world *w, unsigned int n)
{
	uint64_t chunks[AT_ONCE], swap;
	uint32_t i, j, batch;

	while (n > 0 && w->mounted) {
		batch = 1 + dm_world_random(w, n < AT_ONCE ? n : AT_ONCE);
		n -= batch < n ? batch : n;
		if (!has_room(w, batch)) {
			w->stalled++;
			return;
		}
		/* Most writes go to one place for a while; so stores have much or little in common.
		 */
		if (dm_world_random(w, 40) == 0)
			w->busy_at = dm_world_random(w, w->origin_chunks);
		chunks[0] = dm_world_random(w, w->origin_chunks / 8);
		if (dm_world_random(w, 8) == 0)
			chunks[0] = dm_world_random(w, w->origin_chunks);
		chunks[0] = (chunks[0] + w->busy_at) % w->origin_chunks;
		for (i = 1; i < batch; i++)
			chunks[i] = (chunks[0] + i * 3ULL) % w->origin_chunks;
		for (i = batch - 1; i > 0; i--) {
			j = dm_world_random(w, i + 1);
			swap = chunks[i];
			chunks[i] = chunks[j];
			chunks[j] = swap;
		}
		write_batch(w, chunks, batch);
	}
}

bool dm_world_act(struct dm_world *w)
{
	if (w->dead)
		return false;
	if (w->fuse > 0 && --w->fuse == 0) {
		w->dead = true;
		return false;
	}
	if (!w->held && w->writes > 0)
		dm_world_write(w, dm_world_random(w, w->writes + 1));
	if (dm_world_random(w, 4) == 0)
		dm_world_check_open(w);
	return true;
}

/* --- views --- */

struct reading {
	struct dm_world *w;
	const struct umbra_pool_store *store;
};

static int read_chunk(void *arg, uint64_t chunk, void *buf, struct umbra_error *err)
{
	const struct reading *r = arg;
	uint64_t at;

	if (umbra_pool_chunk_at(r->w->pool, r->store, chunk, &at) < 0)
		return umbra_fail(err, UMBRA_E_IO, EIO, "beyond the store");
	memcpy(buf, dm_disk_at(r->w->area, at - dm_world_first(r->w)), CHUNK);
	return 0;
}

void dm_world_read_store(struct dm_world *w, const struct umbra_pool_store *store,
			 struct umbra_exceptions *out, uint64_t *used)
{
	struct reading r = {w, store};
	const struct umbra_dm_store_shape shape =
		umbra_pool_store_shape(w->pool, store, w->origin_chunks);
	struct umbra_error err;

	*used = 0;
	if (umbra_dm_store_read(&shape, read_chunk, &r, out, used, &err) < 0)
		dm_world_wrong(w, "store %u: %s", (unsigned int)store->number, err.text);
}

static bool view_read(void *arg, uint64_t chunk, void *buf)
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
	v->snap = dm_snap_load(&(struct dm_cow){v, view_read, view_write, view_chunks},
			       DM_WORLD_CHUNK_SECTORS, v->world->origin_chunks);
	if (!v->snap->valid)
		dm_world_wrong(v->world, "the kernel cannot read a view's store");
}

static void open_view(struct dm_world *w, uint32_t copy, struct dm_open_view *v)
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
		open_view(w, copy, &w->views[i]);
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
			content[i] = snap_value(k, i);
		else if (v->snap->map[i] && view_read((void *)v, v->snap->map[i], data))
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
		content[i] = k ? snap_value(k, i) : UINT64_MAX;
	for (i = w->pool->n_copies; i-- > 0 && w->pool->copies[i].state != UMBRA_POOL_LOST;) {
		for (j = umbra_pool_first_store(w->pool, i); store > j;) {
			s = &w->pool->stores[--store];
			list = (struct umbra_exceptions){0};
			dm_world_read_store(w, s, &list, &used);
			while (list.n-- > 0) {
				umbra_pool_chunk_at(w->pool, s, list.e[list.n].new, &at);
				content[list.e[list.n].old] = value_at(w, at - dm_world_first(w));
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
		open_view(w, i, &v);
		check_view(w, &v);
		dm_world_close(w, &v);
	}
}
