/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A protected volume: one that has a diff area. Opened, it is under its lock, its pool has been
 * read, and what killed processes left has been put right, so that kernel and pool agree:
 *
 * - the layer is in exactly if there are copies, and then the newest store, and no other, is in the
 *   kernel, live;
 * - no creation is unfinished, but for one whose maker is at it: it does not keep the lock while
 *   others freeze and the volume is held, so that writers get their space (room.h).
 *
 * Or it is asleep: since the machine was started nobody has activated it (activate.h), and it is
 * proved that nobody has written it either. Then no copy can be read, and none made.
 *
 * One that somebody else has suspended is not opened, and left as it is: -EBUSY.
 *
 * Whoever fails half way leaves the rest to the next who opens it.
 */
#pragma once

#include "snapshot/provider/dm/device/area.h"
#include "snapshot/provider/dm/device/kernel.h"
#include "snapshot/provider/dm/device/layer.h"
#include "snapshot/provider/dm/device/store_device.h"
#include "snapshot/provider/dm/volume/state.h"
#include "snapshot/volume.h"

struct umbra_protected {
	char *path; /* where the volume is mounted, or was when the area was made; for people */
	struct umbra_area *area;
	struct umbra_pool *pool; /* as it is on disk */
	struct umbra_layer layer;
	struct umbra_kernel kernel; /* valid while in */
	bool in;                    /* slid in */
	bool flushed;               /* what an earlier process wrote is durable (pool_disk.h) */
	bool torn;                  /* one of the two superblocks is to be mended, */
	bool unreadable;            /* where that can be done */
	bool replaced;              /* somebody gave the volume another table, as was found now */
	bool asleep;                /* there are copies, and their newest store is not live */
	bool adrift; /* what lies at the area's place may be another's: changes of the pool stay in
		      * memory */
	char why[UMBRA_ERROR_MAX]; /* adrift: why its copies are lost, if that was found out now */
	int run_dir;               /* /run/umbra/dm */
	int lock_fd;
};

/* The term that a reason begins with why copies are lost (set.h). */
#define UMBRA_DM_AREA_UNUSABLE "diff area unusable"

/* How long to wait for whoever has the lock. */
#define UMBRA_PROTECTED_WAIT_MS 20000

struct umbra_protected *umbra_protected_close(struct umbra_protected *p);
UMBRA_DEFINE_CLEANUP(struct umbra_protected *, protected, umbra_protected_close)
#define _cleanup_protected_ _cleanup_(umbra_cleanup_protected)

/* -ENOENT: the volume that is mounted from this device has no diff area of this state directory. */
int umbra_protected_open_dev(int state_fd, dev_t origin, int wait_ms, struct umbra_protected **out,
			     struct umbra_error *err);

/* Closes it, and notes how far its pool has come, so that an old copy of it is known. Who makes or
 * deletes a copy calls this at last. */
void umbra_protected_close_noted(int state_fd, struct umbra_protected *p);
/* Is it an old copy of what it was? Of one elsewhere opening it says so. */
bool umbra_protected_is_old(const struct umbra_protected *p, int state_fd);

/* The device of a record's volume. -ENODEV: it is not there, or has no table yet. */
int umbra_protected_find(const struct umbra_dm_state *s, dev_t *out, struct umbra_error *err);

/* Which area the volume has by the records: 1, or 0 when none. */
int umbra_protected_area_of(int state_fd, dev_t origin, struct umbra_id *out,
			    struct umbra_error *err);

/* Before any lock: -EBUSY where somebody else has suspended the volume, and has still after
 * wait_ms: with the lock others would be kept waiting, too. */
int umbra_protected_refuse_suspended(const struct umbra_dm_state *s, int wait_ms,
				     struct umbra_error *err);
/* For who is about to change something: the same, or the area is a file elsewhere, on a filesystem
 * that is frozen. 0, too, where there is none. */
int umbra_protected_refuse_frozen(int state_fd, const char *area, struct umbra_error *err);
int umbra_protected_refuse_frozen_dev(int state_fd, dev_t origin, struct umbra_error *err);

/* By the area's uuid: what a shadow copy's record has. The record of the area is read under the
 * lock. */
int umbra_protected_open_area(int state_fd, const char *area, int wait_ms,
			      struct umbra_protected **out, struct umbra_error *err);

/* What is in the kernel of an area that is out of reach goes, and the volume, where it is there,
 * has its own table again. */
int umbra_protected_drop(const struct umbra_dm_state *s, struct umbra_error *err);

/* Is what opening failed with so until somebody does something about it: no volume, no area? */
bool umbra_protected_out_of_reach(int r);

/* The diff area of a volume goes, with the copies in it, also when it cannot be read. -ENOENT: it
 * has none. */
int umbra_protected_abandon(int state_fd, dev_t origin, struct umbra_error *err);

/* A new diff area: writes an empty pool into it. Takes *area. */
int umbra_protected_open_new(const struct umbra_dm_state *s, struct umbra_area **area,
			     struct umbra_protected **out, struct umbra_error *err);

/* Each protected volume of this state directory; one that cannot be opened is left out. */
int umbra_protected_each(int state_fd,
			 int (*fn)(struct umbra_protected *p, void *arg, struct umbra_error *err),
			 void *arg, struct umbra_error *err);

/* Slides in, if it is not, with the pool's device. -EBUSY while it is asleep. */
int umbra_protected_enter(struct umbra_protected *p, struct umbra_error *err);

/* What the diff area says now. One superblock that cannot be read is not missed, unless something
 * is written. Negative: p->pool is what it was, unless only a damaged superblock could not be
 * mended. */
int umbra_protected_load(struct umbra_protected *p, struct umbra_error *err);

/*
 * A change of the pool. begin: a duplicate to change. write: makes it durable and adopts it; frees
 * *next in any case.
 */
int umbra_protected_begin(const struct umbra_protected *p, struct umbra_pool **next,
			  struct umbra_error *err);
int umbra_protected_write(struct umbra_protected *p, struct umbra_pool **next,
			  struct umbra_error *err);

/* Both superblocks become the same again. Only where it is certain, or proved, that what lies there
 * is the area: until then it may be somebody's file by now. Before anything else is written. */
int umbra_protected_mend(struct umbra_protected *p, struct umbra_error *err);

/*
 * Who makes a copy has this mark, a descriptor, from before the copy is PREPARED until it is not
 * any more; whoever opens the volume meanwhile leaves the creation alone. -EBUSY: somebody else has
 * it.
 */
int umbra_protected_mark(const struct umbra_protected *p, int *fd, struct umbra_error *err);
/* The same for who resizes the area: from before its record says so until it does not any more. */
int umbra_protected_mark_resize(const struct umbra_protected *p, int *fd, struct umbra_error *err);
/* Is the newest copy PREPARED, and whoever makes it alive? */
bool umbra_protected_being_made(const struct umbra_protected *p);

/* The store that views lie over: the newest that the pool knows to be live. NULL: there is none. */
const struct umbra_pool_store *umbra_protected_base(const struct umbra_protected *p);
/* All copies are lost, and it is said why. */
int umbra_protected_lose(struct umbra_protected *p, const char *why, struct umbra_error *err);

/* The copy that is being made is given up, so that the older ones get the space that it has taken.
 * 1; 0: there is none, or its instant has come. Its maker fails. */
int umbra_protected_outrun(struct umbra_protected *p, struct umbra_error *err);

/* For who wants to do what cannot be done while it is asleep: -EBUSY then, with what to do. */
int umbra_protected_awake(const struct umbra_protected *p, struct umbra_error *err);

/* The exceptions of a store, from its area, also while the kernel writes it: then those that were
 * there before the call, at least. *used: see store.h. */
int umbra_protected_read_store(const struct umbra_protected *p, const struct umbra_pool_store *s,
			       struct umbra_exceptions *out, uint64_t *used,
			       struct umbra_error *err);

/*
 * Kernel and pool as above (settle.c). By umbra_protected_open_*(); also after a change that made
 * stores or copies superfluous.
 */
int umbra_protected_settle(struct umbra_protected *p, struct umbra_error *err);
