/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A diff area inside its volume gets longer: the blocks that it takes were free, but older copies
 * may still have files there, which they read from the volume itself. The layer does not see what
 * is written to the area, so it has to keep those blocks before.
 */
#pragma once

#include "snapshot/provider/dm/volume/protected.h"

/*
 * Keeps what copies need of the area from byte `from` to its end: AFTER umbra_area_extend() and
 * before the file cannot be changed any more; without the volume's lock. NO_SPACE: the diff area
 * has no room for that now.
 */
int umbra_dm_preserve(int state_fd, const struct umbra_area *a, uint64_t from,
		      struct umbra_error *err);
