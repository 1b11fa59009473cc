/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The copies of a volume: found, deleted. Deleting is bookkeeping: no device of the kernel changes
 * but the views of it. */
#pragma once

#include "snapshot/provider.h"
#include "snapshot/provider/dm/volume/protected.h"

/* Deletes a copy from the pool; 0 too when it is not there. Takes the layer out with the last. */
int umbra_dm_forget(struct umbra_protected *p, const struct umbra_id *id, struct umbra_error *err);
/* The same for good: where nothing may be written to the area now its record keeps it, so that
 * nobody is told of the copy again. */
int umbra_dm_delete(int state_fd, struct umbra_protected *p, const struct umbra_id *id,
		    struct umbra_error *err);
/* What the area's record s keeps of that goes out of the pool, and out of the record when the area
 * knows it. Before the pool is settled only where the area is certain. */
int umbra_dm_drop_deleted(int state_fd, struct umbra_protected *p, struct umbra_dm_state *s,
			  struct umbra_error *err);

/* The protected volume that a shadow copy is of; by its record, or, when that says nothing (a
 * leftover), by the pools. -ENOENT: in none. */
int umbra_dm_find(int state_fd, const struct umbra_shadow *shadow, struct umbra_protected **out,
		  struct umbra_error *err);
/* The same for who will change something: -EBUSY, before the lock, where the area is on a frozen
 * filesystem. */
int umbra_dm_find_to_change(int state_fd, const struct umbra_shadow *shadow,
			    struct umbra_protected **out, struct umbra_error *err);

/* The copy's index in the pool, for who wants to read it. -ENOENT: it is not there, or none that
 * anybody sees; -EIO: it is lost. */
int umbra_dm_find_copy(const struct umbra_protected *p, const struct umbra_id *id, uint32_t *out,
		       struct umbra_error *err);
