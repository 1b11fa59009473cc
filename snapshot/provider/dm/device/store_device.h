/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A store in the kernel, three devices:
 *
 *	snap<S>	snapshot real cow<S> P CHUNK: the shadow copy; collects from its first resume on
 *	cow<S>	its segments, one behind the other; then, up to the length of the whole pool, a wall
 *	wall<S>	a first write that needs more than was granted waits there (wall.h)
 *
 * cow<S> is that long from the beginning because the kernel sizes its hash table by it, when the
 * table is loaded: after the pool got longer that of the live store is slower until the next copy.
 *
 * By the area's holder only, never while anything is held.
 */
#pragma once

#include "snapshot/provider/dm/device/kernel.h"

/* How long grant() and cut() wait for writes to come out of the device. grant() takes them for
 * stuck then; where a disk is slow cut() had better wait, but not so long that writers who are
 * stuck indeed are given up (look_after.c). */
#define UMBRA_STORE_DRAIN_MS 200
#define UMBRA_STORE_CUT_MS   600

/*
 * Makes the devices of a store; snap<S> is loaded and not resumed. The first two chunks of the
 * store are zero, durably. Whatever was left of an earlier attempt is removed before. *snap may be
 * NULL.
 */
int umbra_store_device_make(const struct umbra_kernel *k, const struct umbra_pool *pool,
			    const struct umbra_pool_store *store, dev_t *snap,
			    struct umbra_error *err);

enum umbra_store_state {
	UMBRA_STORE_ABSENT,
	UMBRA_STORE_LOADED, /* never resumed: it has collected nothing */
	UMBRA_STORE_LIVE,
	UMBRA_STORE_INVALID, /* full, or its device failed: it and all older copies are lost */
};

/* used: chunks that the kernel has given away, from the first on; may be NULL. */
int umbra_store_device_state(const struct umbra_kernel *k, uint64_t store,
			     enum umbra_store_state *out, uint64_t *used, struct umbra_error *err);

/* Does any store of the area collect what is replaced? 1, 0 or negative. */
int umbra_store_device_any_live(const struct umbra_kernel *k, struct umbra_error *err);

/* The number of snap<S>. */
int umbra_store_device_number(const struct umbra_kernel *k, uint64_t store, dev_t *out,
			      struct umbra_error *err);

/*
 * The segments that the store has in the pool by now become the device's, no fewer than before
 * (pool.h says what has to be durable), and it gets as long as the pool is by now. Writers that
 * wait at the wall go on, if they fit now.
 */
int umbra_store_device_grant(const struct umbra_kernel *k, const struct umbra_pool *pool,
			     const struct umbra_pool_store *store, struct umbra_error *err);

/*
 * The device ends after the first `keep` of the segments that the store has: BEFORE the pool says
 * so. 1: it does, and nothing beyond was given away. 0: writers got there, or did not come out of
 * it in time: it is what it was.
 */
int umbra_store_device_cut(const struct umbra_kernel *k, const struct umbra_pool *pool,
			   const struct umbra_pool_store *store, uint32_t keep,
			   struct umbra_error *err);

/* Removes the devices, as far as they are there. Writers that wait at the wall are let go first, as
 * by umbra_wall_give_up(). */
int umbra_store_device_remove(const struct umbra_kernel *k, uint64_t store,
			      struct umbra_error *err);
