/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Where a block device is mounted, in this process's mount namespace. */
#pragma once

#include <sys/types.h>

#include "common/error.h"

/* *out: one of the places, the newest; NULL when it is mounted nowhere here. The caller frees it.
 */
int umbra_mounted_at(dev_t dev, char **out, struct umbra_error *err);

/* Is it mounted here for reading, and so that nothing is replayed (ro,norecovery): the one way in
 * which no filesystem writes anything? 1; 0, also when it is mounted nowhere here; negative. */
int umbra_mounted_untouched(dev_t dev, struct umbra_error *err);

/* Unmounts it everywhere here, as umount(8) does: -EBUSY when somebody uses it; some of several
 * mounts may be gone then. */
int umbra_unmount(dev_t dev, struct umbra_error *err);
