/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* After a start of the machine: the newest store goes back into the kernel (snapshot/storage.h). */
#pragma once

#include "snapshot/provider/dm/volume/protected.h"
#include "snapshot/storage.h"

/* Wakes one that is asleep. -EBUSY: it is in use. Killed at any step it is asleep again, as long as
 * nobody mounts it; copies that turn out to be lost are lost, which is success. */
int umbra_protected_activate(struct umbra_protected *p, struct umbra_error *err);

int umbra_dm_activate(const struct umbra_storage_watch *watch, int wait_ms,
		      struct umbra_error *err);
