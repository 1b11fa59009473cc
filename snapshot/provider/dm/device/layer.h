/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The snapshot layer below a mounted device-mapper device, the origin: slid in and taken out while
 * filesystems on the origin are in use. Slid in, the origin's table is
 *
 *	0 SECTORS snapshot-origin REAL
 *
 * and `real`, a device of ours, has the table that the origin had. The origin keeps its number,
 * its name and the settings of its queue. Discard (fstrim) is not available while slid in.
 *
 * The table is replaced by a single ioctl, so that nothing stays suspended when the caller is
 * killed. None of this may be called while the origin is held, and only by who has the area's lock.
 */
#pragma once

#include <sys/types.h>

#include "common/id.h"
#include "snapshot/sys/dm.h"

struct umbra_layer {
	struct umbra_id area; /* the diff area that the copies are in */
	dev_t origin;         /* stays mounted, or open, as long as this is used */
	int run_dir; /* /run/umbra/dm: what an interrupted change must put back; borrowed */
};

enum umbra_layer_state {
	UMBRA_LAYER_OUT, /* the origin has a table that is not ours, and there is no `real` */
	UMBRA_LAYER_IN,
	/* There is `real` without the origin on it, and no copy in the kernel: sliding in or out
	 * was interrupted. umbra_layer_repair() makes it OUT. */
	UMBRA_LAYER_HALF,
	/* As HALF, but there are copies in the kernel: somebody else (lvchange --refresh, lvextend,
	 * cryptsetup) has replaced the origin's table. What was written since is not in the
	 * copies: they are lost. Remove their devices, then repair. */
	UMBRA_LAYER_REPLACED,
};

/*
 * May the origin be slid under? Its table is what real would have. Refused with UNSUPPORTED, the
 * reason and what to do instead: no device-mapper device, a target that cannot exist twice
 * (multipath, verity, thin, raid, snapshot, …), a key in the kernel's keyring. With BUSY:
 * suspended, or somebody is at it. dev need not be mounted; one of ours is refused too.
 */
int umbra_layer_check(dev_t dev, struct umbra_error *err);

int umbra_layer_state(const struct umbra_layer *layer, enum umbra_layer_state *out,
		      struct umbra_error *err);

/*
 * Slides in. 0 too when it is in; from HALF it begins anew. Fails as umbra_layer_check(), and then
 * the origin is as it was; -EBUSY when REPLACED, or when it gets another table at that moment.
 */
int umbra_layer_in(const struct umbra_layer *layer, struct umbra_error *err);

/*
 * Takes it out and removes `real`. First remove all other devices of the area: -EBUSY while there
 * is one, or the origin is suspended, or gets another table at that moment. 0 too when it is not
 * in; an origin that has another table by now keeps it.
 */
int umbra_layer_out(const struct umbra_layer *layer, struct umbra_error *err);

/*
 * For the next start, after a process was killed at any step: undoes what it was at. The origin is
 * suspended then only by somebody else, and has a table that works. From IN and REPLACED no device
 * is removed. An origin that is suspended while no change of ours was under way, or for which
 * somebody else has loaded a table, is not ours: it is left alone (a hold is released by
 * umbra_thaw()). Where writers wait at a wall, release that first, or this waits for them.
 */
int umbra_layer_repair(const struct umbra_layer *layer, struct umbra_error *err);

/* Has a change of the origin's table been begun that nobody has ended: by a process that was
 * killed, or one that is at it and has the area's lock? */
bool umbra_layer_under_way(const struct umbra_layer *layer);

/* The part of the repair that is needed before the origin is read: it goes on if such a change left
 * it suspended. */
int umbra_layer_resume(const struct umbra_layer *layer, struct umbra_error *err);

/* The device number of `real`; for tables. -ENXIO: there is none. */
int umbra_layer_real(const struct umbra_layer *layer, dev_t *out, struct umbra_error *err);
