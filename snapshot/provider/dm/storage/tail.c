/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/provider/dm/storage/tail.h"

#include "common/fault.h"
#include "snapshot/provider/dm/volume/compact_run.h"
#include "snapshot/provider/dm/volume/gauge.h"
#include "snapshot/provider/dm/volume/space.h"
#include "snapshot/provider/dm/volume/view_device.h"

#define LEAST         8U         /* segments */
#define MARGIN_CHUNKS 256        /* that the live store may use up meanwhile */
#define PIECE         (8U << 20) /* bytes that are moved at a time; one segment at least */
#define COPY          (1U << 20)

int umbra_tail_least(const struct umbra_protected *p, uint32_t *segments, struct umbra_error *err)
{
	const struct umbra_pool_geometry *g = &p->pool->geometry;
	struct umbra_gauge gauge;
	uint32_t used, n;
	int r = umbra_gauge_read(p, &gauge, err);

	if (r < 0)
		return r;
	used = umbra_gauge_in_use(p, &gauge);
	for (n = used > LEAST ? used : LEAST; n < used + umbra_space_low_water_of(g, n);)
		n++;
	*segments = n;
	return 0;
}

/* All of the live store that it has not touched, but for a margin. */
static int take_back(struct umbra_protected *p, struct umbra_error *err)
{
	const struct umbra_pool_store *live = umbra_pool_live(p->pool);
	const uint64_t size = p->pool->geometry.segment_chunks;
	enum umbra_store_state state;
	uint64_t used, keep;
	int r;

	if (!live)
		return 0;
	r = umbra_store_device_state(&p->kernel, live->number, &state, &used, err);
	keep = (used + MARGIN_CHUNKS + size - 1) / size;
	if (r < 0 || keep >= live->segments.n)
		return r;
	r = umbra_live_give_back(p, live->segments.n - (uint32_t)keep, err);
	return r < 0 ? r : 0;
}

static uint64_t byte_of(const struct umbra_pool *pool, uint32_t segment)
{
	return umbra_pool_segment_at(pool, segment) * pool->geometry.chunk_sectors *
	       UMBRA_DM_SECTOR;
}

static int copy_segment(const struct umbra_protected *p, uint32_t from, uint32_t to,
			struct umbra_error *err)
{
	uint64_t at = byte_of(p->pool, from), left = byte_of(p->pool, from + 1) - at;
	uint64_t there = byte_of(p->pool, to);
	_cleanup_free_ char *buffer = malloc(COPY);
	size_t n;
	int r = 0;

	if (!buffer)
		return umbra_oom(err);
	for (; r == 0 && left > 0; left -= n, at += n, there += n) {
		n = left < COPY ? left : COPY;
		r = umbra_area_read(p->area, at, buffer, n, err);
		if (r == 0)
			r = umbra_area_write(p->area, there, buffer, n, err);
	}
	return r;
}

static uint32_t lowest_free(const struct umbra_pool *pool)
{
	uint32_t i;

	for (i = 0; i < pool->map.n && pool->map.use[i] != UMBRA_SEGMENT_FREE; i++)
		;
	return i;
}

static int move_one(const struct umbra_protected *p, struct umbra_pool *next, uint32_t segment,
		    uint32_t segments, struct umbra_error *err)
{
	const uint32_t to = lowest_free(next);
	int r;

	if (!next->stores[umbra_pool_store_of(next, segment)].sealed)
		return umbra_fail(err, UMBRA_E_BUSY, EBUSY,
				  "the newest shadow copy collects at the end of the diff area");
	if (to >= segments)
		return umbra_fail(err, UMBRA_E_NO_SPACE, ENOSPC,
				  "the diff area has no room to move what lies at its end");
	r = copy_segment(p, segment, to, err);
	return r < 0 ? r : umbra_pool_move(next, segment, to, err);
}

/* From the end to the front, until something is in the way. How many; why there are none. */
static int move_some(const struct umbra_protected *p, struct umbra_pool *next, uint32_t segments,
		     struct umbra_error *err)
{
	const uint64_t most = PIECE / (byte_of(next, 1) - byte_of(next, 0));
	uint32_t i, n = 0;
	int r = 0;

	for (i = next->map.n; r == 0 && i-- > segments && (n == 0 || n < most);) {
		if (next->map.use[i] != UMBRA_SEGMENT_OWNED)
			continue;
		r = move_one(p, next, i, segments, err);
		n += r == 0;
	}
	return n > 0 ? (int)n : r;
}

/* What is free at the end goes. */
static int cut(struct umbra_pool *next, uint32_t segments, struct umbra_error *err)
{
	uint32_t n = next->map.n;

	while (n > segments && next->map.use[n - 1] == UMBRA_SEGMENT_FREE)
		n--;
	return n < next->map.n ? umbra_pool_resize(next, n, err) : 0;
}

/* Views that are open map the segments where they were. */
static int let_views_go(struct umbra_protected *p, struct umbra_error *err)
{
	int r = 0;

	if (!p->in || umbra_segment_map_count(&p->pool->map, UMBRA_SEGMENT_PENDING) == 0)
		return 0;
	r = umbra_view_devices_rebase(p, err);
	return r < 0 ? r : umbra_view_devices_settle(p, err);
}

static int piece(struct umbra_protected *p, uint32_t segments, struct umbra_error *err)
{
	_cleanup_pool_ struct umbra_pool *next = NULL;
	struct umbra_error why = {0};
	uint32_t before = p->pool->map.n;
	int r = umbra_protected_begin(p, &next, err), moved = 0;

	if (r == 0)
		moved = move_some(p, next, segments, &why);
	if (r == 0 && moved > 0)
		r = umbra_area_flush(p->area, err);
	if (r == 0 && moved > 0)
		r = umbra_fault_fail("dm.tail-copied", err);
	if (r == 0)
		r = cut(next, segments, err);
	if (r < 0 || (moved <= 0 && next->map.n == before)) {
		if (r == 0 && moved < 0)
			r = umbra_fail(err, why.code, why.errnum, "%s", why.text);
		return r < 0 ? r : before > segments;
	}
	r = umbra_protected_write(p, &next, err);
	if (r == 0)
		r = umbra_fault_fail("dm.tail-cut", err);
	if (r == 0)
		r = let_views_go(p, err);
	return r < 0 ? r : p->pool->map.n > segments;
}

int umbra_tail_free(struct umbra_protected *p, uint32_t segments, struct umbra_error *err)
{
	struct umbra_error why = {0};
	int r = let_views_go(p, err), one;

	if (r == 0)
		r = take_back(p, err);
	if (r == 0)
		r = piece(p, segments, err);
	/* In any case: writers wait for what was taken back. */
	one = umbra_space_grant_all(p, r < 0 ? &why : err);
	return one < 0 && r >= 0 ? one : r;
}
