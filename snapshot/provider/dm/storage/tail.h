/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The end of the pool, freed so that it can be cut off. What the live store was given and has not
 * used is taken back; segments of sealed stores move to the front. What the kernel is writing
 * stays where it is until the next copy is made.
 */
#pragma once

#include "snapshot/provider/dm/volume/protected.h"

/* Segments that the pool needs at least, now: for what is in use, and so much that no copy has to
 * be given up at once. */
int umbra_tail_least(const struct umbra_protected *p, uint32_t *segments, struct umbra_error *err);

/*
 * A piece of it, at most some MiB: the pool gets shorter, towards this many segments. 0: it has
 * them. 1: call again, and let go of the volume's lock before, since writers may need space.
 * -ENOSPC: there is no room in front; -EBUSY: the live store is in the way. May be killed anywhere.
 */
int umbra_tail_free(struct umbra_protected *p, uint32_t segments, struct umbra_error *err);
