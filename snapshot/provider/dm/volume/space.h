/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is free in the pool, and whose it is. */
#pragma once

#include "snapshot/provider/dm/volume/protected.h"

/* So many segments have to be left to the live store; with less the oldest copies are given up. */
uint64_t umbra_space_low_water(const struct umbra_pool *pool);
/* The same if it had so many segments. */
uint64_t umbra_space_low_water_of(const struct umbra_pool_geometry *g, uint32_t segments);

/* All free segments to the live store. */
int umbra_space_grant_all(struct umbra_protected *p, struct umbra_error *err);
