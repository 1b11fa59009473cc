/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What lies behind the segments of a store that is live: a wall, wall<a…p><S>, a device as long as
 * the pool at which a first write that needs more than was granted waits, as it is suspended.
 *
 * Writers that are stuck at a wall keep cow<S> from getting another table. Then the wall itself
 * gets the segments, and a new wall behind them: cow<S> leads to the wall that nobody gets through
 * over those that were opened, until there is a moment without such writers.
 *
 * By the area's holder only, but for what says otherwise.
 */
#pragma once

#include "snapshot/provider/dm/device/kernel.h"

/* The name of a device of a store: "snap", "cow", and so on. */
void umbra_store_name(const struct umbra_kernel *k, const char *kind, uint64_t store,
		      struct umbra_device_name *out);

/* One more, under a name that no other of the store has. open: nobody waits at it yet, they get
 * errors. -EBUSY: there are as many as there may be. */
int umbra_wall_make(const struct umbra_kernel *k, const struct umbra_pool *pool, uint64_t store,
		    bool open, dev_t *out, struct umbra_error *err);

/* Closes the first of a store that is being made, and nobody uses yet. */
int umbra_wall_close_first(const struct umbra_kernel *k, uint64_t store, struct umbra_error *err);

/* From here on writers wait at the store's wall again. */
int umbra_wall_close(const struct umbra_kernel *k, uint64_t store, struct umbra_error *err);

/* The lines of a device that has the store's segments and then, to the length of the pool, this
 * wall. */
int umbra_wall_table(const struct umbra_kernel *k, const struct umbra_pool *pool,
		     const struct umbra_pool_store *store, dev_t wall, struct umbra_dm_table *table,
		     struct umbra_error *err);

/* The wall that nobody gets through. Those that killed processes left beside the way to it are
 * removed. -ENXIO: there is none. */
int umbra_wall_find(const struct umbra_kernel *k, uint64_t store, struct umbra_dm_info *out,
		    struct umbra_error *err);

/* The pool has become longer than this wall. 1, 0 or negative. */
int umbra_wall_too_short(const struct umbra_pool *pool, const struct umbra_dm_info *wall,
			 struct umbra_error *err);

/* Gives a wall the store's segments, with the next wall behind them, and lets go whoever waits
 * there. */
int umbra_wall_open(const struct umbra_kernel *k, const struct umbra_pool *pool,
		    const struct umbra_pool_store *store, const struct umbra_dm_info *wall,
		    dev_t next, struct umbra_error *err);

/* How many chunks there are before the wall that nobody gets through. Asks the kernel only and
 * changes nothing, so it needs no lock; of k only the area. -ENXIO: the store has no devices. */
int umbra_wall_chunks(const struct umbra_kernel *k, uint64_t store, uint64_t *chunks,
		      struct umbra_error *err);

/* All walls of the store become errors, and whoever waits there goes on. Needs no lock. */
int umbra_wall_give_up(const struct umbra_kernel *k, uint64_t store, struct umbra_error *err);

/* Removes all walls of the store but one; 0: all. */
int umbra_wall_keep(const struct umbra_kernel *k, uint64_t store, dev_t except,
		    struct umbra_error *err);
