/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/provider/dm/storage/room.h"

#include "common/fault.h"
#include "common/log.h"
#include "snapshot/provider/dm/volume/copies.h"
#include "snapshot/provider/dm/volume/record.h"
#include "snapshot/provider/dm/volume/space.h"
#include "snapshot/provider/dm/volume/view_device.h"

/* The oldest that is not the newest; NULL: none can be given up. */
static const struct umbra_pool_copy *oldest(const struct umbra_pool *pool)
{
	const struct umbra_pool_copy *first = NULL;
	uint32_t i;

	for (i = 0; i < pool->n_copies; i++) {
		if (pool->copies[i].state != UMBRA_POOL_KEPT)
			continue;
		if (first)
			return first->reverting ? NULL : first;
		first = &pool->copies[i];
	}
	return NULL;
}

/* Deleting waits until a creation is finished, which may take longer than writers can wait. */
static int forget_now(struct umbra_protected *p, const struct umbra_id *id, struct umbra_error *err)
{
	_cleanup_pool_ struct umbra_pool *next = NULL;
	int r = umbra_view_devices_close(p, id, err);

	if (r == 0)
		r = umbra_protected_begin(p, &next, err);
	if (r == 0)
		r = umbra_pool_lose(next, id, err);
	if (r == 0)
		r = umbra_pool_remove(next, id, err);
	if (r == 0)
		r = umbra_protected_write(p, &next, err);
	if (r == 0)
		r = umbra_fault_fail("dm.given-up", err);
	if (r == 0)
		r = umbra_protected_settle(p, err);
	return r < 0 ? r : umbra_space_grant_all(p, err);
}

static int drop_oldest(struct umbra_protected *p, const struct umbra_storage_watch *watch,
		       struct umbra_error *err)
{
	const struct umbra_pool_copy *copy = oldest(p->pool);
	char set[UMBRA_TOKEN_LEN + 1], why[UMBRA_ERROR_MAX];
	struct umbra_id id;
	int r;

	if (!copy)
		return -ENOSPC;
	id = copy->id;
	snprintf(why, sizeof(why),
		 "that of '%s' in set %s, the oldest in its diff area, which was full", p->path,
		 umbra_dm_set_of(p, copy, set));
	r = umbra_pool_unfinished(p->pool) ? forget_now(p, &id, err) : umbra_dm_forget(p, &id, err);
	if (r == 0)
		watch->lost(watch->arg, &id, why);
	return r;
}

/* While a copy is made its store has half of what was left. */
static bool is_low(const struct umbra_gauge *g, uint64_t low)
{
	return g->total < low || (g->store && g->left < low / 4);
}

/* Writers are about to wait, and no older copy is left to give up: rather none is made. */
static int outrun(struct umbra_protected *p, struct umbra_gauge *gauge, struct umbra_error *err)
{
	int r = gauge->store && gauge->left == 0 ? umbra_protected_outrun(p, err) : 0;

	if (r <= 0)
		return r;
	umbra_log_warning("'%s' is written so fast that the shadow copy that was being made is "
			  "given up for the older ones",
			  p->path);
	return umbra_gauge_read(p, gauge, err);
}

int umbra_room_make(struct umbra_protected *p, const struct umbra_storage_watch *watch,
		    struct umbra_gauge *gauge, struct umbra_error *err)
{
	uint64_t low = umbra_space_low_water(p->pool);
	int r = umbra_gauge_read(p, gauge, err);

	while (r == 0 && is_low(gauge, low)) {
		watch->step(watch->arg);
		r = drop_oldest(p, watch, err);
		if (r == 0)
			r = umbra_gauge_read(p, gauge, err);
	}
	if (r == -ENOSPC)
		r = outrun(p, gauge, err);
	if (r == 0)
		r = umbra_space_grant_all(p, err);
	return r < 0 ? r : umbra_gauge_read(p, gauge, err);
}
