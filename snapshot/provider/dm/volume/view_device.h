/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Views in the kernel: a copy that is being read is one read-only snapshot device over that of the
 * live store (view_plan.h), so that it is two layers deep whatever the number of copies. Made when
 * it is needed, gone when nobody has it open.
 *
 *	view-<id>	snapshot snap<live> viewcow P CHUNK
 *	viewcow<G>-<id>	the made-up store; G is 0 and 1 in turn
 *
 * <id>: the first 18 characters of the shadow copy's. Under the lock of the volume.
 */
#pragma once

#include "snapshot/provider/dm/volume/protected.h"

/* The view of a KEPT copy; made if there is none. */
int umbra_view_device_make(struct umbra_protected *p, const struct umbra_id *id, dev_t *out,
			   struct umbra_error *err);

/* Puts all views that are open over the newest store and removes the others; after that the store
 * that was the newest before can be taken out of the kernel. Readers of a copy whose stores are
 * damaged, or cannot be read, get errors from now on. */
int umbra_view_devices_rebase(struct umbra_protected *p, struct umbra_error *err);

/* Whoever has views of this copy (NULL: of any) open gets errors from now on; nothing is mapped
 * any more. */
int umbra_view_devices_close(struct umbra_protected *p, const struct umbra_id *id,
			     struct umbra_error *err);

/* Removes views that nobody has open, and frees the segments that nothing maps any more. */
int umbra_view_devices_settle(struct umbra_protected *p, struct umbra_error *err);
