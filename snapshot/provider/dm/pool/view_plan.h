/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Views: how copy k is shown by one snapshot device of the kernel over that of the newest copy.
 * Its store is made up: header and areas are written by us to a scratch device, its data lies
 * where it is, in the segments of the sealed stores. Pure; all numbers are chunks.
 *
 *	umbra_dm_view_add() for each sealed store that the copy reads, oldest first
 *	umbra_dm_view_layout(), write the scratch chunks, load the table of `lines`
 *	after the next creation: umbra_dm_view_add() for the one store that was sealed; again
 *
 * A plan remembers where data lies, not which store has it. So it stays right while stores are
 * deleted and compacted, as long as umbra_pool_settle() is told of what it maps.
 *
 * Memory: 16 bytes for each chunk in the view, and 4 for each segment of the pool; while stores are
 * added at most 64 bytes a chunk and 32 an exception of the largest store.
 */
#pragma once

#include "snapshot/provider/dm/pool/pool.h"

/* Zero is an empty plan. */
struct umbra_dm_view_plan {
	struct umbra_exceptions chunks; /* of the origin: which chunk of the area has it */
	size_t merged;                  /* that many are sorted, each old once */
};

void umbra_dm_view_finish(struct umbra_dm_view_plan *plan);
#define _cleanup_view_plan_ _cleanup_(umbra_dm_view_finish)

/*
 * Adds what umbra_dm_store_read() found in a sealed store: of chunks that the plan has already
 * nothing is taken. -EBADMSG: an exception lies where the store has no segment; -ENOMEM. Then the
 * plan is to be given up.
 */
int umbra_dm_view_add(struct umbra_dm_view_plan *plan, const struct umbra_pool *pool,
		      const struct umbra_pool_store *store,
		      const struct umbra_exceptions *exceptions, struct umbra_error *err);

enum umbra_dm_view_what {
	UMBRA_DM_VIEW_SCRATCH, /* offset: on the scratch device */
	UMBRA_DM_VIEW_AREA,    /* offset: in the area */
	UMBRA_DM_VIEW_NONE,    /* never read; target "error" */
};

struct umbra_dm_view_line {
	enum umbra_dm_view_what what;
	uint64_t start, count, offset;
};

struct umbra_dm_view_layout {
	struct umbra_dm_view_line *lines; /* without gaps; at most 2 a segment and 1 */
	size_t n_lines;
	uint64_t chunks;         /* how long the store's device is */
	uint64_t scratch_chunks; /* how long the scratch device is */
	uint32_t *position;      /* for each segment of the pool: which of the view's it is */
	uint32_t segments;       /* of the pool */
	struct umbra_pool_geometry geometry;
	uint64_t first; /* chunk of the area where segments begin */
};

#define UMBRA_DM_VIEW_UNMAPPED UINT32_MAX /* position of a segment that is not in the view */

void umbra_dm_view_layout_finish(struct umbra_dm_view_layout *layout);
#define _cleanup_view_layout_ _cleanup_(umbra_dm_view_layout_finish)

/* Lays a plan out; it may be added to later, and then is laid out again. */
int umbra_dm_view_layout(struct umbra_dm_view_plan *plan, const struct umbra_pool *pool,
			 struct umbra_dm_view_layout *out, struct umbra_error *err);

/* Scratch chunk i of a plan as it was laid out; chunk: geometry.chunk_sectors long. */
void umbra_dm_view_scratch(const struct umbra_dm_view_plan *plan,
			   const struct umbra_dm_view_layout *layout, uint64_t i, void *chunk);

/* Sets mapped[] for the segments that the view's device maps; others stay as they are. */
void umbra_dm_view_mark(const struct umbra_dm_view_layout *layout, bool *mapped);
