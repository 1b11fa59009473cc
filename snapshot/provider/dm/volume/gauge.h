/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How much space the stores have that the kernel writes. */
#pragma once

#include "snapshot/provider/dm/volume/protected.h"

struct umbra_gauge {
	/* Of those that are live the one that runs out first; NULL: none is. There are two while a
	 * copy is being made. */
	const struct umbra_pool_store *store;
	uint64_t left;    /* segments that it has not touched, and those that are free */
	uint64_t total;   /* as left, for all stores that are not sealed */
	uint64_t used;    /* chunks of it that are in use */
	uint64_t granted; /* chunks that its device lets through */
	bool short_of;    /* fewer than the pool says: a grant was interrupted */
};

int umbra_gauge_read(const struct umbra_protected *p, struct umbra_gauge *out,
		     struct umbra_error *err);

/* Segments of which something is in use, or may still be read. */
uint32_t umbra_gauge_in_use(const struct umbra_protected *p, const struct umbra_gauge *g);
