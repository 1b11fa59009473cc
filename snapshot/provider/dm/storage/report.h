/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What people are told of diff areas, as snapshot/storage.h says. */
#pragma once

#include "snapshot/provider/dm/volume/protected.h"

/* New reference; NULL: no memory. */
json_t *umbra_storage_report(const struct umbra_protected *p, const char *path);

/* umbra_storage_ops.list */
int umbra_storage_list_all(int state_fd, const char *state_dir, json_t *out,
			   struct umbra_error *err);
