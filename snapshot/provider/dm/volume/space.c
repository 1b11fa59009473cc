/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/provider/dm/volume/space.h"

#include "common/fault.h"
#include "snapshot/provider/dm/volume/gauge.h"

/* An eighth of the pool has to be left, at most what is written in a second. */
#define LOW_BYTES (512ULL << 20)

uint64_t umbra_space_low_water_of(const struct umbra_pool_geometry *g, uint32_t segments)
{
	uint64_t segment = (uint64_t)g->segment_chunks * g->chunk_sectors * UMBRA_DM_SECTOR;
	uint64_t low = segments / 8;

	return low * segment > LOW_BYTES ? LOW_BYTES / segment : low ? low : 1;
}

uint64_t umbra_space_low_water(const struct umbra_pool *pool)
{
	return umbra_space_low_water_of(&pool->geometry, pool->geometry.segments);
}

int umbra_space_grant_all(struct umbra_protected *p, struct umbra_error *err)
{
	_cleanup_pool_ struct umbra_pool *next = NULL;
	uint32_t n = umbra_pool_free_segments(p->pool), granted, i;
	struct umbra_gauge gauge;
	uint64_t number;
	int r = umbra_gauge_read(p, &gauge, err);

	if (r < 0 || !gauge.store || (n == 0 && !gauge.short_of))
		return r;
	number = gauge.store->number;
	if (n > 0) {
		r = umbra_protected_begin(p, &next, err);
		if (r == 0)
			r = umbra_pool_grant(next, number, n, &granted, err);
		if (r == 0)
			r = umbra_protected_write(p, &next, err);
		if (r == 0)
			r = umbra_fault_fail("dm.granted", err);
		if (r < 0)
			return r;
	}
	i = umbra_pool_find_store(p->pool, number);
	return umbra_store_device_grant(&p->kernel, p->pool, &p->pool->stores[i], err);
}
