/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/provider/dm/storage/known.h"

#include <string.h>

#include "common/log.h"
#include "common/token.h"
#include "snapshot/provider/dm/device/wall.h"
#include "snapshot/provider/dm/volume/space.h"
#include "snapshot/provider/dm/volume/stamp.h"

#define ANYWAY_US 3000000 /* opened at least so often */
#define ASK_AGAIN 4       /* looks before the space that is left would be used up */

static struct umbra_known *areas;

void umbra_look_again(struct umbra_look *look, int64_t ms)
{
	if (ms < UMBRA_LOOK_OFTEN_MS)
		ms = UMBRA_LOOK_OFTEN_MS;
	if (ms > UMBRA_LOOK_SELDOM_MS)
		ms = UMBRA_LOOK_SELDOM_MS;
	if (look->again_ms < 0 || look->again_ms > ms)
		look->again_ms = (int)ms;
}

struct umbra_known *umbra_known_of(const struct umbra_id *area)
{
	struct umbra_known *k;

	for (k = areas; k; k = k->next)
		if (strcmp(k->kernel.area.s, area->s) == 0)
			return k;
	k = calloc(1, sizeof(*k));
	if (k) {
		k->kernel.area = *area;
		k->next = areas;
		areas = k;
	}
	return k;
}

void umbra_known_forget_all(void)
{
	struct umbra_known *k;

	while ((k = areas)) {
		areas = k->next;
		umbra_harm_forget(&k->harm);
		free(k);
	}
}

/* 1, 0 or negative. */
static int slid_in(dev_t origin, struct umbra_error *err)
{
	_cleanup_dm_table_ struct umbra_dm_table table = {0};
	int r = umbra_dm_table(umbra_dm_numbered(origin), UMBRA_DM_LIVE, &table, err);

	return r < 0 ? r : table.n == 1 && strcmp(table.v[0].target, "snapshot-origin") == 0;
}

/* When the store would be full at the speed of the last moments. */
static int64_t time_left_ms(struct umbra_known *k, uint64_t used, uint64_t left)
{
	int64_t now = umbra_now_us(), passed = now - k->seen_us;
	uint64_t written = used > k->seen ? used - k->seen : 0;

	k->seen = used;
	k->seen_us = now;
	if (written == 0 || passed <= 0)
		return UMBRA_LOOK_SELDOM_MS * ASK_AGAIN;
	return (int64_t)((double)left / (double)written * (double)passed / 1000);
}

/* Is there enough, or nothing that could be done about it? */
static int store_is_well(struct umbra_known *k, struct umbra_look *look, struct umbra_error *err)
{
	enum umbra_store_state state;
	uint64_t used, granted;
	int r = umbra_store_device_state(&k->kernel, k->next_store, &state, NULL, err);

	if (r < 0 || state != UMBRA_STORE_ABSENT)
		return r < 0 ? r : 0;
	r = umbra_store_device_state(&k->kernel, k->store, &state, &used, err);
	if (r < 0 || state != UMBRA_STORE_LIVE)
		return r < 0 ? r : 0;
	r = umbra_wall_chunks(&k->kernel, k->store, &granted, err);
	if (r < 0 || used > granted || (used + k->low > granted && used != k->used))
		return r < 0 ? r : 0;
	umbra_look_again(look, time_left_ms(k, used, granted - used) / ASK_AGAIN);
	return 1;
}

/* Has it been mounted or unmounted, or mounted otherwise, and the pool does not know? Of the disk
 * that is asked only when there is a reason. */
static bool stamp_is_well(const struct umbra_known *k, const struct umbra_look *look)
{
	if (!k->in && !k->asleep)
		return true;
	if ((umbra_stamp_used(k->origin, "", NULL) > 0) != k->in_use)
		return false;
	return !k->in || !look->watch->mounts ||
	       !umbra_stamp_differs(k->origin, k->kernel.real, k->kernel.sectors, k->stamp);
}

static bool is_well(struct umbra_known *k, struct umbra_look *look)
{
	int r;

	if (umbra_harm_look(&k->harm) != UMBRA_HARM_NONE || umbra_now_us() - k->at_us > ANYWAY_US)
		return false;
	if (*k->why)
		return true;
	if (k->unfinished || k->compacting)
		return false;
	r = slid_in(k->origin, NULL);
	if (r < 0 || (r > 0) != k->in || !stamp_is_well(k, look))
		return false;
	return !k->in || store_is_well(k, look, NULL) > 0;
}

static void tell_change(const struct umbra_look *look)
{
	if (look->watch->changed)
		look->watch->changed(look->watch->arg);
}

void umbra_known_remember(struct umbra_known *k, const struct umbra_protected *p,
			  const struct umbra_gauge *gauge, const struct umbra_look *look)
{
	if (*k->why || (k->opened && k->lost != umbra_pool_count(p->pool, UMBRA_POOL_LOST)))
		tell_change(look);
	k->opened = true;
	k->lost = umbra_pool_count(p->pool, UMBRA_POOL_LOST);
	k->origin = p->layer.origin;
	k->in = p->in;
	k->asleep = p->asleep;
	k->kernel = p->kernel;
	snprintf(k->stamp, sizeof(k->stamp), "%s", p->pool->stamp);
	k->at_us = k->seen_us = umbra_now_us();
	k->store = gauge->store ? gauge->store->number : UMBRA_POOL_NO_STORE;
	k->next_store = p->pool->next_store;
	k->used = k->seen = gauge->used;
	k->unfinished = umbra_pool_unfinished(p->pool);
	*k->why = '\0';
	k->low = umbra_space_low_water(p->pool) * p->pool->geometry.segment_chunks;
	umbra_harm_remember(&k->harm, p);
}

void umbra_known_remember_failure(struct umbra_known *k, const char *path, const char *why,
				  const struct umbra_look *look)
{
	if (strcmp(k->why, why) != 0) {
		umbra_log_error("looking after '%s': %s", path, why);
		tell_change(look);
	}
	snprintf(k->why, sizeof(k->why), "%s", why);
	k->at_us = umbra_now_us();
}

const struct umbra_known *umbra_known_first(void)
{
	return areas;
}

bool umbra_known_all_well(struct umbra_look *look)
{
	struct umbra_known *k;

	for (k = areas; k; k = k->next)
		if (!is_well(k, look))
			return false;
	return true;
}
