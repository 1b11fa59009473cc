/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The pool: what a diff area is used for. A model without I/O; pool_disk.h makes bytes of it.
 *
 * A diff area is an address space of chunks, cut into segments. An exception store (store.h)
 * lies in an ordered list of segments: its chunk c is chunk c % segment_chunks of its segment
 * number c / segment_chunks. All stores of a pool have one order, oldest first, and every copy has
 * some of them that follow each other, oldest copy first:
 *
 *	copies	[ LOST … ]  [ KEPT … ]                  [ newest: KEPT, HIDDEN or PREPARED ]
 *	stores	  none       a b | c | (none) | d e f    g
 *	                                                 unsealed: the kernel may write it
 *
 * What copy k reads: from its first store on through all that follow, the first that has the
 * chunk; else the volume. So deleting a copy is bookkeeping: its stores become the end of the next
 * older one's, and a copy may have none at all.
 *
 * How to change a pool, under the volume's lock: change a duplicate (umbra_pool_dup()), write it
 * to the area, adopt it when it is durable (umbra_pool_written()). When the write fails it is not
 * known which of the two will be found: load it again before anything else is done. Each
 * operation says whether the pool is to be durable BEFORE a step of the kernel, or changed AFTER
 * it; between the two the process may be killed, and either pool is right then. The files of
 * tests/unit/dm_model have all steps in their order, and kills between them.
 *
 * Whoever reads may look at all fields; only pool*.c change them. Operations that fail leave the
 * pool as it was. Their errors: -ENOENT no such copy or store; -EBUSY (UMBRA_E_BUSY) a creation
 * is unfinished; -ENOSPC; -EINVAL (UMBRA_E_INTERNAL) the caller broke the order; -ENOMEM.
 */
#pragma once

#include "common/id.h"
#include "snapshot/provider/dm/pool/segments.h"
#include "snapshot/provider/dm/pool/store.h"

#define UMBRA_POOL_COPIES_MAX  600U /* visible ones (UMBRA_VOLUME_SHADOWS_MAX), lost and hidden */
#define UMBRA_POOL_STORES_MAX  16384U
#define UMBRA_POOL_EXTENTS_MAX 8192U
#define UMBRA_POOL_TEXT_MAX    256U /* with its NUL */
#define UMBRA_POOL_NO_STORE    0U   /* no store has this number */

enum umbra_pool_state {
	UMBRA_POOL_PREPARED = 1, /* newest; its store may be in the kernel or not */
	UMBRA_POOL_KEPT = 2,
	UMBRA_POOL_HIDDEN = 3, /* deleted or failed as the newest: its store goes on collecting */
	UMBRA_POOL_LOST = 4,   /* what it read cannot be had any more; it has no stores */
};

struct umbra_pool_copy {
	struct umbra_id id; /* of the shadow copy */
	enum umbra_pool_state state;
	uint32_t record;   /* its record slot, below UMBRA_POOL_COPIES_MAX; no other copy has it */
	uint32_t n_stores; /* that many follow those of the copies before it */
	bool reverting;    /* the volume is being made what this copy is; one copy at most */
};

struct umbra_pool_store {
	uint64_t number; /* from 1; never used again in this area */
	bool sealed;
	uint64_t used; /* sealed: chunks from its first on; its segments are just enough for them */
	struct umbra_segments segments;
};

/* Where a piece of the area lies on the volume below the layer, in sectors of 512 bytes. */
struct umbra_pool_extent {
	uint64_t logical, physical, length;
};

struct umbra_pool_geometry {
	uint32_t chunk_sectors;
	uint32_t segment_chunks; /* a power of two; at most the exceptions of an area */
	uint32_t segments;
};

struct umbra_pool {
	struct umbra_id area;
	struct umbra_pool_geometry geometry;
	char volume[UMBRA_POOL_TEXT_MAX];  /* identity of the volume; the caller's, not looked into
					    */
	char stamp[UMBRA_POOL_TEXT_MAX];   /* what was last known of the volume; as volume */
	struct umbra_pool_extent *extents; /* of a file within the volume; else none */
	uint32_t n_extents;
	struct umbra_pool_copy *copies; /* oldest first */
	uint32_t n_copies;
	struct umbra_pool_store *stores; /* oldest first */
	uint32_t n_stores, stores_room;
	uint64_t next_store;
	uint64_t generation; /* of what was last read or written; 0: never written */
	bool changed;        /* since then */
	struct umbra_segment_map map;
};

/* --- geometry --- */

/*
 * How an area of this many sectors is cut: segments of 256 KiB to 16 MiB, so that there are some
 * 8000 at most where that can be, 65536 always (what lies behind is not used). -ENOSPC: too small.
 */
int umbra_pool_geometry(uint64_t area_sectors, uint32_t chunk_sectors,
			struct umbra_pool_geometry *out, struct umbra_error *err);
bool umbra_pool_geometry_valid(const struct umbra_pool_geometry *g);

/* How many segments of this size an area of so many sectors has, at most UMBRA_SEGMENTS_MAX; and
 * how long an area with that many segments is. */
uint32_t umbra_pool_segments_in(const struct umbra_pool_geometry *g, uint64_t area_sectors);
uint64_t umbra_pool_sectors_of(const struct umbra_pool_geometry *g, uint32_t segments);

/* Chunks of all segments together: the length that every store's device has (hash table). */
uint64_t umbra_pool_chunks(const struct umbra_pool *pool);

/* The first chunk of a segment, counted from the beginning of the area. */
uint64_t umbra_pool_segment_at(const struct umbra_pool *pool, uint32_t segment);

/* Sectors from the beginning of the area to the end of the last segment. */
uint64_t umbra_pool_end(const struct umbra_pool *pool);

/* Where a store's chunk lies, counted from the beginning of the area. -ERANGE: not granted. */
int umbra_pool_chunk_at(const struct umbra_pool *pool, const struct umbra_pool_store *store,
			uint64_t chunk, uint64_t *at);

/* The shape of a store as it is now, for umbra_dm_store_read(). */
struct umbra_dm_store_shape umbra_pool_store_shape(const struct umbra_pool *pool,
						   const struct umbra_pool_store *store,
						   uint64_t origin_chunks);

/* --- life --- */

/* An empty pool, never written. volume: cut off at UMBRA_POOL_TEXT_MAX is -EINVAL. */
int umbra_pool_new(const struct umbra_pool_geometry *g, const struct umbra_id *area,
		   const char *volume, struct umbra_pool **out, struct umbra_error *err);
int umbra_pool_dup(const struct umbra_pool *pool, struct umbra_pool **out, struct umbra_error *err);
struct umbra_pool *umbra_pool_free(struct umbra_pool *pool);
UMBRA_DEFINE_CLEANUP(struct umbra_pool *, pool, umbra_pool_free)
#define _cleanup_pool_ _cleanup_(umbra_cleanup_pool)

/* The text, or -EINVAL where it is too long. */
int umbra_pool_set_stamp(struct umbra_pool *pool, const char *stamp, struct umbra_error *err);
/* Copies them. -E2BIG (UMBRA_E_UNSUPPORTED): the file is too fragmented. */
int umbra_pool_set_extents(struct umbra_pool *pool, const struct umbra_pool_extent *extents,
			   uint32_t n, struct umbra_error *err);

/* --- looking --- */

/* How many copies are in that state. */
uint32_t umbra_pool_count(const struct umbra_pool *pool, enum umbra_pool_state state);

/* Index of a copy, or n_copies. */
uint32_t umbra_pool_find(const struct umbra_pool *pool, const struct umbra_id *id);
/* Index of a store, or n_stores. */
uint32_t umbra_pool_find_store(const struct umbra_pool *pool, uint64_t number);
/* Index of the first store that the copy reads; n_stores: none. */
uint32_t umbra_pool_first_store(const struct umbra_pool *pool, uint32_t copy);
/* Index of the copy that has the store. */
uint32_t umbra_pool_owner(const struct umbra_pool *pool, uint32_t store);
/* Index of the store that has the segment, or n_stores. */
uint32_t umbra_pool_store_of(const struct umbra_pool *pool, uint32_t segment);

/* The newest copy's store, which the kernel writes or is about to; NULL: no layer is needed. */
struct umbra_pool_store *umbra_pool_live(const struct umbra_pool *pool);

/* Is there a copy that somebody may see or is making? If not the layer can be taken out. */
bool umbra_pool_needed(const struct umbra_pool *pool);

/* Is a creation unfinished: a copy PREPARED, or a store before the live one not sealed? */
bool umbra_pool_unfinished(const struct umbra_pool *pool);

uint32_t umbra_pool_free_segments(const struct umbra_pool *pool);

/* The copy that the volume is being reverted to; NULL: none. */
const struct umbra_pool_copy *umbra_pool_reverting(const struct umbra_pool *pool);

/* --- a creation, in this order --- */

/*
 * How many segments the live store of `used` chunks keeps while the next copy is made: those in
 * use, `margin` chunks, and half of the rest. 0: there is none.
 */
uint32_t umbra_pool_keep(const struct umbra_pool *pool, uint64_t used, uint64_t margin);

/*
 * A new copy, PREPARED, newest, with a new store that has all free segments and those of the live
 * store beyond its first `keep`; no live store: keep is 0.
 * BEFORE this call the live store's device ends after `keep` segments (its wall begins there), and
 * the kernel has allocated no chunk beyond. Durable BEFORE the hold, and before that the first two
 * chunks of the new store are zero, durably. -EEXIST; -EMLINK (UMBRA_E_NO_SPACE): as many copies as
 * there may be; -ENOSPC: no segment for it, or too many stores (compact).
 */
int umbra_pool_prepare(struct umbra_pool *pool, const struct umbra_id *id, uint32_t keep,
		       struct umbra_error *err);

/*
 * Takes a PREPARED copy back whose store was never resumed, which the kernel was asked or which is
 * known otherwise; after a reboot it is not. AFTER its devices are removed. Its segments are free.
 */
int umbra_pool_discard(struct umbra_pool *pool, const struct umbra_id *id, struct umbra_error *err);

/* PREPARED becomes KEPT. AFTER its store was resumed. */
int umbra_pool_commit(struct umbra_pool *pool, const struct umbra_id *id, struct umbra_error *err);

/* A PREPARED copy whose store was, or may have been, resumed; also the newest KEPT: HIDDEN. */
int umbra_pool_hide(struct umbra_pool *pool, const struct umbra_id *id, struct umbra_error *err);

/*
 * The store is not written any more: AFTER the next one is live, open views are re-based and the
 * kernel has it no longer. used: what umbra_dm_store_read() says; 0: it goes altogether. Segments
 * beyond are free at once. The stores of a HIDDEN copy go to the next older one, or, where there is
 * none, wait (settle). Durable before the freed segments are written, which grant() is.
 */
int umbra_pool_seal(struct umbra_pool *pool, uint64_t store, uint64_t used,
		    struct umbra_error *err);

/* --- segments --- */

/*
 * Up to n free segments, lowest first, to the end of the live store's (or of the one before it, as
 * long as the kernel writes that too). *granted, more than 0, says how many. Durable BEFORE the
 * kernel may write there. -ENOSPC: none is free.
 */
int umbra_pool_grant(struct umbra_pool *pool, uint64_t store, uint32_t n, uint32_t *granted,
		     struct umbra_error *err);

/*
 * The live store keeps its first `keep` segments (at least 1); the others are free. BEFORE this
 * call as for prepare(). For whoever needs room (compaction, a smaller area).
 */
int umbra_pool_shrink(struct umbra_pool *pool, uint32_t keep, struct umbra_error *err);

/*
 * What remove(), lose(), clear(), seal() and replace() freed and no open view maps becomes free.
 * mapped: for each segment, does a view (or another device) map it; NULL: none does, as after a
 * reboot. Does nothing as long as there are changes that are not durable: what is on disk may still
 * call them a store's. Returns how many became free; they need not be written for that.
 */
uint32_t umbra_pool_settle(struct umbra_pool *pool, const bool *mapped);

/*
 * Another segment, which is free, takes the place of one of a sealed store, which waits (settle).
 * AFTER what it holds was copied there, durably. -EBUSY: it is no sealed store's.
 */
int umbra_pool_move(struct umbra_pool *pool, uint32_t segment, uint32_t to,
		    struct umbra_error *err);

/*
 * More or fewer segments. More: AFTER the area is longer. Fewer: durable BEFORE it is shorter;
 * -EBUSY: one of those beyond is in use. -EFBIG: more than UMBRA_SEGMENTS_MAX.
 */
int umbra_pool_resize(struct umbra_pool *pool, uint32_t segments, struct umbra_error *err);

/* --- deletion: no kernel device changes --- */

/*
 * Deletes a copy. The newest: HIDDEN. The oldest: its stores wait (settle). Others: the next older
 * copy has their stores. Durable before the record slot is used again, which the next prepare() is.
 * HIDDEN: nothing to do. LOST: forgotten. -EBUSY: finish the creation first, or the reverting to
 * this copy.
 */
int umbra_pool_remove(struct umbra_pool *pool, const struct umbra_id *id, struct umbra_error *err);

/*
 * This copy and all older ones are LOST, with their stores; id NULL: all copies, the live store and
 * one PREPARED too; HIDDEN ones are gone. Allowed at any time. The kernel may still map the
 * segments: they wait until it does not (settle).
 */
int umbra_pool_lose(struct umbra_pool *pool, const struct umbra_id *id, struct umbra_error *err);

/*
 * No store is left, nor a HIDDEN copy. AFTER the layer was taken out, which it can be as long as
 * umbra_pool_needed() says no.
 */
int umbra_pool_clear(struct umbra_pool *pool, struct umbra_error *err);

/* --- revert --- */

/*
 * The volume is being reverted to this copy, which is KEPT, and to no other; NULL: to none. Durable
 * BEFORE the first write. A copy that is LOST meanwhile stays marked until it is removed: the
 * volume is then something between.
 */
int umbra_pool_revert(struct umbra_pool *pool, const struct umbra_id *id, struct umbra_error *err);

/* --- compaction (compact.h) --- */

/*
 * n free segments for a store that is being written; appended to the empty list out, the caller's.
 * They are free again for whoever reads the area after a kill.
 */
int umbra_pool_reserve(struct umbra_pool *pool, uint32_t n, struct umbra_segments *out,
		       struct umbra_error *err);
void umbra_pool_unreserve(struct umbra_pool *pool, struct umbra_segments *segments);

/*
 * A new sealed store in reserved segments becomes the first of a copy's, and n_drop sealed stores
 * of that copy go (their segments wait). used 0 and no segments: none comes, they only go. AFTER
 * what the new store holds is durable. Takes the segments over. The copies read the same before and
 * after when the new store has, for chunks that the copy's stores have, what the first of them has,
 * and no chunk is only in those that go.
 */
int umbra_pool_replace(struct umbra_pool *pool, const struct umbra_id *id,
		       struct umbra_segments *segments, uint64_t used, const uint64_t *drop,
		       uint32_t n_drop, struct umbra_error *err);

/* --- everything --- */

/* Is all of it consistent? -EBADMSG (UMBRA_E_DAMAGED) with what is not. */
int umbra_pool_check(const struct umbra_pool *pool, struct umbra_error *err);
