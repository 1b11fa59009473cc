/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Inside of the layer: which devices may be slid under. */
#pragma once

#include "snapshot/sys/dm.h"

/* umbra_layer_check(), and what was looked at: the device and its table, keys and all. */
int umbra_layer_examine(dev_t dev, struct umbra_dm_info *info, struct umbra_dm_table *table,
			struct umbra_error *err);
