/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Carries out what compact.h plans, a bounded piece at a time. */
#pragma once

#include "snapshot/provider/dm/volume/protected.h"

/*
 * One piece of work on one copy, of at most 4 MiB: 1 when it was done, and there may be more; 0:
 * there is nothing that is worth it, or no room for it. With the volume's lock; may be killed
 * anywhere. spare: segments that have to be left to the live store.
 */
int umbra_compact_run(struct umbra_protected *p, uint64_t spare, struct umbra_error *err);

/* Changes when there may be something to do again after a 0. */
uint64_t umbra_compact_sign(const struct umbra_pool *pool);

/* The live store gives up the last n segments that it has not touched. 1, or 0: it has not as many,
 * or was too fast. */
int umbra_live_give_back(struct umbra_protected *p, uint32_t n, struct umbra_error *err);
