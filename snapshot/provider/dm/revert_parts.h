/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reverting: what its files share. For every chunk of which a copy may show something else than the
 * volume has, the volume gets what the copy shows.
 *
 * Where there are newer copies it is written through the origin, as by anybody else: the newest
 * copy collects what goes, so that all copies stay what they are. Where there are none nothing has
 * to be kept: a copy reads each of these chunks from its own store or from one of those behind it,
 * never from the volume, and so do all older ones. Then it is written below the layer and needs no
 * room.
 */
#pragma once

#include "snapshot/provider/dm/parts.h"
#include "snapshot/revert.h"

struct umbra_dm_revert {
	struct umbra_revert base; /* first */
	int state_fd;
	struct umbra_id area, shadow;
	struct umbra_watch *watch;
	struct umbra_root *root; /* as long as it is open the view of the copy stays */
	int view, origin;        /* O_DIRECT; the origin also O_EXCL: nobody can mount it */
	int below;               /* -1: through the origin */
	uint64_t volume_bytes;
	size_t chunk_bytes;
	struct umbra_exceptions chunks; /* sorted; new: 1 if the live store has the chunk, else 0 */
	size_t next;                    /* of them */
	bool hidden;                    /* the superblock is gone, and comes last */
	void *was, *is;                 /* what is compared: UMBRA_DM_REVERT_RUN chunks each */
};

#define UMBRA_DM_REVERT_RUN 64 /* chunks that are read at once */

/* revert_plan.c: fills in chunks, of copy number `copy`. */
int umbra_dm_revert_plan(struct umbra_dm_revert *v, const struct umbra_protected *p, uint32_t copy,
			 struct umbra_error *err);

/* How many of them the live store has not. */
uint64_t umbra_dm_revert_need(const struct umbra_dm_revert *v);

/* Can the live store collect that many chunks and keep `spare` segments? 1 or 0. */
int umbra_dm_revert_fits(const struct umbra_protected *p, uint64_t chunks, uint64_t spare,
			 struct umbra_error *err);

/* revert_io.c: compares the next chunks and writes those that differ. Goes on at v->next, which is
 * moved, at most UMBRA_DM_REVERT_RUN chunks. */
int umbra_dm_revert_run(struct umbra_dm_revert *v, const struct umbra_area *area,
			struct umbra_error *err);

/* Only looks: how many of all chunks differ that the live store has not. */
int umbra_dm_revert_count(struct umbra_dm_revert *v, const struct umbra_area *area, uint64_t *out,
			  struct umbra_error *err);

/* revert_room.c */
/* The volume under its lock, and the index of the copy that it goes back to, which can be read. */
int umbra_dm_revert_open(const struct umbra_dm_revert *v, struct umbra_protected **p,
			 uint32_t *copy, struct umbra_error *err);

/* How many copies newer than this one have to stay what they are. */
size_t umbra_dm_revert_newer(const struct umbra_protected *p, uint32_t copy);

/* What comes back must still have the area's file where the area is. */
int umbra_dm_revert_check_area(const struct umbra_dm_revert *v, const struct umbra_protected *p,
			       struct umbra_error *err);

/* Plans, and looks whether there is room for what the newer copies need then; where there are none
 * nothing has to be kept. The lock may be given back meanwhile: *p and *copy are others then, and
 * *p NULL when it could not be had again. */
int umbra_dm_revert_check_room(struct umbra_revert_request *q, struct umbra_dm_revert *v,
			       struct umbra_protected **p, uint32_t *copy, struct umbra_error *err);
