/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Most looks are a glance (known.h). The volume is opened, under its lock, when it is not as it was
 * when all was well, and now and then anyway: the live store gets room (room.h). Writers that
 * outran that wait at the wall; what cannot be had for them in time never will, and the volume goes
 * on without its copies (walls.h).
 */
#include "snapshot/provider/dm/storage/look_after.h"

#include <string.h>
#include <sys/stat.h>

#include "common/fault.h"
#include "common/log.h"
#include "snapshot/provider/dm/device/area_watch.h"
#include "snapshot/provider/dm/device/wall.h"
#include "snapshot/provider/dm/storage/known.h"
#include "snapshot/provider/dm/storage/room.h"
#include "snapshot/provider/dm/volume/compact_run.h"
#include "snapshot/provider/dm/volume/space.h"
#include "snapshot/provider/dm/volume/stamp.h"
#include "snapshot/provider/dm/volume/view_device.h"
#include "snapshot/provider/dm/volume/walls.h"

#define LOCK_WAIT_MS 100
/* Long enough that a busy machine is not taken for a frozen filesystem, which would cost copies;
 * others wait meanwhile, so only once. */
#define FROZEN_MS       500
#define FROZEN_STILL_MS 100
#define CREATION_MS     50
#define PACE_MS         100  /* between two pieces of compaction: 40 MiB/s */
#define LATE_MS         1500 /* writers wait for so long, and a look more: at most 2 s */

static struct timespec listed; /* when the list of areas was last changed */

/* A piece of it, when nobody writes first-time, or everybody soon will have to wait. */
static int compact(struct umbra_protected *p, struct umbra_known *k,
		   const struct umbra_gauge *gauge, struct umbra_look *look,
		   struct umbra_error *err)
{
	uint64_t low = umbra_space_low_water(p->pool), sign = umbra_compact_sign(p->pool);
	struct umbra_error why = {0};
	bool quiet = gauge->store && gauge->store->number == k->store && gauge->used == k->seen;
	int r;

	k->compacting = sign != 0 && sign != k->compacted && !umbra_pool_unfinished(p->pool);
	if (!k->compacting)
		return 0;
	umbra_look_again(look, PACE_MS);
	if (!quiet && gauge->total >= 2 * low)
		return 0;
	r = umbra_compact_run(p, low, &why);
	if (r < 0 && p->pool) {
		/* Of less weight than writers, who need us. */
		umbra_log_error("compacting the diff area of '%s': %s", p->path, why.text);
		r = 0;
		k->compacted = sign;
		k->compacting = false;
	} else if (r < 0) {
		return umbra_fail(err, why.code, r, "%s", why.text);
	} else if (r == 0) {
		k->compacted = sign;
		k->compacting = false;
		if (umbra_segment_map_count(&p->pool->map, UMBRA_SEGMENT_PENDING) > 0)
			r = umbra_view_devices_rebase(p, err);
		if (r == 0)
			r = umbra_view_devices_settle(p, err);
	}
	return r < 0 ? r : umbra_space_grant_all(p, err);
}

/* An umbrad that was told to end has left it open, of a store that was being made then, too; or
 * does so only now, when we are at work. Not of one whose writers were let go: that store is given
 * up. */
static int close_wall(const struct umbra_protected *p, struct umbra_error *err)
{
	struct umbra_gauge gauge = {0};
	int r = umbra_gauge_read(p, &gauge, err);

	return r < 0 || !gauge.store ? r : umbra_wall_close(&p->kernel, gauge.store->number, err);
}

static int look_at(struct umbra_protected *p, struct umbra_known *k, struct umbra_look *look,
		   struct umbra_error *err)
{
	struct umbra_gauge gauge = {0};
	int r = 0;

	if (p->in) {
		r = close_wall(p, err);
		umbra_fault("umbrad.closed");
		if (r == 0)
			r = umbra_room_make(p, look->watch, &gauge, err);
		if (r < 0)
			return r;
		r = compact(p, k, &gauge, look, err);
		if (r == 0)
			r = umbra_gauge_read(p, &gauge, err);
		if (r < 0)
			return r;
		umbra_look_again(look, umbra_pool_unfinished(p->pool) ? CREATION_MS
								      : UMBRA_LOOK_SELDOM_MS);
	}
	umbra_known_remember(k, p, &gauge, look);
	if (p->adrift && umbra_area_too_soon(p->area)) {
		k->at_us = 0; /* what is lost could not be said there yet */
		umbra_look_again(look, UMBRA_LOOK_SELDOM_MS);
	}
	return 0;
}

/* Without the lock, which somebody may have for long. Who opens the volume then says why. */
static void stop_harm(struct umbra_known *k, const char *path, struct umbra_look *look)
{
	struct umbra_error why = {0};

	if (umbra_harm_look(&k->harm) != UMBRA_HARM_CERTAIN)
		return;
	umbra_look_again(look, UMBRA_LOOK_OFTEN_MS);
	if (umbra_kernel_stop(&k->kernel, &why) < 0)
		umbra_log_error("looking after '%s': %s", path, why.text);
}

/* Who got stuck in the volume, or in what has the area's file, would keep all others from it. Said
 * once; looked at again soon, as writers may wait by then. */
static bool is_frozen(const struct umbra_dm_state *s, struct umbra_known *k,
		      struct umbra_look *look)
{
	int limit_ms = k->frozen ? FROZEN_STILL_MS : FROZEN_MS;
	struct umbra_error why = {0};

	k->frozen = umbra_protected_refuse_suspended(s, limit_ms, &why) < 0 ||
		    umbra_area_refuse_frozen(s->place, limit_ms, &why) < 0;
	if (!k->frozen)
		return false;
	umbra_known_remember_failure(k, s->path, why.text, look);
	k->at_us = 0;
	umbra_look_again(look, UMBRA_LOOK_SELDOM_MS);
	return true;
}

static int look_one(const struct umbra_dm_state *s, void *arg)
{
	_cleanup_protected_ struct umbra_protected *p = NULL;
	struct umbra_known *k = umbra_known_of(&s->area);
	struct umbra_error why = {0};
	struct umbra_look *look = arg;
	int r;

	if (!k)
		return -ENOMEM;
	look->watch->step(look->watch->arg);
	stop_harm(k, s->path, look);
	if (is_frozen(s, k, look))
		return 0;
	k->in_use = k->origin && umbra_stamp_used(k->origin, "", NULL) > 0;
	r = umbra_protected_open_area(look->watch->state_fd, s->area.s, LOCK_WAIT_MS, &p, &why);
	if (r == 0)
		r = look_at(p, k, look, &why);
	if (r < 0)
		umbra_look_again(look, UMBRA_LOOK_SELDOM_MS);
	if (r == -EBUSY)
		k->at_us = 0;
	else if (r < 0)
		umbra_known_remember_failure(k, s->path, why.text, look);
	if (umbra_protected_out_of_reach(r))
		umbra_harm_forget(&k->harm); /* nothing is stored there any more */
	return 0;
}

/* Are all areas known, and well? */
static bool all_well(struct umbra_look *look)
{
	struct stat st;
	bool well;

	if (umbra_dm_state_stat(look->watch->state_fd, &st) < 0)
		return false;
	well = memcmp(&st.st_mtim, &listed, sizeof(listed)) == 0;
	if (!well)
		umbra_known_forget_all();
	listed = st.st_mtim;
	return well && umbra_known_all_well(look);
}

bool umbra_dm_depends_on(dev_t device)
{
	const struct umbra_known *k;

	for (k = umbra_known_first(); k; k = k->next)
		if (k->origin == device)
			return true;
	return false;
}

int umbra_dm_look_after(const struct umbra_storage_watch *watch, int *again_ms,
			struct umbra_error *err)
{
	struct umbra_look look = {.watch = watch, .again_ms = -1};
	int r = 0, waiting;

	umbra_area_alarm_read();
	if (watch->mounts)
		umbra_area_mounts_changed();
	if (!all_well(&look))
		r = umbra_dm_state_each(watch->state_fd, look_one, &look, err);
	if (r == -ENOMEM)
		umbra_oom(err);
	waiting = umbra_walls_let_go(LATE_MS, r == 0 ? err : NULL);
	if (waiting > 0)
		umbra_look_again(&look, UMBRA_LOOK_OFTEN_MS);
	*again_ms = look.again_ms;
	return r < 0 ? r : waiting < 0 ? waiting : 0;
}
