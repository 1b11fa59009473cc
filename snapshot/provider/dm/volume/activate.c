/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/provider/dm/volume/activate.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "common/fault.h"
#include "common/log.h"
#include "common/token.h"
#include "snapshot/provider/dm/pool/store.h"
#include "snapshot/provider/dm/volume/fate.h"
#include "snapshot/provider/dm/volume/stamp.h"

#define LOOK_US 50000

static bool is_zero(const char *data, size_t len)
{
	return len == 0 || (*data == 0 && memcmp(data, data + 1, len - 1) == 0);
}

/*
 * The kernel goes on where the list of exceptions ends. Of an area whose writing the end of the
 * power cut short there may be more behind it, which would count when the list has grown to there.
 */
static int clear_behind(const struct umbra_protected *p, uint64_t n, struct umbra_error *err)
{
	uint32_t sectors = p->pool->geometry.chunk_sectors;
	uint64_t epa = umbra_dm_epa(sectors), at;
	size_t bytes = (size_t)sectors * UMBRA_DM_SECTOR, end = n % epa * (bytes / epa);
	_cleanup_free_ char *area = malloc(bytes);
	int r;

	if (!area)
		return umbra_oom(err);
	r = umbra_pool_chunk_at(p->pool, umbra_pool_live(p->pool), umbra_dm_area_at(epa, n / epa),
				&at);
	if (r < 0)
		return umbra_fail_errno(err, r, "the list of exceptions leaves its store");
	r = umbra_area_read(p->area, at * bytes, area, bytes, err);
	if (r < 0 || is_zero(area + end, bytes - end))
		return r;
	memset(area + end, 0, bytes - end);
	r = umbra_area_write(p->area, at * bytes, area, bytes, err);
	return r < 0 ? r : umbra_area_flush(p->area, err);
}

/* The kernel believes what it finds in a store. */
static int check_store(const struct umbra_protected *p, struct umbra_error *err)
{
	_cleanup_exceptions_ struct umbra_exceptions exceptions = {0};
	int r = umbra_protected_read_store(p, umbra_pool_live(p->pool), &exceptions, NULL, err);

	return r < 0 ? r : clear_behind(p, exceptions.n, err);
}

/*
 * The origin splits writes at the chunks of its snapshots, which it asks for when it is resumed:
 * one that was resumed while it had none would let a write through of which only the first chunk
 * was copied. In a creation the end of the hold does that.
 */
static int renew_origin(const struct umbra_protected *p, struct umbra_error *err)
{
	_cleanup_dm_table_ struct umbra_dm_table table = {0};
	struct umbra_dm_ref origin = umbra_dm_numbered(p->layer.origin);
	struct umbra_dm_info info;
	int r = umbra_dm_info(origin, &info, err);

	if (r == 0)
		r = umbra_dm_table(origin, UMBRA_DM_LIVE, &table, err);
	if (r == 0)
		r = umbra_dm_load(origin, &table, info.read_only ? UMBRA_DM_READ_ONLY : 0, err);
	if (r == 0)
		r = umbra_fault_fail("dm.activate-renewing", err);
	return r < 0 ? r : umbra_dm_resume(origin, err);
}

static int put_in(struct umbra_protected *p, struct umbra_error *err)
{
	const struct umbra_pool_store *live = umbra_pool_live(p->pool);
	dev_t snap;
	int r;

	p->asleep = false;
	r = umbra_protected_enter(p, err);
	if (r == 0)
		r = umbra_store_device_make(&p->kernel, p->pool, live, &snap, err);
	if (r == 0)
		r = umbra_fault_fail("dm.activate-loaded", err);
	if (r == 0)
		r = renew_origin(p, err);
	if (r == 0)
		r = umbra_fault_fail("dm.activate-renewed", err);
	if (r == 0)
		r = umbra_dm_resume(umbra_dm_numbered(snap), err);
	p->asleep = r < 0;
	return r < 0 ? r : umbra_fault_fail("dm.activated", err);
}

/* Nobody can mount it from the proof until the store collects. */
static int wake(struct umbra_protected *p, struct umbra_error *err)
{
	_cleanup_close_ int claim = umbra_stamp_claim(p, err);
	struct umbra_error why = {0};
	int r = claim < 0 ? claim : umbra_stamp_holds(p, true, err);

	if (r <= 0)
		return r;
	r = check_store(p, &why);
	if (r == -EBADMSG) {
		umbra_wrap(&why, r, UMBRA_DM_AREA_DAMAGED);
		return umbra_protected_lose(p, why.text, err);
	}
	return r < 0 ? umbra_wrap(err, r, "%s", why.text) : put_in(p, err);
}

int umbra_protected_activate(struct umbra_protected *p, struct umbra_error *err)
{
	int r = p->asleep ? wake(p, err) : 0;

	return r < 0 ? r : umbra_protected_settle(p, err);
}

struct activation {
	const struct umbra_storage_watch *watch;
	struct umbra_error *err;
	bool present; /* only what is there */
	int r;        /* of the first that failed */
};

static void tell_lost(const struct umbra_protected *p, const struct umbra_storage_watch *watch)
{
	const struct umbra_pool_copy *copy = p->pool->copies;
	struct umbra_dm_condition is;
	uint32_t i;

	for (i = 0; i < p->pool->n_copies; i++, copy++) {
		if (copy->state != UMBRA_POOL_LOST)
			continue;
		umbra_dm_condition_of_copy(p, copy, &is);
		watch->lost(watch->arg, &copy->id, is.why);
	}
}

static int is_missing(const struct umbra_dm_state *s, void *arg)
{
	dev_t origin;

	(void)arg;
	return umbra_protected_find(s, &origin, NULL) == -ENODEV;
}

static int activate_one(const struct umbra_dm_state *s, void *arg)
{
	_cleanup_protected_ struct umbra_protected *p = NULL;
	struct activation *a = arg;
	struct umbra_error why = {0};
	int r = umbra_protected_open_area(a->watch->state_fd, s->area.s, UMBRA_PROTECTED_WAIT_MS,
					  &p, &why);

	if (r == 0)
		r = umbra_protected_activate(p, &why);
	if (r == 0)
		tell_lost(p, a->watch);
	if (r == 0 || (a->present && !p && is_missing(s, NULL)))
		return 0;
	if (a->r == 0) {
		umbra_fail(a->err, why.code, why.errnum, "activating '%s': %s", s->path, why.text);
		a->r = r;
	} else {
		umbra_log_error("activating '%s': %s", s->path, why.text);
	}
	return 0;
}

/* Logical volumes, for one, come when udev has seen all of their disks. */
static int await_volumes(const struct umbra_storage_watch *watch, int wait_ms,
			 struct umbra_error *err)
{
	int64_t end = umbra_now_us() + (int64_t)wait_ms * 1000;
	int r;

	while ((r = umbra_dm_state_each(watch->state_fd, is_missing, NULL, err)) > 0 &&
	       umbra_now_us() < end) {
		usleep(LOOK_US);
		r = umbra_watch_tick(watch->requester, NULL, err);
		if (r < 0)
			break;
	}
	return r < 0 ? r : 0;
}

int umbra_dm_activate(const struct umbra_storage_watch *watch, int wait_ms, struct umbra_error *err)
{
	struct activation a = {.watch = watch, .err = err, .present = wait_ms < 0};
	int r = await_volumes(watch, wait_ms, err);

	if (r == 0)
		r = umbra_dm_state_each(watch->state_fd, activate_one, &a, err);
	return r < 0 ? r : a.r;
}
