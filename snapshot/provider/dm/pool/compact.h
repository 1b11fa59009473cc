/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Compaction: what deletion leaves behind. When copies between others are deleted their stores
 * gather in the next older copy, and of chunks that several of them have only the first is ever
 * read. A plan is one bounded piece of work on one copy: chunks that are still needed, of stores
 * with many that are not, go to a new store, which becomes the copy's first; stores that nothing
 * is needed of any more go. A store that is more than a piece takes several plans: each moves a
 * piece, the last drops the store. Pure; all numbers are chunks.
 *
 * How a plan is carried out, so that it may be killed after each step:
 * 1. umbra_pool_shrink(), durable, where room is wanted that the live store has.
 * 2. umbra_pool_reserve() plan.segments. On disk they are free: a kill undoes it.
 * 3. Chunk plan.moves.e[i].new of the area to umbra_compact_target() of the new store, for each i;
 *    umbra_compact_metadata(); flush. Nobody reads there yet.
 * 4. umbra_pool_replace(), durable: the switch. All copies read the same before and after; views
 *    that are open go on reading the old segments, which wait.
 * 5. umbra_pool_settle() with what views map, now and whenever one is re-based or closed.
 * The volume's lock is held from 2 to 4, as nobody else knows what is reserved: so the limits
 * bound how long creations wait, and the pause between pieces how much of the disk is taken.
 */
#pragma once

#include "snapshot/provider/dm/pool/pool.h"

/* Zero is an empty plan. */
struct umbra_compact {
	struct umbra_exceptions moves; /* chunk of the origin, chunk of the area; by the former */
	uint64_t *drop;                /* numbers of stores that go */
	uint32_t n_drop;
	uint64_t used;     /* length of the new store; 0: none is needed */
	uint32_t segments; /* for it */
	uint32_t freed;    /* segments of those that go */
};

void umbra_compact_finish(struct umbra_compact *plan);
#define _cleanup_compact_ _cleanup_(umbra_compact_finish)

struct umbra_compact_limits {
	uint64_t chunks;   /* moves of one piece, at most */
	uint32_t segments; /* that can be had for new stores */
};

/*
 * Is there a piece of work on this copy (its index) that is worth it: 1 and the plan, or 0: no.
 * exceptions: for each store of the copy, in order, what umbra_dm_store_read() gave. Worth it is
 * what gives back, in the end, at least a quarter as much as is written; with more than half of
 * UMBRA_POOL_STORES_MAX stores in the pool anything that leaves fewer. No copy is worth it while a
 * creation is unfinished, nor the newest.
 * Memory: 32 bytes an exception of the copy while it is made, 16 a move afterwards.
 */
int umbra_compact_plan(const struct umbra_pool *pool, uint32_t copy,
		       const struct umbra_exceptions *exceptions,
		       const struct umbra_compact_limits *limits, struct umbra_compact *out,
		       struct umbra_error *err);

/* Where the new store has move i. */
uint64_t umbra_compact_target(const struct umbra_pool *pool, uint64_t i);

/* How many chunks of metadata the new store has (0 when there is none), where the i-th lies in it,
 * and what it is; chunk: chunk_sectors long. */
uint64_t umbra_compact_metadata_chunks(const struct umbra_pool *pool,
				       const struct umbra_compact *plan);
uint64_t umbra_compact_metadata(const struct umbra_pool *pool, const struct umbra_compact *plan,
				uint64_t i, void *chunk);
