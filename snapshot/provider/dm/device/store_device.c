/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/provider/dm/device/store_device.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "common/fault.h"
#include "common/token.h"
#include "snapshot/provider/dm/device/wall.h"
#include "snapshot/sys/limit.h"

static int make_cow(const struct umbra_kernel *k, const struct umbra_pool *pool,
		    const struct umbra_pool_store *store, dev_t wall, dev_t *out,
		    struct umbra_error *err)
{
	_cleanup_dm_table_ struct umbra_dm_table table = {0};
	struct umbra_device_name name;
	int r = umbra_wall_table(k, pool, store, wall, &table, err);

	umbra_store_name(k, "cow", store->number, &name);
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

	umbra_store_name(k, "snap", store, &name);
	if (r == 0)
		r = umbra_dm_create(name.name, name.uuid, &table, UMBRA_DM_LOAD_ONLY, out, err);
	return r;
}

int umbra_store_device_make(const struct umbra_kernel *k, const struct umbra_pool *pool,
			    const struct umbra_pool_store *store, dev_t *snap,
			    struct umbra_error *err)
{
	dev_t wall, cow, dev;
	int r = umbra_store_device_remove(k, store->number, err);

	if (r == 0)
		r = umbra_wall_make(k, pool, store->number, true, &wall, err);
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
	if (r == 0)
		r = umbra_wall_close_first(k, store->number, err);
	if (r < 0) {
		umbra_store_device_remove(k, store->number, NULL);
		return r;
	}
	if (snap)
		*snap = dev;
	return 0;
}

/* "ALLOCATED/TOTAL METADATA" in sectors, or a word. What is no snapshot any more was removed, and
 * stays for who has it open. */
static int parse_status(const struct umbra_dm_table *status, enum umbra_store_state *out,
			uint64_t *used, uint32_t chunk_sectors)
{
	uint64_t allocated;

	if (status->n == 1 && strcmp(status->v[0].target, "snapshot") != 0) {
		*out = UMBRA_STORE_ABSENT;
		return 0;
	}
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

	umbra_store_name(k, "snap", store, &name);
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

	umbra_store_name(k, "snap", store, &name);
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
static int resume_cow(const char *name, int limit_ms, struct umbra_error *err)
{
	int64_t begun = umbra_now_us();
	struct umbra_limit limit;
	int r = umbra_limit_start(&limit, limit_ms);

	if (r < 0)
		return umbra_fail_errno(err, r, "cannot set a time limit");
	r = umbra_dm_resume(umbra_dm_named(name), err);
	umbra_limit_stop(&limit);
	if (r == 0 || umbra_now_us() - begun < (int64_t)limit_ms * 1000)
		return r;
	r = umbra_dm_unload(umbra_dm_named(name), err);
	return r < 0 ? r : 1;
}

static int load_cow(const struct umbra_kernel *k, const struct umbra_pool *pool,
		    const struct umbra_pool_store *store, const char *name, dev_t wall,
		    struct umbra_error *err)
{
	_cleanup_dm_table_ struct umbra_dm_table table = {0};
	int r = umbra_wall_table(k, pool, store, wall, &table, err);

	return r < 0 ? r : umbra_dm_load(umbra_dm_named(name), &table, 0, err);
}

/* cow<S> gets its segments and this wall. 1: writers are stuck in it. */
static int put_cow(const struct umbra_kernel *k, const struct umbra_pool *pool,
		   const struct umbra_pool_store *store, dev_t wall, int limit_ms,
		   struct umbra_error *err)
{
	struct umbra_device_name cow;
	int r;

	umbra_store_name(k, "cow", store->number, &cow);
	r = load_cow(k, pool, store, cow.name, wall, err);
	if (r == 0)
		r = umbra_fault_fail("dm.cow-loaded", err);
	if (r == 0)
		r = resume_cow(cow.name, limit_ms, err);
	return r != 0 ? r : umbra_wall_keep(k, store->number, wall, err);
}

/* The wall that nobody gets through; *next is one in its place where it is too short by now, else
 * 0. */
static int find_wall(const struct umbra_kernel *k, const struct umbra_pool *pool, uint64_t store,
		     struct umbra_dm_info *wall, dev_t *next, struct umbra_error *err)
{
	int r = umbra_wall_find(k, store, wall, err);

	*next = 0;
	if (r == 0)
		r = umbra_wall_too_short(pool, wall, err);
	if (r == 1)
		r = umbra_wall_make(k, pool, store, false, next, err);
	return r == 0 && *next ? umbra_fault_fail("dm.wall-longer", err) : r;
}

int umbra_store_device_grant(const struct umbra_kernel *k, const struct umbra_pool *pool,
			     const struct umbra_pool_store *store, struct umbra_error *err)
{
	struct umbra_dm_info wall;
	dev_t next;
	int r = find_wall(k, pool, store->number, &wall, &next, err);

	if (r == 0)
		r = put_cow(k, pool, store, next ? next : wall.dev, UMBRA_STORE_DRAIN_MS, err);
	if (r != 1)
		return r;
	r = next ? 0 : umbra_wall_make(k, pool, store->number, false, &next, err);
	if (r == 0)
		r = umbra_fault_fail("dm.wall-behind", err);
	if (r == 0)
		r = umbra_wall_open(k, pool, store, &wall, next, err);
	if (r == 0)
		r = put_cow(k, pool, store, next, UMBRA_STORE_DRAIN_MS, err);
	return r < 0 ? r : 0; /* stuck at the next wall already: for the next grant */
}

int umbra_store_device_cut(const struct umbra_kernel *k, const struct umbra_pool *pool,
			   const struct umbra_pool_store *store, uint32_t keep,
			   struct umbra_error *err)
{
	struct umbra_pool_store first = *store;
	enum umbra_store_state state;
	struct umbra_dm_info wall;
	uint64_t used = 0;
	dev_t next;
	int r = find_wall(k, pool, store->number, &wall, &next, err);

	first.segments.n = keep;
	if (r == 0)
		r = put_cow(k, pool, &first, next ? next : wall.dev, UMBRA_STORE_CUT_MS, err);
	if (r == 0) {
		r = umbra_store_device_state(k, store->number, &state, &used, err);
		if (r == 0 && state == UMBRA_STORE_LIVE &&
		    used <= (uint64_t)keep * pool->geometry.segment_chunks)
			return 1;
	}
	return r < 0 ? r : umbra_store_device_grant(k, pool, store, err);
}

/* Writers wait for us meanwhile: whoever reads it, to copy the whole device, must not keep us. */
static int remove_snap(const struct umbra_kernel *k, uint64_t store, struct umbra_error *err)
{
	struct umbra_device_name name;
	struct umbra_dm_info info;
	int r;

	umbra_store_name(k, "snap", store, &name);
	r = umbra_dm_info(umbra_dm_named(name.name), &info, err);
	return r == 0 ? umbra_kernel_retire(k, &info, err) : r;
}

int umbra_store_device_remove(const struct umbra_kernel *k, uint64_t store, struct umbra_error *err)
{
	struct umbra_device_name cow;
	/* The kernel takes no snapshot away while a write is in it: it waits, and so would we. */
	int r = umbra_wall_give_up(k, store, err);

	umbra_store_name(k, "cow", store, &cow);
	if (r == 0)
		r = remove_snap(k, store, err);
	if (r >= 0)
		r = umbra_dm_remove(cow.name, UMBRA_DM_REMOVE_NOW, err);
	return r < 0 ? r : umbra_wall_keep(k, store, 0, err);
}
