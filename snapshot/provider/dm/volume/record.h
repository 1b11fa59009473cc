/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a shadow copy's record says of where it is, and its slot in the area. */
#pragma once

#include "snapshot/provider.h"
#include "snapshot/provider/dm/volume/protected.h"

/* The id of the area that a copy's volume (set.h) is named by, or NULL: it is not ours. */
const char *umbra_dm_area_of(const struct umbra_shadow *shadow);

/* The name of the set that a copy is of, for people. Returns out. */
const char *umbra_dm_set_of(const struct umbra_protected *p, const struct umbra_pool_copy *copy,
			    char out[UMBRA_TOKEN_LEN + 1]);

/* Where the volume was mounted when its oldest copy that can be read was made: by that path they
 * are deleted. Else where it is. To be freed; NULL: memory. */
char *umbra_dm_copied_as(const struct umbra_protected *p, const char *mounted);

int umbra_dm_record_origin(struct umbra_member *m, const struct umbra_protected *p,
			   struct umbra_error *err);
int umbra_dm_record_write(struct umbra_protected *p, const struct umbra_pool *pool,
			  const struct umbra_member *m, struct umbra_error *err);

/* The same with a document of any length that fits; without a flush. */
int umbra_dm_record_put(struct umbra_protected *p, const struct umbra_pool_copy *copy,
			const json_t *doc, struct umbra_error *err);
int umbra_dm_record_read(const struct umbra_protected *p, const struct umbra_pool_copy *copy,
			 json_t **out, struct umbra_error *err);
