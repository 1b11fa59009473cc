/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A creation: everything is made and loaded before the hold; within it the new store's device is
 * resumed, and nothing else.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "common/fault.h"
#include "common/log.h"
#include "common/text.h"
#include "common/token.h"
#include "snapshot/provider/dm/device/place.h"
#include "snapshot/provider/dm/parts.h"
#include "snapshot/provider/dm/volume/copies.h"
#include "snapshot/provider/dm/volume/fate.h"
#include "snapshot/provider/dm/volume/record.h"
#include "snapshot/provider/dm/volume/space.h"
#include "snapshot/provider/dm/volume/stamp.h"
#include "snapshot/provider/dm/volume/view_device.h"
#include "snapshot/sys/suspended.h"

/* Chunks that the older store may use up while the next one is prepared. */
#define MARGIN_CHUNKS 256
#define ZERO_CHUNKS   2     /* of a new store: header and first area */
#define TRY_MS        10000 /* to find it written so little that there is space for another */
#define FULL_MS       1000
#define PAUSE_US      30000 /* between two tries, for umbrad */

/*
 * m->priv from prepare() to finish() or abort(). The volume's lock is not kept from the end of
 * prepare() to finish(): what the members of the set, writers and the hold itself still have to
 * write may need space, which umbrad grants under that lock.
 */
struct work {
	struct umbra_protected *p; /* within prepare() */
	struct umbra_id id, area;
	bool full; /* the live store has nothing to give */
	bool made_area;
	int mark;    /* umbra_protected_mark() */
	int control; /* device-mapper's descriptor, for the hold */
	struct umbra_dm_device origin, snap;
	dev_t real, pool; /* below the volume, and its diff area */
};

static struct work *free_work(struct work *w)
{
	if (w) {
		umbra_close(w->control);
		umbra_close(w->mark);
		umbra_protected_close(w->p);
		free(w);
	}
	return NULL;
}
UMBRA_DEFINE_CLEANUP(struct work *, work, free_work)

/* -EAGAIN: umbrad has to make room first, for which it needs the lock. */
static int too_fast(struct umbra_error *err)
{
	return umbra_fail(err, UMBRA_E_BUSY, EAGAIN,
			  "the volume is written so fast that its diff area is being used up: try "
			  "again, or make it larger with 'umbra storage resize'");
}

/*
 * How many segments the live store keeps. It is written meanwhile: what it has given away by the
 * time that its device is short is what counts. 0: there is none.
 */
static int take_from_live(struct work *w, uint32_t *keep, struct umbra_error *err)
{
	struct umbra_protected *p = w->p;
	const struct umbra_pool_store *live = umbra_pool_live(p->pool);
	const uint64_t size = p->pool->geometry.segment_chunks;
	enum umbra_store_state state;
	uint64_t used;
	int r;

	*keep = 0;
	if (!live)
		return 0;
	r = umbra_store_device_state(&p->kernel, live->number, &state, &used, err);
	if (r < 0)
		return r;
	*keep = umbra_pool_keep(p->pool, used, MARGIN_CHUNKS);
	w->full = used + MARGIN_CHUNKS > *keep * size;
	if (*keep < live->segments.n)
		r = umbra_store_device_cut(&p->kernel, p->pool, live, *keep, err);
	else
		r = used <= *keep * size;
	if (r <= 0)
		return r < 0 ? r : too_fast(err);
	return umbra_fault_fail("dm.shrunk", err);
}

static int zero_beginning(struct umbra_protected *p, const struct umbra_pool *pool,
			  const struct umbra_pool_store *store, struct umbra_error *err)
{
	uint64_t at;
	int r = umbra_pool_chunk_at(pool, store, 0, &at);

	if (r < 0) /* a segment has more chunks than that */
		return umbra_fail_errno(err, r, "a store without segments");
	r = umbra_area_zero(p->area, at * UMBRA_DM_CHUNK_SECTORS * UMBRA_DM_SECTOR,
			    (uint64_t)ZERO_CHUNKS * UMBRA_DM_CHUNK_SECTORS * UMBRA_DM_SECTOR, err);
	return r < 0 ? r : umbra_area_flush(p->area, err);
}

static int add_copy(struct work *w, struct umbra_error *err)
{
	_cleanup_pool_ struct umbra_pool *next = NULL;
	uint32_t keep;
	int r = take_from_live(w, &keep, err);

	if (r == 0)
		r = umbra_protected_begin(w->p, &next, err);
	if (r == 0)
		r = umbra_pool_prepare(next, &w->id, keep, err);
	if (r == 0)
		r = umbra_stamp_put(w->p, next, err);
	if (r == 0)
		r = zero_beginning(w->p, next, umbra_pool_live(next), err);
	if (r == 0)
		r = umbra_fault_fail("dm.zeroed", err);
	if (r == 0)
		r = umbra_protected_write(w->p, &next, err);
	return r < 0 ? r : umbra_fault_fail("dm.recorded", err);
}

/* What is suspended and what is resumed at the instant. */
static int get_ready(struct work *w, struct umbra_member *m, dev_t snap, struct umbra_error *err)
{
	dev_t origin = w->p->layer.origin;
	int r = umbra_dm_control_open(&w->control, err);

	if (r == 0)
		r = umbra_dm_device_lookup(w->control, major(origin), minor(origin), &w->origin,
					   err);
	if (r == 0)
		r = umbra_dm_device_lookup(w->control, major(snap), minor(snap), &w->snap, err);
	if (r < 0)
		return r;
	w->real = w->p->kernel.real;
	w->pool = w->p->kernel.pool;
	m->held[0] = w->origin;
	m->n_held = 1;
	return 0;
}

/* What is written out now need not be written in the hold. */
static int write_out(const struct umbra_member *m, struct umbra_error *err)
{
	_cleanup_close_ int fd = -1;
	int r = umbra_refuse_suspended(m->volume->dev, 0, err);

	fd = r < 0 ? r : umbra_member_open_origin(m, err);
	if (fd < 0)
		return fd;
	return syncfs(fd) < 0
		       ? umbra_fail_errno(err, errno, "cannot write out '%s'", m->volume->path)
		       : 0;
}

/* All that needs the lock. */
static int make_ready(struct work *w, struct umbra_member *m, struct umbra_error *err)
{
	dev_t snap;
	/* A copy of what is half one copy and half another would be of use to nobody. */
	int r = umbra_dm_refuse_reverting(w->p, err);

	w->area = w->p->kernel.area;
	if (r == 0)
		r = umbra_dm_record_origin(m, w->p, err);
	if (r == 0)
		r = umbra_protected_enter(w->p, err);
	if (r == 0)
		r = umbra_fault_fail("dm.entered", err);
	if (r == 0)
		r = umbra_protected_mark(w->p, &w->mark, err);
	if (r == 0)
		r = add_copy(w, err);
	if (r == 0)
		r = umbra_store_device_make(&w->p->kernel, w->p->pool, umbra_pool_live(w->p->pool),
					    &snap, err);
	if (r == 0)
		r = umbra_fault_fail("dm.loaded", err);
	if (r == 0)
		r = get_ready(w, m, snap, err);
	return r;
}

/* Once; -EAGAIN: there is no room at this moment. */
static int try_to_prepare(struct work *w, struct umbra_member *m, struct umbra_error *err)
{
	int r = umbra_dm_protect(m, &w->p, err);

	w->made_area |= r > 0;
	if (r >= 0)
		r = make_ready(w, m, err);
	w->p = umbra_protected_close(w->p);
	if (r < 0)
		w->mark = umbra_close(w->mark);
	return r;
}

/* umbrad gives up older copies when there is little room; where it cannot we need not wait long. */
static bool may_come_right(const struct work *w, int r, int64_t begun)
{
	int64_t passed_ms = (umbra_now_us() - begun) / 1000;

	return (r == -EAGAIN && passed_ms < TRY_MS) ||
	       (r == -ENOSPC && w->full && passed_ms < FULL_MS);
}

int umbra_dm_prepare(struct umbra_member *m, struct umbra_error *err)
{
	_cleanup_(umbra_cleanup_work) struct work *w = calloc(1, sizeof(*w));
	int64_t begun = umbra_now_us();
	int r;

	if (!w)
		return umbra_oom(err);
	w->control = w->mark = -1;
	w->id = m->shadow->id;
	/* Before the older store has to share its space: memory can hold more than half of that. */
	r = write_out(m, err);
	if (r < 0)
		return r;
	while (may_come_right(w, r = try_to_prepare(w, m, err), begun))
		usleep(PAUSE_US);
	if (r == 0)
		r = umbra_fault_fail("dm.unlocked", err);
	if (r == 0)
		r = write_out(m, err);
	m->priv = TAKE_PTR(w); /* abort() has to look at it, however far it came */
	return r;
}

int umbra_dm_lies_on(const struct umbra_member *m, const struct umbra_member *below,
		     struct umbra_error *err)
{
	const struct work *w = m->priv, *other = below->priv;
	dev_t origin = makedev(other->origin.major, other->origin.minor);
	int r = umbra_place_lies_on(w->real, origin);

	if (r == 0)
		r = umbra_place_lies_on(w->pool, origin);
	return r < 0 ? umbra_fail_errno(err, r, "cannot tell what '%s' is on", w->origin.name) : r;
}

int umbra_dm_hold_member(struct umbra_member *m, struct umbra_error *err)
{
	struct work *w = m->priv;
	int r = umbra_dm_hold_suspend(w->control, &w->origin, 0);

	if (r == -EBUSY)
		return umbra_fail(err, UMBRA_E_BUSY, EBUSY,
				  "cannot hold '%s': somebody else has suspended it, or frozen its "
				  "filesystem: wait, or run 'fsfreeze --unfreeze %s'",
				  w->origin.name, UMBRA_WORD(m->volume->mount));
	return r < 0 ? umbra_fail_errno(err, r, "cannot hold '%s'", w->origin.name) : 0;
}

/* umbrad has given it up (umbra_protected_outrun()). */
static int outrun(const struct umbra_member *m, struct umbra_error *err)
{
	return umbra_fail(
		err, UMBRA_E_BUSY, EAGAIN,
		"given up, as the older shadow copies needed all of the diff area for what "
		"was written meanwhile: try again when less is written, or make it larger "
		"with 'umbra storage resize %s'",
		UMBRA_WORD(m->volume->mount));
}

int umbra_dm_commit_member(struct umbra_member *m, struct umbra_error *err)
{
	struct work *w = m->priv;
	int r = umbra_dm_hold_activate(w->control, &w->snap);

	if (r == -ENODEV)
		return outrun(m, err);
	return r < 0 ? umbra_fail_errno(err, r, "cannot start '%s'", w->snap.name) : 0;
}

int umbra_dm_release_member(struct umbra_member *m, struct umbra_error *err)
{
	struct work *w = m->priv;
	int r = umbra_dm_hold_resume(w->control, &w->origin);

	return r < 0 ? umbra_fail_errno(err, r, "cannot release '%s'", w->origin.name) : r;
}

static int keep_copy(struct umbra_protected *p, struct work *w, struct umbra_member *m,
		     struct umbra_error *err)
{
	_cleanup_pool_ struct umbra_pool *next = NULL;
	int r = umbra_protected_begin(p, &next, err);

	if (r == 0)
		r = umbra_pool_commit(next, &w->id, err);
	if (r == 0)
		r = umbra_dm_record_write(p, next, m, err);
	return r < 0 ? r : umbra_protected_write(p, &next, err);
}

/* It is lost already, or will be when somebody looks: but then, as long as it is not kept, it alone
 * (settle.c). */
static int check_good(const struct umbra_protected *p, const struct work *w,
		      struct umbra_error *err)
{
	const struct umbra_pool_copy *copy = &p->pool->copies[umbra_pool_find(p->pool, &w->id)];
	enum umbra_store_state state;
	struct umbra_dm_condition is;
	int r;

	if (copy->state == UMBRA_POOL_LOST) {
		umbra_dm_condition_of_copy(p, copy, &is);
		return umbra_fail(err, UMBRA_E_DAMAGED, EIO, "it was lost while it was made: %s",
				  is.why);
	}
	r = umbra_store_device_state(&p->kernel, umbra_pool_live(p->pool)->number, &state, NULL,
				     err);
	if (r < 0 || state != UMBRA_STORE_INVALID)
		return r;
	return umbra_fail(err, UMBRA_E_DAMAGED, EIO,
			  "it was lost while it was made: its diff area was full, or failed");
}

int umbra_dm_finish(struct umbra_member *m, struct umbra_error *err)
{
	_cleanup_protected_ struct umbra_protected *p = NULL;
	struct work *w = m->priv;
	int r = umbra_protected_open_area(m->state_fd, w->area.s, UMBRA_PROTECTED_WAIT_MS, &p, err);

	if (r == 0 && umbra_pool_find(p->pool, &w->id) == p->pool->n_copies)
		r = outrun(m, err);
	if (r == 0)
		r = check_good(p, w, err);
	if (r == 0)
		r = keep_copy(p, w, m, err);
	if (r == 0)
		r = umbra_fault_fail("dm.kept", err);
	if (r == 0)
		r = umbra_protected_settle(p, err);
	if (r == 0)
		r = check_good(p, w, err);
	if (r == 0)
		r = umbra_space_grant_all(p, err);
	if (r < 0)
		return r;
	if (w->made_area)
		umbra_log_info("the diff area of '%s' was made: %llu MiB, '%s' ('umbra storage' "
			       "shows and resizes it)",
			       m->volume->mount,
			       (unsigned long long)umbra_area_sectors(p->area) >> 11,
			       umbra_area_place(p->area));
	umbra_protected_close_noted(m->state_fd, TAKE_PTR(p));
	m->priv = free_work(w);
	return 0;
}

int umbra_dm_abort(struct umbra_member *m, struct umbra_error *err)
{
	_cleanup_protected_ struct umbra_protected *p = NULL;
	int r;

	if (m->priv && ((const struct work *)m->priv)->made_area)
		umbra_log_info("'%s' has a diff area now, which stays for its next shadow copy: "
			       "'umbra storage remove %s' removes it",
			       m->volume->mount, UMBRA_WORD(m->volume->mount));
	/* What is on disk and in the kernel counts, not what we think. */
	m->priv = free_work(m->priv);
	r = umbra_dm_find_to_change(m->state_fd, m->shadow, &p, err);
	if (r == -ENOENT)
		return 0;
	return r < 0 ? r : umbra_dm_delete(m->state_fd, p, &m->shadow->id, err);
}
