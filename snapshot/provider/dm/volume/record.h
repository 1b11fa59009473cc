/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a shadow copy's record says of where it is, and its slot in the area. */
#pragma once

#include "snapshot/provider.h"
#include "snapshot/provider/dm/volume/protected.h"

int umbra_dm_record_origin(struct umbra_member *m, const struct umbra_protected *p,
			   struct umbra_error *err);
int umbra_dm_record_write(struct umbra_protected *p, const struct umbra_pool *pool,
			  const struct umbra_member *m, struct umbra_error *err);

/* The same with a document of any length that fits; without a flush. */
int umbra_dm_record_put(struct umbra_protected *p, const struct umbra_pool_copy *copy,
			const json_t *doc, struct umbra_error *err);
int umbra_dm_record_read(const struct umbra_protected *p, const struct umbra_pool_copy *copy,
			 json_t **out, struct umbra_error *err);
