/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A small volume with a diff area, all of it in memory: disks with write caches, the kernel's
 * snapshots, somebody who writes, and the steps that provider dm takes, in their order. The process
 * can be killed and the power cut between any two. Whatever the pool shows is compared with what
 * the volume held at the copy's instant, which is simply remembered.
 */
#pragma once

#include "disk.h"
#include "kernel.h"
#include "snapshot/provider/dm/pool/compact.h"
#include "snapshot/provider/dm/pool/pool_disk.h"
#include "snapshot/provider/dm/pool/view_plan.h"

#define DM_WORLD_CHUNK_SECTORS 1U
#define DM_WORLD_SEGMENT       8U
#define DM_WORLD_VIEWS         4U

/* Faults that can be put into the steps, to see that they are noticed. */
enum dm_fault {
	DM_FAULT_NONE,
	DM_FAULT_MERGE_NEWEST_FIRST, /* a view prefers newer stores */
	DM_FAULT_SETTLE_UNDER_VIEWS, /* segments are freed that open views map */
	DM_FAULT_SETTLE_NOT_DURABLE, /* segments are freed before it is recorded that they are */
	DM_FAULT_GRANT_NOT_DURABLE,  /* the kernel may write where the superblock does not say so */
	DM_FAULT_PREPARE_NOT_DURABLE,
	DM_FAULT_DISCARD_LIVE,      /* a creation that failed takes away a store that collects */
	DM_FAULT_REMOVE_NEWEST,     /* deleting the newest feeds the one before again */
	DM_FAULT_OLD_BLOCKS,        /* the beginning of a new store is not zeroed */
	DM_FAULT_NO_REBASE,         /* open views stay over the store that was sealed */
	DM_FAULT_SEAL_SHORT,        /* a sealed store loses the chunks at its end */
	DM_FAULT_COMPACT_NO_FLUSH,  /* the switch is made before the new store is durable */
	DM_FAULT_COMPACT_LIVE_TAIL, /* room is taken from the live store that its device still maps
				     */
	DM_FAULT_MOVE_NO_FLUSH,     /* a segment is another one's before that holds it durably */
	DM_FAULT_MOVE_LIVE_TAIL,    /* segments move to where the live store's device still ends */
	DM_FAULT_ONE_SLOT,          /* both slots of the superblock are written before a flush */
	DM_FAULTS,
};

enum dm_crash { DM_KILL, DM_POWER };

struct dm_in_kernel {
	struct dm_world *world;
	uint64_t number; /* of the store; 0: nothing here */
	struct dm_snap *snap;
	uint32_t *table; /* segments; behind them the wall */
	uint32_t n_table;
	bool resumed;
};

struct dm_open_view {
	struct umbra_id id; /* empty: not open */
	struct umbra_dm_view_plan plan;
	struct umbra_dm_view_layout layout;
	struct dm_snap *snap; /* over that of store `over` */
	uint64_t over;
	struct dm_world *world;
	unsigned char *scratch;
};

struct dm_remembered {
	struct umbra_id id;
	uint64_t *content;
	bool made;    /* somebody was told so */
	bool deleted; /* somebody asked for it, or it was given up for space */
};

struct dm_world {
	unsigned int seed;
	enum dm_fault fault;
	uint32_t origin_chunks;
	struct dm_disk *origin, *area, *slot[2];
	uint64_t next_value;
	uint32_t busy_at;              /* where most of the writes go */
	struct dm_in_kernel kernel[2]; /* [0] the older */
	struct umbra_pool *pool;       /* of the process, as its views */
	struct dm_open_view views[DM_WORLD_VIEWS];
	struct dm_remembered *remembered;
	uint32_t n_remembered;
	unsigned int writes; /* chunks written between two steps, at most */
	bool held;
	bool mounted;      /* not until the newest store is active after a reboot */
	unsigned int fuse; /* steps until the crash; 0: none */
	enum dm_crash crash;
	bool dead; /* the process does nothing any more, with DM_POWER nobody does */
	unsigned int crashes, compacted, pieces, dropped, lost, stalled, moved, resized;
	unsigned int wrong; /* what was noticed, and the first of it in words */
	char what[256];
};

struct dm_world *dm_world_new(unsigned int seed, uint32_t origin_chunks, uint32_t segments);
struct dm_world *dm_world_free(struct dm_world *w);

unsigned int dm_world_random(struct dm_world *w, unsigned int below);
/* Somebody writes up to n chunks, several at a time. */
void dm_world_write(struct dm_world *w, unsigned int n);

/* The provider's operations. Each can be cut short by a crash; then recover. */
enum dm_outcome { DM_SUCCEED, DM_FAIL_BEFORE, DM_FAIL_AFTER }; /* the instant */
void dm_world_create(struct dm_world *w, enum dm_outcome outcome);
void dm_world_remove(struct dm_world *w, uint32_t copy);
/* This copy and all older ones cannot be read any more; the newest: none can. */
void dm_world_lose(struct dm_world *w, uint32_t copy);
void dm_world_compact(struct dm_world *w, uint32_t copy, uint64_t piece);
/* The pool gets that many segments, or as few as can be. */
void dm_world_resize(struct dm_world *w, uint32_t segments);
void dm_world_monitor(struct dm_world *w);
void dm_world_open(struct dm_world *w, uint32_t copy);
void dm_world_close(struct dm_world *w, struct dm_open_view *v);

/* What the next start does. */
void dm_world_recover(struct dm_world *w);

/* Compares: open views (at any time); all copies, at most n_views of them through views, the others
 * as the stores say. */
void dm_world_check_open(struct dm_world *w);
void dm_world_check(struct dm_world *w, unsigned int n_views);
