/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The stores that the kernel has, and what is read through them. */
#include <string.h>

#include "parts.h"

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

uint64_t dm_world_area_value(const struct dm_world *w, uint64_t area_chunk)
{
	uint64_t value;

	memcpy(&value, dm_disk_at(w->area, area_chunk), sizeof(value));
	return value;
}

uint64_t dm_world_origin_value(const struct dm_world *w, uint64_t chunk)
{
	uint64_t value;

	memcpy(&value, dm_disk_at(w->origin, chunk), sizeof(value));
	return value;
}

uint64_t dm_world_snap_value(const struct dm_in_kernel *k, uint64_t chunk)
{
	uint64_t at;

	if (!k->snap->map[chunk])
		return dm_world_origin_value(k->world, chunk);
	if (!table_chunk(k, k->snap->map[chunk], &at))
		return UINT64_MAX;
	return dm_world_area_value(k->world, at);
}

void dm_world_copy_out(struct dm_in_kernel *k, uint64_t chunk, uint64_t new)
{
	unsigned char data[CHUNK];
	const uint64_t value = dm_world_origin_value(k->world, chunk);

	memset(data, 0xdd, sizeof(data));
	memcpy(data, &value, sizeof(value));
	cow_write(k, new, data, false);
}

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
