/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/provider/dm/device/wall.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>

/* While writers are stuck at one wall the next is built behind what they get, and so on until there
 * is a moment without them, which on a slow disk may be late. umbrad gives an eighth of the pool at
 * a time, so there is no reason for more. */
#define WALLS 16

void umbra_store_name(const struct umbra_kernel *k, const char *kind, uint64_t store,
		      struct umbra_device_name *out)
{
	char role[UMBRA_DEVICE_NAME_MAX / 2];

	snprintf(role, sizeof(role), "%s%" PRIu64, kind, store);
	umbra_device_name(&k->area, role, out);
}

static void name_wall(const struct umbra_kernel *k, uint64_t store, int i,
		      struct umbra_device_name *out)
{
	char kind[16];

	snprintf(kind, sizeof(kind), "wall%c", 'a' + i);
	umbra_store_name(k, kind, store, out);
}

static uint64_t sectors(const struct umbra_pool *pool, uint64_t chunks)
{
	return chunks * pool->geometry.chunk_sectors;
}

/* The store's segments, as lines. */
static int add_segments(const struct umbra_kernel *k, const struct umbra_pool *pool,
			const struct umbra_segments *list, struct umbra_dm_table *table,
			struct umbra_error *err)
{
	uint32_t i, run;
	int r = 0;

	for (i = 0; r == 0 && i < list->n; i += run) {
		run = umbra_segments_run(list, i);
		r = umbra_dm_table_add(
			table, sectors(pool, (uint64_t)run * pool->geometry.segment_chunks),
			"linear", err, "%u:%u %" PRIu64, major(k->pool), minor(k->pool),
			sectors(pool, umbra_pool_segment_at(pool, list->at[i])));
	}
	return r;
}

static uint64_t total(const struct umbra_pool *pool)
{
	return sectors(pool, umbra_pool_chunks(pool));
}

/* The rest, up to the length of the pool, is the wall at the same place. */
static int add_wall(const struct umbra_pool *pool, dev_t wall, struct umbra_dm_table *table,
		    struct umbra_error *err)
{
	uint64_t at = umbra_dm_table_sectors(table);

	return umbra_dm_table_add(table, total(pool) - at, "linear", err, "%u:%u %" PRIu64,
				  major(wall), minor(wall), at);
}

int umbra_wall_table(const struct umbra_kernel *k, const struct umbra_pool *pool,
		     const struct umbra_pool_store *store, dev_t wall, struct umbra_dm_table *table,
		     struct umbra_error *err)
{
	int r = add_segments(k, pool, &store->segments, table, err);

	return r < 0 ? r : add_wall(pool, wall, table, err);
}

/* From here on whoever comes to it waits. */
static int close_wall(const char *name, struct umbra_error *err)
{
	return umbra_dm_suspend(umbra_dm_named(name), UMBRA_DM_NO_LOCKFS | UMBRA_DM_NO_FLUSH, err);
}

int umbra_wall_make(const struct umbra_kernel *k, const struct umbra_pool *pool, uint64_t store,
		    bool open, dev_t *out, struct umbra_error *err)
{
	_cleanup_dm_table_ struct umbra_dm_table table = {0};
	struct umbra_device_name name;
	struct umbra_dm_info info;
	int i, r = 0;

	for (i = 0; i < WALLS && r == 0; i++) {
		name_wall(k, store, i, &name);
		r = umbra_dm_info(umbra_dm_named(name.name), &info, err);
	}
	if (r == 0)
		return umbra_fail(err, UMBRA_E_BUSY, EBUSY,
				  "writers are stuck at %d walls of store %" PRIu64 " already",
				  WALLS, store);
	r = r < 0 ? r : umbra_dm_table_add(&table, total(pool), "error", err, "%s", "");
	if (r == 0)
		r = umbra_dm_create(name.name, name.uuid, &table, 0, out, err);
	return r < 0 || open ? r : close_wall(name.name, err);
}

/* The device that the last line of a table names: where what lies beyond is. */
static int behind(const char *name, dev_t *out, struct umbra_error *err)
{
	_cleanup_dm_table_ struct umbra_dm_table table = {0};
	unsigned int maj, min;
	int r = umbra_dm_table(umbra_dm_named(name), UMBRA_DM_LIVE, &table, err);

	if (r < 0)
		return r;
	if (table.n == 0 || strcmp(table.v[table.n - 1].target, "linear") != 0 ||
	    sscanf(table.v[table.n - 1].params, "%u:%u ", &maj, &min) != 2)
		return umbra_fail(err, UMBRA_E_INTERNAL, ENXIO, "there is no wall behind '%s'",
				  name);
	*out = makedev(maj, min);
	return 0;
}

/* The walls that there are; a NONE has no device number. Tables that a killed process has loaded
 * and not put in force are dropped: they keep devices in use. */
static int look_at_walls(const struct umbra_kernel *k, uint64_t store,
			 struct umbra_dm_info walls[WALLS], struct umbra_error *err)
{
	struct umbra_device_name name;
	int i, r = 0;

	for (i = 0; r == 0 && i < WALLS; i++) {
		walls[i] = (struct umbra_dm_info){0};
		name_wall(k, store, i, &name);
		r = umbra_dm_info(umbra_dm_named(name.name), &walls[i], err);
		if (r == 0 && walls[i].loaded)
			r = umbra_dm_unload(umbra_dm_named(name.name), err);
		else if (r == UMBRA_DM_NONE)
			r = 0;
	}
	return r;
}

/* The next one that can go: one that no other leads to, if there is such a one. */
static int find_superfluous(const struct umbra_dm_info walls[WALLS], const bool keep[WALLS])
{
	int i, found = WALLS;

	for (i = 0; i < WALLS; i++)
		if (walls[i].dev && !keep[i] && (found == WALLS || walls[i].open_count == 0))
			found = i;
	return found;
}

static int remove_walls(const struct umbra_kernel *k, uint64_t store, const bool keep[WALLS],
			struct umbra_error *err)
{
	struct umbra_dm_info walls[WALLS];
	int i, r;

	do {
		r = look_at_walls(k, store, walls, err);
		i = r < 0 ? WALLS : find_superfluous(walls, keep);
		if (i < WALLS)
			r = umbra_dm_remove(walls[i].name, UMBRA_DM_REMOVE_NOW, err);
	} while (r >= 0 && i < WALLS);
	return r < 0 ? r : 0;
}

static int find(const struct umbra_dm_info walls[WALLS], dev_t dev)
{
	int i;

	for (i = 0; i < WALLS && walls[i].dev != dev; i++)
		;
	return i;
}

/* Given up: who comes to it gets errors. */
static bool is_given_up(const struct umbra_dm_info *wall)
{
	_cleanup_dm_table_ struct umbra_dm_table table = {0};

	return !wall->suspended &&
	       umbra_dm_table(umbra_dm_named(wall->name), UMBRA_DM_LIVE, &table, NULL) == 0 &&
	       table.n == 1 && strcmp(table.v[0].target, "error") == 0;
}

static bool is_end(const struct umbra_dm_info *wall)
{
	return wall->suspended || is_given_up(wall);
}

/* Of a store that has all of the pool none is in use: any will do. */
static int find_end(const struct umbra_dm_info walls[WALLS])
{
	int i;

	for (i = 0; i < WALLS && !(walls[i].dev && is_end(&walls[i])); i++)
		;
	return i;
}

/* cow<S> ends at it, or at one that leads to it since it was opened. */
int umbra_wall_find(const struct umbra_kernel *k, uint64_t store, struct umbra_dm_info *out,
		    struct umbra_error *err)
{
	struct umbra_dm_info walls[WALLS];
	bool on_the_way[WALLS] = {false};
	struct umbra_device_name cow;
	dev_t dev = 0;
	int i = WALLS, r;

	umbra_store_name(k, "cow", store, &cow);
	r = umbra_dm_unload(umbra_dm_named(cow.name), err);
	if (r == 0)
		r = look_at_walls(k, store, walls, err);
	if (r == 0)
		r = behind(cow.name, &dev, err);
	if (r == 0)
		i = find(walls, dev);
	while (r == 0 && i < WALLS && !is_end(&walls[i]) && !on_the_way[i]) {
		on_the_way[i] = true;
		r = behind(walls[i].name, &dev, err);
		i = find(walls, dev);
	}
	if (r < 0)
		return r;
	if (i == WALLS)
		i = find_end(walls);
	if (i == WALLS || !is_end(&walls[i]))
		return umbra_fail(err, UMBRA_E_INTERNAL, ENXIO, "there is no wall behind '%s'",
				  cow.name);
	on_the_way[i] = true;
	*out = walls[i];
	return remove_walls(k, store, on_the_way, err);
}

int umbra_wall_keep(const struct umbra_kernel *k, uint64_t store, dev_t except,
		    struct umbra_error *err)
{
	struct umbra_dm_info walls[WALLS];
	bool keep[WALLS];
	int i, r = look_at_walls(k, store, walls, err);

	for (i = 0; i < WALLS; i++)
		keep[i] = except && walls[i].dev == except;
	return r < 0 ? r : remove_walls(k, store, keep, err);
}

int umbra_wall_too_short(const struct umbra_pool *pool, const struct umbra_dm_info *wall,
			 struct umbra_error *err)
{
	_cleanup_dm_table_ struct umbra_dm_table table = {0};
	int r = umbra_dm_table(umbra_dm_named(wall->name), UMBRA_DM_LIVE, &table, err);

	return r < 0 ? r : umbra_dm_table_sectors(&table) < total(pool);
}

/* Its first part, which nothing maps to it, is of no use: the same lines, for simplicity. */
int umbra_wall_open(const struct umbra_kernel *k, const struct umbra_pool *pool,
		    const struct umbra_pool_store *store, const struct umbra_dm_info *wall,
		    dev_t next, struct umbra_error *err)
{
	_cleanup_dm_table_ struct umbra_dm_table table = {0};
	int r = umbra_wall_table(k, pool, store, next, &table, err);

	if (r == 0)
		r = umbra_dm_load(umbra_dm_named(wall->name), &table, 0, err);
	return r < 0 ? r : umbra_dm_resume(umbra_dm_named(wall->name), err);
}

/* Where the wall at the end of this device begins, and where the device ends; *next is that wall,
 * suspended or not. 1: there is none, and at is the end. */
static int wall_of(const struct umbra_kernel *k, struct umbra_dm_ref ref, uint64_t *at,
		   uint64_t *end, struct umbra_dm_info *next, struct umbra_error *err)
{
	_cleanup_dm_table_ struct umbra_dm_table table = {0};
	const struct umbra_dm_line *last;
	unsigned int maj, min;
	const char *role;
	int r = umbra_dm_table(ref, UMBRA_DM_LIVE, &table, err);

	if (r < 0)
		return r;
	last = table.n ? &table.v[table.n - 1] : NULL;
	*at = umbra_dm_table_sectors(&table);
	if (end)
		*end = *at;
	if (!last || sscanf(last->params, "%u:%u ", &maj, &min) != 2)
		return 1;
	r = umbra_dm_info(umbra_dm_numbered(makedev(maj, min)), next, err);
	if (r < 0)
		return r;
	role = r == 0 ? umbra_device_role(&k->area, next->uuid) : NULL;
	if (!role || strncmp(role, "wall", 4) != 0)
		return 1;
	*at -= last->length;
	return 0;
}

int umbra_wall_chunks(const struct umbra_kernel *k, uint64_t store, uint64_t *chunks,
		      struct umbra_error *err)
{
	struct umbra_device_name cow;
	struct umbra_dm_info wall = {0};
	uint64_t at, end;
	int i, r;

	umbra_store_name(k, "cow", store, &cow);
	r = wall_of(k, umbra_dm_named(cow.name), &at, &end, &wall, err);
	for (i = 0; r == 0 && !is_end(&wall) && i < WALLS; i++)
		r = wall_of(k, umbra_dm_numbered(wall.dev), &at, NULL, &wall, err);
	if (r < 0)
		return r;
	/* A longer wall behind a device that is not yet is of no use. */
	*chunks = (at < end ? at : end) / UMBRA_DM_CHUNK_SECTORS;
	return 0;
}

int umbra_wall_give_up(const struct umbra_kernel *k, uint64_t store, struct umbra_error *err)
{
	struct umbra_device_name name;
	struct umbra_dm_info info;
	int i, r = 0, one;

	for (i = 0; i < WALLS; i++) {
		name_wall(k, store, i, &name);
		one = umbra_dm_info(umbra_dm_named(name.name), &info, err);
		if (one == 0 && info.loaded)
			one = umbra_dm_unload(umbra_dm_named(name.name), err);
		if (one == 0 && info.suspended)
			one = umbra_dm_resume(umbra_dm_named(name.name), err);
		if (one < 0)
			r = one;
	}
	return r;
}

int umbra_wall_close(const struct umbra_kernel *k, uint64_t store, struct umbra_error *err)
{
	struct umbra_dm_info wall;
	int r = umbra_wall_find(k, store, &wall, err);

	return r < 0 || wall.suspended ? r : close_wall(wall.name, err);
}

int umbra_wall_close_first(const struct umbra_kernel *k, uint64_t store, struct umbra_error *err)
{
	struct umbra_device_name first;

	name_wall(k, store, 0, &first);
	return close_wall(first.name, err);
}
