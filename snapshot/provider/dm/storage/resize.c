/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/provider/dm/storage/resize.h"

#include <unistd.h>

#include "common/fault.h"
#include "common/log.h"
#include "common/text.h"
#include "snapshot/provider/dm/pool/pool_disk.h"
#include "snapshot/provider/dm/storage/preserve.h"
#include "snapshot/provider/dm/storage/tail.h"
#include "snapshot/provider/dm/volume/record.h"
#include "snapshot/provider/dm/volume/space.h"

#define PAUSE_US            20000 /* between two steps under the volume's lock */
#define PATIENCE            50    /* steps that change nothing */
#define RECORD_MIB(sectors) ((unsigned long long)(sectors) / 2048 + ((sectors) % 2048 != 0))

struct resize {
	int state_fd, mark;
	struct umbra_id id;
	dev_t origin;
	struct umbra_dm_state state; /* as it was last written */
	struct umbra_area *area;     /* to change; as it is to be recorded next */
	uint64_t bytes;              /* wanted */
	uint32_t segments;           /* of the pool then */
};

static void finish_resize(struct resize *z)
{
	umbra_area_close(z->area);
	umbra_dm_state_finish(&z->state);
	umbra_close(z->mark);
}
#define _cleanup_resize_ _cleanup_(finish_resize)

static int open_volume(const struct resize *z, struct umbra_protected **out,
		       struct umbra_error *err)
{
	return umbra_protected_open_area(z->state_fd, z->id.s, UMBRA_PROTECTED_WAIT_MS, out, err);
}

/* --- may it be? --- */

static int too_large(const struct umbra_protected *p, const char *path, struct umbra_error *err)
{
	const uint64_t most = umbra_pool_sectors_of(&p->pool->geometry, UMBRA_SEGMENTS_MAX);

	return umbra_fail(err, UMBRA_E_UNSUPPORTED, EFBIG,
			  "the diff area of '%s' was made so small that it can have %llu MiB at "
			  "most: remove it ('umbra storage remove'), and make a larger one ('umbra "
			  "storage add')",
			  path, (unsigned long long)most / 2048);
}

static int check_end(const struct umbra_protected *p, const char *path, uint32_t segments,
		     struct umbra_error *err)
{
	_cleanup_free_ char *copied = umbra_dm_copied_as(p, path);
	uint32_t least;
	int r = copied ? umbra_tail_least(p, &least, err) : umbra_oom(err);

	if (r < 0 || least <= segments)
		return r;
	return umbra_fail(
		err, UMBRA_E_NO_SPACE, ENOSPC,
		"the diff area of '%s' can be no smaller than %llu MiB now, for what its shadow "
		"copies need: delete some first ('umbra delete --oldest %s')",
		path, RECORD_MIB(umbra_pool_sectors_of(&p->pool->geometry, least)),
		UMBRA_WORD(copied));
}

static int check(struct resize *z, const struct umbra_protected *p, const char *path,
		 struct umbra_error *err)
{
	const struct umbra_pool_geometry *g = &p->pool->geometry;
	int r = umbra_protected_awake(p, err);

	if (r == 0 && (p->adrift || umbra_pool_reverting(p->pool)))
		r = umbra_fail(err, UMBRA_E_BUSY, EBUSY,
			       p->adrift ? "what lies where the diff area of '%s' was may be "
					   "another's by now: mount the volume where it can be "
					   "looked at"
					 : "'%s' was reverted only in part: 'umbra revert' goes on "
					   "with it, and then its diff area can be resized",
			       path);
	if (r == 0 && umbra_pool_unfinished(p->pool))
		r = umbra_fail(err, UMBRA_E_BUSY, EBUSY,
			       "a shadow copy of '%s' is being made at this time", path);
	if (r == 0)
		r = umbra_area_may_be(p->area, z->bytes, err);
	if (r == 0 && z->bytes / UMBRA_DM_SECTOR > umbra_pool_sectors_of(g, UMBRA_SEGMENTS_MAX))
		r = too_large(p, path, err);
	z->segments = umbra_pool_segments_in(g, z->bytes / UMBRA_DM_SECTOR);
	if (r == 0 && z->segments < g->segments)
		r = check_end(p, path, z->segments, err);
	return r;
}

/* Nobody else resizes it, and what is to be changed is known. 1: nothing is. */
static int begin(struct resize *z, const struct umbra_storage_request *request,
		 struct umbra_error *err)
{
	_cleanup_protected_ struct umbra_protected *p = NULL;
	int r = umbra_protected_open_dev(z->state_fd, request->volume->dev, UMBRA_PROTECTED_WAIT_MS,
					 &p, err);

	if (r == 0)
		r = check(z, p, request->volume->mount, err);
	if (r == 0)
		r = umbra_protected_mark_resize(p, &z->mark, err);
	if (r == 0)
		r = umbra_dm_state_read(z->state_fd, p->kernel.area.s, &z->state, err);
	if (r < 0)
		return r;
	if (umbra_area_resizing(z->state.place))
		return umbra_fail(
			err, UMBRA_E_BUSY, EBUSY,
			"an earlier change of the size of the diff area '%s' is not done: "
			"mount the volume where it was, and try again",
			umbra_area_place(p->area));
	z->id = p->kernel.area;
	z->origin = p->layer.origin;
	z->area = TAKE_PTR(p->area);
	umbra_area_set_base(z->area, z->origin); /* what lies below the layer is not kept open */
	return z->bytes == umbra_area_sectors(z->area) * UMBRA_DM_SECTOR;
}

/* --- the record --- */

static int record(struct resize *z, bool resizing, struct umbra_error *err)
{
	json_t *place;
	int r;

	umbra_area_mark(z->area, resizing);
	place = umbra_area_record(z->area);
	if (!place)
		return umbra_oom(err);
	/* Somebody may have noted meanwhile that its copies are lost. */
	umbra_dm_state_finish(&z->state);
	r = umbra_dm_state_read(z->state_fd, z->id.s, &z->state, err);
	if (r < 0) {
		json_decref(place);
		return r;
	}
	json_decref(z->state.place);
	z->state.place = place;
	return umbra_dm_state_write(z->state_fd, &z->state, err);
}

/* --- larger --- */

static int extend(struct resize *z, struct umbra_error *err)
{
	const uint64_t before = umbra_area_sectors(z->area) * UMBRA_DM_SECTOR;
	int r = umbra_area_loosen(z->area, err);

	if (r == 0)
		r = umbra_fault_fail("dm.resize-loose", err);
	if (r == 0)
		r = umbra_area_reserve(z->area, z->bytes, err);
	if (r == 0)
		r = umbra_fault_fail("dm.resize-reserved", err);
	if (r == 0)
		r = umbra_area_extend(z->area, z->bytes, err);
	if (r == 0 && umbra_area_is_inside(z->area))
		r = umbra_dm_preserve(z->state_fd, z->area, before, err);
	if (r == 0)
		r = umbra_fault_fail("dm.resize-kept", err);
	return r < 0 ? r : umbra_area_fix(z->area, err);
}

/* --- smaller --- */

static int in_the_way(const struct umbra_protected *p, struct umbra_error *err)
{
	const struct umbra_pool *pool = p->pool;

	return umbra_fail(err, UMBRA_E_BUSY, EBUSY,
			  "the newest shadow copy collects in the part of the diff area that would "
			  "go: it can be no smaller than %llu MiB before the next 'umbra create'",
			  RECORD_MIB(umbra_pool_sectors_of(&pool->geometry, pool->map.n)));
}

/* A step under the volume's lock. *left: how long the pool is then. */
static int free_piece(const struct resize *z, uint32_t *left, struct umbra_error *err)
{
	_cleanup_protected_ struct umbra_protected *p = NULL;
	int r = open_volume(z, &p, err);

	if (r == 0)
		r = check_end(p, z->state.path, z->segments, err);
	if (r == 0)
		r = umbra_tail_free(p, z->segments, err);
	if (r == -EBUSY)
		return in_the_way(p, err);
	if (r >= 0)
		*left = p->pool->map.n;
	return r;
}

static int free_end(const struct resize *z, struct umbra_error *err)
{
	uint32_t before = UINT32_MAX, left = 0;
	int r, idle = 0;

	while ((r = free_piece(z, &left, err)) > 0) {
		idle = left == before ? idle + 1 : 0;
		before = left;
		if (idle > PATIENCE)
			return umbra_fail(err, UMBRA_E_BUSY, EBUSY,
					  "the end of the diff area '%s' is in use: try again when "
					  "its volume is written less",
					  umbra_area_place(z->area));
		usleep(PAUSE_US);
	}
	return r;
}

static int shorten(struct resize *z, struct umbra_error *err)
{
	int r = free_end(z, err);

	if (r == 0)
		umbra_area_cut(z->area, z->bytes);
	return r;
}

/* --- what the record says becomes so --- */

static int look(const struct resize *z, struct umbra_error *err)
{
	_cleanup_protected_ struct umbra_protected *p = NULL;

	return open_volume(z, &p, err);
}

/* The pool gets what it has not yet of the area, and the live store what is free. */
static int fill(const struct resize *z, struct umbra_error *err)
{
	_cleanup_protected_ struct umbra_protected *p = NULL;
	_cleanup_pool_ struct umbra_pool *next = NULL;
	uint32_t n;
	int r = open_volume(z, &p, err);

	if (r < 0)
		return r;
	n = umbra_pool_segments_in(&p->pool->geometry, umbra_area_sectors(p->area));
	if (n > p->pool->map.n) {
		r = umbra_protected_begin(p, &next, err);
		if (r == 0)
			r = umbra_pool_resize(next, n, err);
		if (r == 0)
			r = umbra_protected_write(p, &next, err);
		if (r == 0)
			r = umbra_fault_fail("dm.resize-filled", err);
	}
	return r < 0 ? r : umbra_space_grant_all(p, err);
}

/* Begins with what was recorded, whatever we know. 1: the volume is not mounted where it was. */
static int settle(struct resize *z, struct umbra_error *err)
{
	int r;

	z->area = umbra_area_close(z->area);
	umbra_dm_state_finish(&z->state);
	r = umbra_dm_state_read(z->state_fd, z->id.s, &z->state, err);
	if (r == 0)
		r = umbra_area_open(z->state.place, z->origin, true, &z->area, err);
	if (r == 0)
		r = look(z, err); /* the device gets no longer than the area before the file does */
	if (r == 0)
		r = umbra_area_trim(z->area, err);
	if (r == 0)
		r = umbra_fault_fail("dm.resize-trimmed", err);
	if (r == 0)
		r = fill(z, err);
	if (r == 0)
		r = record(z, false, err);
	return r != 0 ? r : umbra_fault_fail("dm.resized", err);
}

static int carry_out(struct resize *z, struct umbra_error *err)
{
	const bool longer = z->bytes > umbra_area_sectors(z->area) * UMBRA_DM_SECTOR;
	int r = longer ? extend(z, err) : shorten(z, err);

	if (r == 0)
		r = umbra_fault_fail("dm.resize-ready", err);
	if (r == 0)
		r = record(z, true, err);
	return r < 0 ? r : umbra_fault_fail("dm.resize-recorded", err);
}

int umbra_dm_resize(int state_fd, const struct umbra_storage_request *request,
		    struct umbra_error *err)
{
	_cleanup_resize_ struct resize z = {.state_fd = state_fd,
					    .mark = -1,
					    .bytes = request->size / UMBRA_AREA_BLOCK *
						     UMBRA_AREA_BLOCK};
	struct umbra_error why = {0};
	int r = begin(&z, request, err), undone;

	if (r == 0)
		r = umbra_fault_fail("dm.resize-begun", err);
	if (r != 0)
		return r;
	r = record(&z, true, err);
	/* Whoever has read it as it was before has also looked at the file. */
	if (r == 0)
		r = look(&z, err);
	if (r == 0)
		r = umbra_fault_fail("dm.resize-marked", err);
	if (r == 0)
		r = carry_out(&z, err);
	undone = settle(&z, r < 0 ? &why : err);
	if (r < 0 && undone < 0)
		umbra_log_warning("the size of the diff area of '%s' is not what it was yet: %s",
				  request->volume->mount, why.text);
	return r < 0 ? r : undone < 0 ? undone : 0;
}

/* --- after a kill --- */

struct search {
	int state_fd, n;
	struct umbra_error *err;
};

/* Nobody is at it, and it can be looked at. */
static int take(struct resize *z, const struct umbra_dm_state *s, struct umbra_error *err)
{
	_cleanup_protected_ struct umbra_protected *p = NULL;
	int r = umbra_protected_open_area(z->state_fd, s->area.s, UMBRA_PROTECTED_WAIT_MS, &p, err);

	if (r < 0)
		return r;
	if (p->asleep || p->adrift || umbra_protected_mark_resize(p, &z->mark, NULL) < 0)
		return 1;
	z->id = s->area;
	z->origin = p->layer.origin;
	return 0;
}

static int reconcile_one(const struct umbra_dm_state *s, void *arg)
{
	struct search *search = arg;
	_cleanup_resize_ struct resize z = {.state_fd = search->state_fd, .mark = -1};
	struct umbra_error why = {0};
	int r;

	if (!umbra_area_resizing(s->place))
		return 0;
	r = take(&z, s, &why);
	if (r ==
	    -ENOENT) /* a new one without a name yet; or whoever opens it says that it is gone */
		return 0;
	if (r == 0)
		r = settle(&z, &why);
	if (r < 0)
		return umbra_fail(search->err, why.code, why.errnum,
				  "finishing what was begun with the size of the diff area of "
				  "'%s': %s",
				  s->path, why.text);
	search->n += r == 0;
	return 0;
}

int umbra_dm_resize_reconcile(int state_fd, struct umbra_error *err)
{
	struct search search = {.state_fd = state_fd, .err = err};
	int r = geteuid() == 0 ? umbra_dm_state_each(state_fd, reconcile_one, &search, err) : 0;

	return r < 0 ? r : search.n;
}
