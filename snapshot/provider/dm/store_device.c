/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/provider/dm/store_device.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "common/fault.h"
#include "common/token.h"
#include "snapshot/sys/limit.h"

/* While writers are stuck at one wall the next is built behind what they get, and so on until there
 * is a moment without them. */
#define WALLS 6

static void name_of(const struct umbra_kernel *k, const char *kind, uint64_t store,
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
	name_of(k, kind, store, out);
}

static uint64_t sectors(const struct umbra_pool *pool, uint64_t chunks)
{
	return chunks * pool->geometry.chunk_sectors;
}

/* The store's segments, from index `from` on, as lines. */
static int add_segments(const struct umbra_kernel *k, const struct umbra_pool *pool,
			const struct umbra_segments *list, uint32_t from,
			struct umbra_dm_table *table, struct umbra_error *err)
{
	uint32_t i, run;
	int r = 0;

	for (i = from; r == 0 && i < list->n; i += run) {
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

/* From here on whoever comes to it waits. */
static int close_wall(const char *name, struct umbra_error *err)
{
	return umbra_dm_suspend(umbra_dm_named(name), UMBRA_DM_NO_LOCKFS | UMBRA_DM_NO_FLUSH, err);
}

/* One more, under a name that no other has. open: nobody waits at it yet, they get errors. */
static int make_wall(const struct umbra_kernel *k, const struct umbra_pool *pool, uint64_t store,
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

/* Of a store that has all of the pool none is in use: any will do. */
static int find_suspended(const struct umbra_dm_info walls[WALLS])
{
	int i;

	for (i = 0; i < WALLS && !walls[i].suspended; i++)
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

/* The wall that nobody gets through: cow<S> ends at it, or at one that leads to it since it was
 * opened. Those that killed processes left beside that way are removed. */
static int find_wall(const struct umbra_kernel *k, uint64_t store, struct umbra_dm_info *out,
		     struct umbra_error *err)
{
	struct umbra_dm_info walls[WALLS];
	bool on_the_way[WALLS] = {false};
	struct umbra_device_name cow;
	dev_t dev = 0;
	int i = WALLS, r;

	name_of(k, "cow", store, &cow);
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
		i = find_suspended(walls);
	if (i == WALLS || !is_end(&walls[i]))
		return umbra_fail(err, UMBRA_E_INTERNAL, ENXIO, "there is no wall behind '%s'",
				  cow.name);
	on_the_way[i] = true;
	*out = walls[i];
	return remove_walls(k, store, on_the_way, err);
}

static int keep_wall(const struct umbra_kernel *k, uint64_t store, dev_t except,
		     struct umbra_error *err)
{
	struct umbra_dm_info walls[WALLS];
	bool keep[WALLS];
	int i, r = look_at_walls(k, store, walls, err);

	for (i = 0; i < WALLS; i++)
		keep[i] = except && walls[i].dev == except;
	return r < 0 ? r : remove_walls(k, store, keep, err);
}

static int make_cow(const struct umbra_kernel *k, const struct umbra_pool *pool,
		    const struct umbra_pool_store *store, dev_t wall, dev_t *out,
		    struct umbra_error *err)
{
	_cleanup_dm_table_ struct umbra_dm_table table = {0};
	struct umbra_device_name name;
	int r = add_segments(k, pool, &store->segments, 0, &table, err);

	if (r == 0)
		r = add_wall(pool, wall, &table, err);
	name_of(k, "cow", store->number, &name);
	if (r == 0)
		r = umbra_dm_create(name.name, name.uuid, &table, 0, out, err);
	return r;
}

static int make_snap(const struct umbra_kernel *k, const struct umbra_pool *pool, uint64_t store,
		     dev_t cow, dev_t *out, struct umbra_error *err)
{
	_cleanup_dm_table_ struct umbra_dm_table table = {0};
	struct umbra_device_name name;
	int r = umbra_dm_table_add(&table, k->sectors, "snapshot", err, "%u:%u %u:%u P %u",
				   major(k->real), minor(k->real), major(cow), minor(cow),
				   pool->geometry.chunk_sectors);

	name_of(k, "snap", store, &name);
	if (r == 0)
		r = umbra_dm_create(name.name, name.uuid, &table, UMBRA_DM_LOAD_ONLY, out, err);
	return r;
}

int umbra_store_device_make(const struct umbra_kernel *k, const struct umbra_pool *pool,
			    const struct umbra_pool_store *store, dev_t *snap,
			    struct umbra_error *err)
{
	struct umbra_device_name first;
	dev_t wall, cow, dev;
	int r = umbra_store_device_remove(k, store->number, err);

	if (r == 0)
		r = make_wall(k, pool, store->number, true, &wall, err);
	if (r == 0)
		r = umbra_fault_fail("dm.wall-made", err);
	if (r == 0)
		r = make_cow(k, pool, store, wall, &cow, err);
	if (r == 0)
		r = umbra_fault_fail("dm.cow-made", err);
	if (r == 0)
		r = make_snap(k, pool, store->number, cow, &dev, err);
	/* Not earlier: whoever loads a store that has something in it reads ahead, to beyond what
	 * was granted, and waits for that. */
	name_wall(k, store->number, 0, &first);
	if (r == 0)
		r = close_wall(first.name, err);
	if (r < 0) {
		umbra_store_device_remove(k, store->number, NULL);
		return r;
	}
	if (snap)
		*snap = dev;
	return 0;
}

/* "ALLOCATED/TOTAL METADATA" in sectors, or a word. */
static int parse_status(const struct umbra_dm_table *status, enum umbra_store_state *out,
			uint64_t *used, uint32_t chunk_sectors)
{
	uint64_t allocated;

	if (status->n != 1 || sscanf(status->v[0].params, "%" SCNu64 "/", &allocated) != 1) {
		*out = UMBRA_STORE_INVALID;
		return 0;
	}
	*out = UMBRA_STORE_LIVE;
	if (used)
		*used = allocated / chunk_sectors;
	return 0;
}

int umbra_store_device_state(const struct umbra_kernel *k, uint64_t store,
			     enum umbra_store_state *out, uint64_t *used, struct umbra_error *err)
{
	_cleanup_dm_table_ struct umbra_dm_table status = {0};
	struct umbra_device_name name;
	struct umbra_dm_info info;
	int r;

	name_of(k, "snap", store, &name);
	r = umbra_dm_info(umbra_dm_named(name.name), &info, err);
	if (r < 0)
		return r;
	*out = r == UMBRA_DM_NONE ? UMBRA_STORE_ABSENT : UMBRA_STORE_LOADED;
	if (used)
		*used = 0;
	if (r == UMBRA_DM_NONE || !info.live)
		return 0;
	r = umbra_dm_status(umbra_dm_named(name.name), UMBRA_DM_LIVE, &status, err);
	return r < 0 ? r : parse_status(&status, out, used, UMBRA_DM_CHUNK_SECTORS);
}

int umbra_store_device_any_live(const struct umbra_kernel *k, struct umbra_error *err)
{
	_cleanup_dm_list_ struct umbra_dm_list list = {0};
	enum umbra_store_state state = UMBRA_STORE_ABSENT;
	struct umbra_device_name prefix;
	uint64_t number;
	size_t i;
	int r;

	umbra_device_name(&k->area, "snap", &prefix);
	r = umbra_dm_list(prefix.uuid, &list, err);
	for (i = 0; r == 0 && i < list.n && state != UMBRA_STORE_LIVE; i++) {
		number = strtoull(list.v[i].uuid + strlen(prefix.uuid), NULL, 10);
		r = umbra_store_device_state(k, number, &state, NULL, err);
	}
	return r < 0 ? r : state == UMBRA_STORE_LIVE;
}

int umbra_store_device_number(const struct umbra_kernel *k, uint64_t store, dev_t *out,
			      struct umbra_error *err)
{
	struct umbra_device_name name;
	struct umbra_dm_info info;
	int r;

	name_of(k, "snap", store, &name);
	r = umbra_dm_info(umbra_dm_named(name.name), &info, err);
	if (r == UMBRA_DM_NONE)
		return umbra_fail(err, UMBRA_E_INTERNAL, ENXIO, "there is no '%s' any more",
				  name.name);
	if (r == 0)
		*out = info.dev;
	return r;
}

/* Puts the loaded table in force. 1: what was under way did not come out in time, and the device is
 * as it was. Kernels before 6.8 say EINVAL for that, and drop the loaded table. */
static int resume_cow(const char *name, struct umbra_error *err)
{
	int64_t begun = umbra_now_us();
	struct umbra_limit limit;
	int r = umbra_limit_start(&limit, UMBRA_STORE_DRAIN_MS);

	if (r < 0)
		return umbra_fail_errno(err, r, "cannot set a time limit");
	r = umbra_dm_resume(umbra_dm_named(name), err);
	umbra_limit_stop(&limit);
	if (r == 0 || umbra_now_us() - begun < (int64_t)UMBRA_STORE_DRAIN_MS * 1000)
		return r;
	r = umbra_dm_unload(umbra_dm_named(name), err);
	return r < 0 ? r : 1;
}

static int load_cow(const struct umbra_kernel *k, const struct umbra_pool *pool,
		    const struct umbra_pool_store *store, const char *name, dev_t wall,
		    struct umbra_error *err)
{
	_cleanup_dm_table_ struct umbra_dm_table table = {0};
	int r = add_segments(k, pool, &store->segments, 0, &table, err);

	if (r == 0)
		r = add_wall(pool, wall, &table, err);
	return r < 0 ? r : umbra_dm_load(umbra_dm_named(name), &table, 0, err);
}

/* Gives a wall the segments, with the next wall behind them, and lets go whoever waits there. Its
 * first part, which cow<S> does not map to it, is of no use: the same lines, for simplicity. */
static int open_wall(const struct umbra_kernel *k, const struct umbra_pool *pool,
		     const struct umbra_pool_store *store, const char *wall, dev_t next,
		     struct umbra_error *err)
{
	_cleanup_dm_table_ struct umbra_dm_table table = {0};
	int r = add_segments(k, pool, &store->segments, 0, &table, err);

	if (r == 0)
		r = add_wall(pool, next, &table, err);
	if (r == 0)
		r = umbra_dm_load(umbra_dm_named(wall), &table, 0, err);
	return r < 0 ? r : umbra_dm_resume(umbra_dm_named(wall), err);
}

/* cow<S> gets its segments and this wall. 1: writers are stuck in it. */
static int put_cow(const struct umbra_kernel *k, const struct umbra_pool *pool,
		   const struct umbra_pool_store *store, dev_t wall, struct umbra_error *err)
{
	struct umbra_device_name cow;
	int r;

	name_of(k, "cow", store->number, &cow);
	r = load_cow(k, pool, store, cow.name, wall, err);
	if (r == 0)
		r = umbra_fault_fail("dm.cow-loaded", err);
	if (r == 0)
		r = resume_cow(cow.name, err);
	return r != 0 ? r : keep_wall(k, store->number, wall, err);
}

/* The pool has become longer than this wall. 1, 0 or negative. */
static int too_short(const struct umbra_pool *pool, const char *wall, struct umbra_error *err)
{
	_cleanup_dm_table_ struct umbra_dm_table table = {0};
	int r = umbra_dm_table(umbra_dm_named(wall), UMBRA_DM_LIVE, &table, err);

	return r < 0 ? r : umbra_dm_table_sectors(&table) < total(pool);
}

int umbra_store_device_grant(const struct umbra_kernel *k, const struct umbra_pool *pool,
			     const struct umbra_pool_store *store, struct umbra_error *err)
{
	struct umbra_dm_info wall;
	dev_t next = 0;
	int r = find_wall(k, store->number, &wall, err);

	if (r == 0)
		r = too_short(pool, wall.name, err);
	if (r == 1)
		r = make_wall(k, pool, store->number, false, &next, err);
	if (r == 0 && next)
		r = umbra_fault_fail("dm.wall-longer", err);
	if (r == 0)
		r = put_cow(k, pool, store, next ? next : wall.dev, err);
	if (r != 1)
		return r;
	r = next ? 0 : make_wall(k, pool, store->number, false, &next, err);
	if (r == 0)
		r = umbra_fault_fail("dm.wall-behind", err);
	if (r == 0)
		r = open_wall(k, pool, store, wall.name, next, err);
	if (r == 0)
		r = put_cow(k, pool, store, next, err);
	return r < 0 ? r : 0; /* stuck at the next wall already: for the next grant */
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

int umbra_store_device_granted(const struct umbra_kernel *k, uint64_t store, uint64_t *chunks,
			       struct umbra_error *err)
{
	struct umbra_device_name cow;
	struct umbra_dm_info wall = {0};
	uint64_t at, end;
	int i, r;

	name_of(k, "cow", store, &cow);
	r = wall_of(k, umbra_dm_named(cow.name), &at, &end, &wall, err);
	for (i = 0; r == 0 && !is_end(&wall) && i < WALLS; i++)
		r = wall_of(k, umbra_dm_numbered(wall.dev), &at, NULL, &wall, err);
	if (r < 0)
		return r;
	/* A longer wall behind a device that is not yet is of no use. */
	*chunks = (at < end ? at : end) / UMBRA_DM_CHUNK_SECTORS;
	return 0;
}

int umbra_store_device_give_up(const struct umbra_kernel *k, uint64_t store,
			       struct umbra_error *err)
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

int umbra_store_device_close(const struct umbra_kernel *k, uint64_t store, struct umbra_error *err)
{
	struct umbra_dm_info wall;
	int r = find_wall(k, store, &wall, err);

	return r < 0 || wall.suspended ? r : close_wall(wall.name, err);
}

int umbra_store_device_remove(const struct umbra_kernel *k, uint64_t store, struct umbra_error *err)
{
	static const char *const kinds[] = {"snap", "cow"};
	struct umbra_device_name name;
	size_t i;
	/* The kernel takes no snapshot away while a write is in it: it waits, and so would we. */
	int r = umbra_store_device_give_up(k, store, err);

	for (i = 0; r >= 0 && i < UMBRA_ARRAY_SIZE(kinds); i++) {
		name_of(k, kinds[i], store, &name);
		r = umbra_dm_remove(name.name, UMBRA_DM_REMOVE_NOW, err);
	}
	return r < 0 ? r : keep_wall(k, store, 0, err);
}
