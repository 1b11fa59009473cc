/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Diff areas: made, listed, resized, removed, and looked after. */
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/fault.h"
#include "common/log.h"
#include "common/text.h"
#include "snapshot/provider/dm/device/area_watch.h"
#include "snapshot/provider/dm/device/place.h"
#include "snapshot/provider/dm/parts.h"
#include "snapshot/provider/dm/storage/look_after.h"
#include "snapshot/provider/dm/storage/report.h"
#include "snapshot/provider/dm/storage/resize.h"
#include "snapshot/provider/dm/volume/activate.h"
#include "snapshot/provider/dm/volume/fate.h"
#include "snapshot/provider/dm/volume/record.h"
#include "snapshot/provider/dm/volume/stamp.h"
#include "snapshot/provider/dm/volume/walls.h"
#include "snapshot/sys/frozen.h"

/* --- making --- */

/* Where the volume is mounted: as a whole, if its area shows where that is. */
static char *mount_of(const struct umbra_volume *volume, const struct umbra_area *area)
{
	static const char end[] = "/" UMBRA_AREA_DIR "/" UMBRA_AREA_NAME;
	const char *place = umbra_area_place(area);
	size_t len = strlen(place), tail = strlen(end);

	if (!umbra_area_is_inside(area) || len < tail)
		return strdup(volume->mount);
	return len == tail ? strdup("/") : strndup(place, len - tail);
}

static int identify(dev_t origin, const struct umbra_volume *volume, const struct umbra_area *area,
		    struct umbra_dm_state *s, struct umbra_error *err)
{
	struct umbra_dm_info info;
	int r = umbra_dm_info(umbra_dm_numbered(origin), &info, err);

	if (r < 0)
		return r;
	s->area = *umbra_area_id(area);
	s->name = strdup(info.name);
	s->uuid = strdup(info.uuid);
	s->path = mount_of(volume, area);
	s->place = umbra_area_record(area);
	return s->name && s->uuid && s->path && s->place ? 0 : umbra_oom(err);
}

/* Of a disk elsewhere it is not known that it will not be there again. */
static int refuse_missing(const struct umbra_dm_state *s, struct umbra_error *err)
{
	_cleanup_free_ char *place = NULL;

	if (umbra_area_record_inside(s->place) || umbra_area_resizing(s->place))
		return 0;
	if (umbra_doc_get_path(s->place, "place", &place) < 0)
		return umbra_oom(err);
	return umbra_fail(
		err, UMBRA_E_NOT_FOUND, ENOENT,
		"the diff area of '%s' is '%s', which is not there: connect or mount what "
		"it is on; if that is gone for good, 'umbra storage remove --force %s' "
		"gives it up",
		s->path, place, s->area.s);
}

/* A record of an area that was never published, or whose file somebody removed. */
static int forget_gone(int state_fd, dev_t origin, struct umbra_error *err)
{
	_cleanup_dm_state_ struct umbra_dm_state s = {0};
	struct umbra_id area;
	int r = umbra_protected_area_of(state_fd, origin, &area, err);

	if (r <= 0)
		return r;
	r = umbra_dm_state_read(state_fd, area.s, &s, err);
	if (r == 0)
		r = refuse_missing(&s, err);
	return r < 0 ? r : umbra_dm_state_remove(state_fd, area.s, err);
}

/* Killed with a name and no protection it is what a resize can leave, and is put right like that.
 */
static int publish(int state_fd, struct umbra_dm_state *s, struct umbra_area *area,
		   struct umbra_error *err)
{
	int r = umbra_area_publish(area, err);

	if (r < 0) {
		umbra_dm_state_remove(state_fd, s->area.s, NULL);
		return r;
	}
	umbra_area_mark(area, false);
	json_decref(s->place);
	s->place = umbra_area_record(area);
	return s->place ? umbra_dm_state_write(state_fd, s, err) : umbra_oom(err);
}

static int make_area(int state_fd, const struct umbra_storage_request *request,
		     struct umbra_protected **out, struct umbra_error *err)
{
	struct umbra_area_request wanted = {.volume = request->volume,
					    .origin = request->volume->dev,
					    .place = request->place,
					    .bytes = request->size,
					    .force = request->force};
	_cleanup_dm_state_ struct umbra_dm_state s = {0};
	_cleanup_protected_ struct umbra_protected *p = NULL;
	_cleanup_area_ struct umbra_area *area = NULL;
	int r = umbra_dm_check_whole(request->volume, err);

	if (r == 0 && !request->place)
		r = umbra_refuse_frozen("volume", request->volume->mount, UMBRA_THAW_WAIT_MS, err);
	if (r == 0)
		r = umbra_layer_check(wanted.origin, err);
	if (r == 0)
		r = forget_gone(state_fd, wanted.origin, err);
	if (r == 0)
		r = umbra_area_create(&wanted, &area, err);
	/* Of a place that is good for nothing else is said. */
	if (r == 0 && !request->force)
		r = umbra_place_early(state_fd, request->place, err);
	if (r == 0)
		r = umbra_fault_fail("dm.area-made", err);
	if (r == 0)
		umbra_area_mark(area, true);
	if (r == 0)
		r = identify(wanted.origin, request->volume, area, &s, err);
	if (r == 0) /* first the pool: a record means that there is one */
		r = umbra_protected_open_new(&s, &area, &p, err);
	if (r == 0)
		r = umbra_dm_state_write(state_fd, &s, err);
	if (r == 0)
		r = umbra_fault_fail("dm.area-recorded", err);
	if (r < 0)
		return r;
	r = publish(state_fd, &s, p->area, err);
	if (r == 0)
		*out = TAKE_PTR(p);
	return r;
}

int umbra_dm_protect(struct umbra_member *m, struct umbra_protected **out, struct umbra_error *err)
{
	struct umbra_storage_request request = {.volume = m->volume};
	int r = umbra_protected_refuse_frozen_dev(m->state_fd, m->volume->dev, err);

	if (r == 0)
		r = umbra_protected_open_dev(m->state_fd, m->volume->dev, UMBRA_PROTECTED_WAIT_MS,
					     out, err);
	if (r != -ENOENT)
		return r;
	r = make_area(m->state_fd, &request, out, err);
	return r < 0 ? r : 1;
}

static int add(int state_fd, const char *state_dir, const struct umbra_storage_request *request,
	       json_t **out, struct umbra_error *err)
{
	_cleanup_protected_ struct umbra_protected *p = NULL;
	int r = umbra_protected_open_dev(state_fd, request->volume->dev, UMBRA_PROTECTED_WAIT_MS,
					 &p, err);

	(void)state_dir;
	if (r == 0)
		return umbra_fail(err, UMBRA_E_EXISTS, EEXIST,
				  "'%s' has a diff area already, at '%s'", request->volume->mount,
				  umbra_area_place(p->area));
	if (r == -ENOENT)
		r = make_area(state_fd, request, &p, err);
	if (r < 0)
		return r;
	*out = umbra_storage_report(p, p->path);
	return *out ? 0 : umbra_oom(err);
}

static int need_area(int state_fd, const struct umbra_volume *volume, struct umbra_error *err)
{
	struct umbra_id area;
	int r = umbra_protected_area_of(state_fd, volume->dev, &area, err);

	if (r != 0)
		return r < 0 ? r : 0;
	return umbra_fail(err, UMBRA_E_NOT_FOUND, ENOENT,
			  "'%s' has no diff area: 'umbra storage add %s' makes one", volume->mount,
			  UMBRA_WORD(volume->mount));
}

static int resize(int state_fd, const char *state_dir, const struct umbra_storage_request *request,
		  json_t **out, struct umbra_error *err)
{
	_cleanup_protected_ struct umbra_protected *p = NULL;
	int r = need_area(state_fd, request->volume, err), same;

	(void)state_dir;
	same = r = r < 0 ? r : umbra_dm_resize(state_fd, request, err);
	if (r >= 0)
		r = umbra_protected_open_dev(state_fd, request->volume->dev,
					     UMBRA_PROTECTED_WAIT_MS, &p, err);
	if (r < 0)
		return r;
	*out = umbra_storage_report(p, p->path);
	return *out ? same : umbra_oom(err);
}

/* Copies go by where their volume was mounted, which may have been elsewhere. */
static int has_copies(const struct umbra_protected *p, const char *mount, struct umbra_error *err)
{
	_cleanup_free_ char *path = umbra_dm_copied_as(p, mount);

	if (!path)
		return umbra_oom(err);
	return umbra_fail(err, UMBRA_E_BUSY, EBUSY,
			  "the diff area of '%s' has %s: 'umbra delete --all %s' deletes what "
			  "there is, --force loses it",
			  mount,
			  UMBRA_COUNT(umbra_pool_count(p->pool, UMBRA_POOL_KEPT), "shadow copy",
				      "shadow copies"),
			  UMBRA_WORD(path));
}

static int remove_area(int state_fd, const char *state_dir,
		       const struct umbra_storage_request *request, struct umbra_error *err)
{
	_cleanup_protected_ struct umbra_protected *p = NULL;
	_cleanup_pool_ struct umbra_pool *next = NULL;
	int r = need_area(state_fd, request->volume, err);

	(void)state_dir;
	if (r < 0)
		return r;
	r = umbra_protected_open_dev(state_fd, request->volume->dev, UMBRA_PROTECTED_WAIT_MS, &p,
				     err);
	if (r < 0 && r != -EBUSY && request->force)
		return umbra_protected_abandon(state_fd, request->volume->dev, err);
	if (r < 0)
		return r;
	if (umbra_pool_count(p->pool, UMBRA_POOL_KEPT) > 0 && !request->force)
		return has_copies(p, request->volume->mount, err);
	if (umbra_pool_count(p->pool, UMBRA_POOL_KEPT) > 0) {
		r = umbra_protected_begin(p, &next, err);
		if (r == 0)
			r = umbra_pool_lose(next, NULL, err);
		if (r == 0)
			r = umbra_protected_write(p, &next, err);
		if (r == 0)
			r = umbra_protected_settle(p, err);
	}
	if (r == 0)
		r = umbra_dm_state_remove(state_fd, p->kernel.area.s, err);
	return r < 0 ? r : umbra_area_destroy(p->area, err);
}

static int give_up(int state_fd, const struct umbra_id *area, bool force, struct umbra_error *err)
{
	_cleanup_protected_ struct umbra_protected *p = NULL;
	_cleanup_dm_state_ struct umbra_dm_state s = {0};
	struct umbra_error why = {0};
	int r = umbra_dm_state_read(state_fd, area->s, &s, err);

	if (r < 0)
		return r;
	r = umbra_protected_open_area(state_fd, area->s, UMBRA_PROTECTED_WAIT_MS, &p, &why);
	if (r == 0)
		r = umbra_stamp_refuse_other(p, &why);
	p = umbra_protected_close(p); /* and its lock */
	if (r == 0)
		return umbra_fail(err, UMBRA_E_EXISTS, EEXIST,
				  "diff area %s can be reached: 'umbra storage remove' wants the "
				  "path of its volume, '%s'",
				  area->s, s.path);
	if (!umbra_protected_out_of_reach(r))
		return umbra_fail(err, why.code, r, "%s", why.text);
	if (!force)
		return umbra_fail(
			err, UMBRA_E_BUSY, EBUSY,
			"diff area %s, of '%s', may be there again, with its shadow copies, when "
			"its volume is: --force gives them up for good",
			area->s, s.path);
	r = umbra_protected_drop(&s, err);
	return r < 0 ? r : umbra_dm_state_remove(state_fd, area->s, err);
}

static int locate(int state_fd, const struct umbra_shadow *shadow, dev_t *device,
		  struct umbra_error *err)
{
	_cleanup_dm_state_ struct umbra_dm_state s = {0};
	const char *area = umbra_dm_area_of(shadow);
	int r = umbra_dm_state_read(state_fd, area ? area : "", &s, err);

	return r < 0 ? r : umbra_protected_find(&s, device, err);
}

static int compare_path(const struct umbra_dm_state *s, void *arg)
{
	return strcmp(s->path, arg) == 0;
}

static bool was_at(int state_fd, const char *path)
{
	return umbra_dm_state_each(state_fd, compare_path, (void *)(uintptr_t)path, NULL) > 0;
}

const struct umbra_storage_ops umbra_dm_storage = {
	.refuse_frozen = umbra_protected_refuse_frozen_dev,
	.list = umbra_storage_list_all,
	.locate = locate,
	.was_at = was_at,
	.fates = umbra_dm_fates,
	.add = add,
	.resize = resize,
	.reconcile = umbra_dm_resize_reconcile,
	.remove = remove_area,
	.give_up = give_up,
	.look_after = umbra_dm_look_after,
	.alarm = umbra_area_alarm,
	.depends_on = umbra_dm_depends_on,
	.let_go = umbra_walls_let_go,
	.leave = umbra_walls_leave,
	.activate = umbra_dm_activate,
	.keep = umbra_dm_keep,
};
