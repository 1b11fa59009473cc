/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the kernel devices of one area are made of, when the volume is slid in (layer.h). */
#pragma once

#include <sys/types.h>

#include "snapshot/provider/dm/device/names.h"
#include "snapshot/provider/dm/pool/pool.h"
#include "snapshot/sys/dm.h"

struct umbra_kernel {
	struct umbra_id area;
	dev_t real;       /* the volume below the layer */
	dev_t pool;       /* the diff area as one address space, role `area` */
	uint64_t sectors; /* of the volume */
};

/* From now on nothing is stored in the area: the kernel gives the copies up, the volume goes on.
 * Needs no lock. 0 too when there is no area in the kernel. */
int umbra_kernel_stop(const struct umbra_kernel *k, struct umbra_error *err);

/* Removes a device. Somebody has it open: he gets errors, and it goes with the last who has; what
 * is below it is not in use from here on. 0 or UMBRA_DM_NONE. */
int umbra_kernel_retire(const struct umbra_kernel *k, const struct umbra_dm_info *info,
			struct umbra_error *err);

/* Removes all devices of the area but `real`, whatever they are; readers of copies get errors,
 * writers that wait at a wall go on. */
int umbra_kernel_clear(const struct umbra_kernel *k, struct umbra_error *err);
