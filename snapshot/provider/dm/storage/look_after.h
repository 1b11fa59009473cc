/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What umbrad does for diff areas (snapshot/storage.h). */
#pragma once

#include "snapshot/provider/dm/volume/protected.h"
#include "snapshot/storage.h"

/* So many segments have to be left to the live store; with less the oldest copies are given up. */
uint64_t umbra_dm_low_water(const struct umbra_pool *pool);
/* The same if it had so many segments. */
uint64_t umbra_dm_low_water_of(const struct umbra_pool_geometry *g, uint32_t segments);

int umbra_dm_look_after(const struct umbra_storage_watch *watch, int *again_ms,
			struct umbra_error *err);
bool umbra_dm_depends_on(dev_t device);
