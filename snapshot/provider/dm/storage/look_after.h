/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What umbrad does for diff areas (snapshot/storage.h). */
#pragma once

#include "snapshot/provider/dm/volume/protected.h"
#include "snapshot/storage.h"

int umbra_dm_look_after(const struct umbra_storage_watch *watch, int *again_ms,
			struct umbra_error *err);
bool umbra_dm_depends_on(dev_t device);
