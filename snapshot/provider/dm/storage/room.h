/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Room for writers: the live store gets what is free. When little is left the oldest copy goes, and
 * what it held is handed over; the newest is never given up for space.
 */
#pragma once

#include "snapshot/provider/dm/volume/gauge.h"
#include "snapshot/storage.h"

/* Until enough is free, or all that can be had. *gauge: how it is then. The watch is told of each
 * copy that is given up. */
int umbra_room_make(struct umbra_protected *p, const struct umbra_storage_watch *watch,
		    struct umbra_gauge *gauge, struct umbra_error *err);
