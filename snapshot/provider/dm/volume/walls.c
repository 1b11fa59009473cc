/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/provider/dm/volume/walls.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "common/fault.h"
#include "common/log.h"
#include "common/token.h"
#include "snapshot/provider/dm/device/store_device.h"
#include "snapshot/provider/dm/device/wall.h"
#include "snapshot/provider/dm/volume/state.h"

#define SNAP "snap"
#define MAX  64 /* stores that are waited for at a time; more are seen when these are done */

/* Where somebody waits, and since when nothing was granted to it. */
struct waiting {
	struct umbra_id area;
	uint64_t store, granted;
	int64_t since_us;
	bool seen;
};

static struct waiting waits[MAX];
static size_t n_waits;

static struct waiting *find(const struct umbra_id *area, uint64_t store)
{
	size_t i;

	for (i = 0; i < n_waits; i++)
		if (waits[i].store == store && strcmp(waits[i].area.s, area->s) == 0)
			return &waits[i];
	if (n_waits == MAX)
		return NULL;
	waits[n_waits] = (struct waiting){.area = *area, .store = store};
	return &waits[n_waits++];
}

static void forget_unseen(void)
{
	size_t i, n = 0;

	for (i = 0; i < n_waits; i++)
		if (waits[i].seen)
			waits[n++] = waits[i];
	n_waits = n;
	for (i = 0; i < n_waits; i++)
		waits[i].seen = false;
}

/* The store that a device is the snapshot of; 0: it is something else. */
static uint64_t store_of(const struct umbra_dm_info *info, struct umbra_id *area)
{
	const char *uuid = info->uuid + strlen(UMBRA_DEVICE_PREFIX), *role;
	struct umbra_id id = {0};

	if (strlen(info->uuid) < strlen(UMBRA_DEVICE_PREFIX) + UMBRA_ID_LEN)
		return 0;
	memcpy(id.s, uuid, UMBRA_ID_LEN);
	role = umbra_device_role(&id, info->uuid);
	if (!role || strncmp(role, SNAP, strlen(SNAP)) != 0 ||
	    !isdigit((unsigned char)role[strlen(SNAP)]))
		return 0;
	*area = id;
	return strtoull(role + strlen(SNAP), NULL, 10);
}

static int let_go(const struct umbra_kernel *k, struct waiting *w, struct umbra_error *err)
{
	int r = umbra_fault_fail("walls.late", err);

	if (r == 0)
		r = umbra_wall_give_up(k, w->store, err);
	w->since_us = umbra_now_us();
	if (r == 0)
		umbra_log_error("nobody could give space to writers that waited for it in diff "
				"area %s: their volume goes on without its shadow copies",
				k->area.s);
	return r;
}

/* 1: somebody waits there. */
static int look_at(const struct umbra_kernel *k, uint64_t store, int64_t limit_us,
		   struct umbra_error *err)
{
	enum umbra_store_state state;
	uint64_t used, granted;
	struct waiting *w;
	int r = umbra_store_device_state(k, store, &state, &used, err);

	/* So many came at once that the last found the store full, while the first still wait. */
	if (r == 0 && state == UMBRA_STORE_INVALID)
		return umbra_wall_give_up(k, store, err);
	if (r < 0 || state != UMBRA_STORE_LIVE)
		return r;
	r = umbra_wall_chunks(k, store, &granted, err);
	if (r < 0 || used <= granted)
		return r;
	w = find(&k->area, store);
	if (!w)
		return 1;
	w->seen = true;
	if (w->since_us == 0 || w->granted != granted)
		w->since_us = umbra_now_us();
	w->granted = granted;
	if (umbra_now_us() - w->since_us >= limit_us)
		r = let_go(k, w, err);
	return r < 0 ? r : 1;
}

int umbra_walls_let_go(int limit_ms, struct umbra_error *err)
{
	_cleanup_dm_list_ struct umbra_dm_list list = {0};
	struct umbra_kernel k = {0};
	uint64_t store;
	int r = umbra_dm_list(UMBRA_DEVICE_PREFIX, &list, err), one, waiting = 0;
	size_t i;

	for (i = 0; r >= 0 && i < list.n; i++) {
		store = store_of(&list.v[i], &k.area);
		one = store ? look_at(&k, store, (int64_t)limit_ms * 1000, err) : 0;
		waiting += one > 0;
		/* Devices come and go while we look; what stays is seen the next time. */
	}
	forget_unseen();
	return r < 0 ? r : waiting > 0;
}

static int leave_area(const struct umbra_dm_state *s, void *arg)
{
	_cleanup_dm_list_ struct umbra_dm_list list = {0};
	struct umbra_kernel k = {.area = s->area};
	struct umbra_device_name snaps;
	struct umbra_error why = {0};
	uint64_t store;
	size_t i;
	int r;

	(void)arg;
	umbra_device_name(&k.area, SNAP, &snaps);
	r = umbra_dm_list(snaps.uuid, &list, &why);
	for (i = 0; r >= 0 && i < list.n; i++) {
		store = store_of(&list.v[i], &k.area);
		if (store)
			r = umbra_wall_give_up(&k, store, &why);
	}
	if (r < 0)
		umbra_log_error("writers to '%s' may have to wait for the next umbrad: %s", s->path,
				why.text);
	return 0;
}

int umbra_walls_leave(int state_fd, struct umbra_error *err)
{
	return umbra_dm_state_each(state_fd, leave_area, NULL, err);
}
