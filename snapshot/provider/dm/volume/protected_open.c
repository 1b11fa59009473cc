/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Opening a protected volume, and what becomes of its copies where that cannot be. */
#include <string.h>

#include "common/fault.h"
#include "common/log.h"
#include "snapshot/provider/dm/volume/copies.h"
#include "snapshot/provider/dm/volume/protected_parts.h"
#include "snapshot/provider/dm/volume/stamp.h"

/* With the lock in hand: for the guards of a killed creation, who are about to resume it. */
#define HELD_MS 500

static int volume_sectors(dev_t origin, uint64_t *out, struct umbra_error *err)
{
	_cleanup_dm_table_ struct umbra_dm_table table = {0};
	int r = umbra_dm_table(umbra_dm_numbered(origin), UMBRA_DM_LIVE, &table, err);

	if (r == 0)
		*out = umbra_dm_table_sectors(&table);
	return r;
}

/* Where somebody has replaced the volume's table, `real` may lead to what is another's by now
 * (pvmove): nothing is written there. */
static int choose_base(struct umbra_protected *p, struct umbra_error *err)
{
	enum umbra_layer_state state;
	dev_t real;
	int r = umbra_layer_state(&p->layer, &state, err);

	if (r == 0 && state != UMBRA_LAYER_OUT && state != UMBRA_LAYER_REPLACED &&
	    umbra_layer_real(&p->layer, &real, NULL) == 0)
		umbra_area_set_base(p->area, real);
	return r;
}

/* Before anything is read or written: I/O to a suspended volume would keep us, with the lock. */
static int check_flows(struct umbra_protected *p, const struct umbra_dm_state *s,
		       struct umbra_error *err)
{
	int r;

	if (umbra_protected_find(s, &p->layer.origin, NULL) < 0)
		return 0; /* is said later */
	r = umbra_layer_resume(&p->layer, err);
	return r < 0 ? r : umbra_protected_flows(p, HELD_MS, err);
}

/* The volume and the area; no pool. Takes area, where there is one already. */
static int find_parts(struct umbra_protected *p, const struct umbra_dm_state *s,
		      struct umbra_area **area, struct umbra_error *err)
{
	int r = umbra_protected_find(s, &p->layer.origin, err);

	p->path = r == 0 ? umbra_area_mounted_at(p->layer.origin, s->path) : NULL;
	if (!p->path)
		p->path = umbra_asprintf("%s", s->path);
	if (!p->path)
		return umbra_oom(err);
	if (r == 0)
		r = volume_sectors(p->layer.origin, &p->kernel.sectors, err);
	if (r < 0)
		return r;
	if (area)
		p->area = TAKE_PTR(*area);
	else
		r = umbra_area_open(s->place, p->layer.origin, umbra_protected_being_resized(p, s),
				    &p->area, err);
	if (r == 0)
		r = umbra_area_is_mapped(p->area, err);
	return r < 0 ? r : choose_base(p, err);
}

static int create_pool(struct umbra_protected *p, const char *volume, struct umbra_error *err)
{
	_cleanup_pool_ struct umbra_pool *pool = NULL;
	struct umbra_pool_geometry g;
	int r = umbra_pool_geometry(umbra_area_sectors(p->area), UMBRA_DM_CHUNK_SECTORS, &g, err);

	if (r == 0)
		r = umbra_pool_new(&g, &p->kernel.area, volume, &pool, err);
	return r < 0 ? r : umbra_protected_write(p, &pool, err);
}

int umbra_protected_drop(const struct umbra_dm_state *s, struct umbra_error *err)
{
	_cleanup_protected_ struct umbra_protected *p = NULL;
	struct umbra_device_name real;
	int r = umbra_protected_lock(s->area.s, UMBRA_PROTECTED_WAIT_MS, &p, err);

	if (r < 0)
		return r;
	umbra_device_name(&s->area, "real", &real);
	if (umbra_layer_real(&p->layer, &p->kernel.real, NULL) == 0)
		r = volume_sectors(p->kernel.real, &p->kernel.sectors, err);
	if (r == 0 && umbra_protected_find(s, &p->layer.origin, NULL) == 0)
		return umbra_protected_clear(p, err);
	if (r == 0)
		r = umbra_kernel_clear(&p->kernel, err);
	if (r == 0)
		r = umbra_dm_remove(real.name, UMBRA_DM_REMOVE_NOW, err);
	return r < 0 ? r : 0;
}

bool umbra_protected_out_of_reach(int r)
{
	return r == -ENODEV || r == -ENOENT || r == -EBADMSG || r == -EUCLEAN || r == -EXDEV;
}

/*
 * From here on the volume is written without its copies. The area cannot be told, so the record
 * beside the catalog is, for the time when it is there again. gone: it is not where it was, and
 * nothing may be written there.
 */
static void give_up(struct umbra_protected *p, int state_fd, struct umbra_dm_state *s, bool gone,
		    const struct umbra_error *cause)
{
	enum umbra_layer_state state;
	struct umbra_error why = {0};

	if (!p->layer.origin || umbra_layer_state(&p->layer, &state, &why) < 0 ||
	    state == UMBRA_LAYER_OUT || state == UMBRA_LAYER_HALF)
		return;
	if (!gone &&
	    (umbra_protected_is_marked(p) || umbra_store_device_any_live(&p->kernel, &why) != 0))
		return;
	umbra_log_error("the shadow copies of '%s' are lost: %s", s->path, cause->text);
	/* Before anything that takes its time: the blocks may be those of other files by now. */
	if (gone && umbra_kernel_stop(&p->kernel, &why) < 0)
		umbra_log_error("%s", why.text);
	free(s->lost);
	s->lost = umbra_asprintf("%s: %s", UMBRA_DM_AREA_UNUSABLE, cause->text);
	if (!s->lost)
		return; /* and tried again */
	if (umbra_dm_state_write(state_fd, s, &why) < 0 || umbra_protected_clear(p, &why) < 0)
		umbra_log_error("and then: %s", why.text);
}

/* What give_up() could not say to the area. */
static int lose_now(struct umbra_protected *p, int state_fd, struct umbra_dm_state *s,
		    struct umbra_error *err)
{
	int r;

	/* What lies there now may be somebody's file. */
	p->adrift = !umbra_area_certain(p->area);
	r = umbra_protected_lose(p, s->lost, err);
	if (r < 0 || p->adrift)
		return r;
	free(TAKE_PTR(s->lost));
	return umbra_dm_state_write(state_fd, s, err);
}

/* While the layer is in. Before anything is written to the area: it may be there no more. */
static int check_filesystem(struct umbra_protected *p, struct umbra_error *err)
{
	enum umbra_layer_state state;
	dev_t real;
	int r;

	if (umbra_area_certain(p->area))
		return 0;
	r = umbra_layer_state(&p->layer, &state, err);
	if (r < 0 || state != UMBRA_LAYER_IN)
		return r;
	r = umbra_layer_real(&p->layer, &real, err);
	if (r < 0 || !umbra_stamp_replaced(p->layer.origin, real, p->pool->stamp))
		return r;
	p->adrift = true;
	return umbra_fail(
		err, UMBRA_E_DAMAGED, EBADMSG,
		"another filesystem was made on '%s' (mkfs, wipefs, dd), or its UUID "
		"was changed while it was not mounted, and the diff area was in the old one",
		p->path);
}

bool umbra_protected_is_old(const struct umbra_protected *p, int state_fd)
{
	return p->pool->generation < umbra_dm_state_seen(state_fd, p->kernel.area.s);
}

/* One inside is as old as its volume, and of that all is right. */
static int check_age(const struct umbra_protected *p, int state_fd, struct umbra_error *err)
{
	if (umbra_area_is_inside(p->area) || !umbra_protected_is_old(p, state_fd))
		return 0;
	return umbra_fail(err, UMBRA_E_DAMAGED, EXDEV,
			  "at '%s' is an old copy of diff area %s: another disk that was made from "
			  "it, or a backup; put the right one there again",
			  umbra_area_place(p->area), p->kernel.area.s);
}

void umbra_protected_close_noted(int state_fd, struct umbra_protected *p)
{
	const struct umbra_id area = p->kernel.area;
	struct umbra_error why = {0};
	uint64_t generation = 0;

	if (!p->adrift && (p->flushed || umbra_area_flush(p->area, &why) == 0))
		generation = p->pool->generation;
	umbra_protected_close(p);
	if (generation > 0 && umbra_dm_state_saw(state_fd, area.s, generation, &why) < 0)
		umbra_log_warning("%s", why.text);
}

static int open_pool(struct umbra_protected *p, int state_fd, struct umbra_dm_state *s,
		     struct umbra_error *err)
{
	int r = umbra_protected_load(p, err);

	if (r == 0)
		r = check_age(p, state_fd, err);
	if (r == 0)
		r = check_filesystem(p, err);
	/* First, so that nobody is told that those are lost. */
	if (r == 0 && umbra_area_certain(p->area))
		r = umbra_dm_drop_deleted(state_fd, p, s, err);
	if (r == 0 && s->lost)
		r = lose_now(p, state_fd, s, err);
	if (r == 0)
		r = umbra_protected_look_at_layer(p, err);
	if (r == 0)
		r = umbra_protected_settle(p, err);
	if (r < 0 || !s->deleted)
		return r;
	r = umbra_dm_drop_deleted(state_fd, p, s, err);
	return r < 0 ? r : umbra_protected_settle(p, err);
}

int umbra_protected_open_area(int state_fd, const char *area, int wait_ms,
			      struct umbra_protected **out, struct umbra_error *err)
{
	_cleanup_dm_state_ struct umbra_dm_state s = {0};
	_cleanup_protected_ struct umbra_protected *p = NULL;
	struct umbra_error why = {0};
	bool gone;
	int r = umbra_id_valid(area) ? umbra_protected_lock(area, wait_ms, &p, err) : 0;

	/* Not earlier: whoever had the lock may have changed the record. */
	if (r == 0)
		r = umbra_dm_state_read(state_fd, area, &s, err);
	if (r == 0)
		r = umbra_fault_fail("dm.opening", err);
	if (r == 0)
		r = check_flows(p, &s, err);
	if (r < 0)
		return r;
	r = find_parts(p, &s, NULL, &why);
	/* Of one elsewhere the path says little: what the kernel has of it stays. */
	gone = (r == -EBADMSG || r == -ENOENT) && umbra_area_record_inside(s.place);
	if (r == 0) {
		r = open_pool(p, state_fd, &s, &why);
		gone = r == -EBADMSG && (p->adrift || (!p->pool && !umbra_area_certain(p->area)));
	}
	if (r < 0) {
		give_up(p, state_fd, &s, gone, &why);
		if (s.lost)
			return umbra_fail(err, why.code, r,
					  "%s; the shadow copies in it are lost: 'umbra storage "
					  "remove --force %s' gives them up",
					  why.text, area);
		return umbra_fail(err, why.code, r, "%s", why.text);
	}
	*out = TAKE_PTR(p);
	return 0;
}

int umbra_protected_open_new(const struct umbra_dm_state *s, struct umbra_area **area,
			     struct umbra_protected **out, struct umbra_error *err)
{
	_cleanup_protected_ struct umbra_protected *p = NULL;
	int r = umbra_protected_lock(s->area.s, UMBRA_PROTECTED_WAIT_MS, &p, err);

	if (r == 0)
		r = find_parts(p, s, area, err);
	if (r == 0)
		r = create_pool(p, *s->uuid ? s->uuid : s->name, err);
	if (r == 0)
		*out = TAKE_PTR(p);
	return r;
}

static int no_area(struct umbra_error *err)
{
	return umbra_fail(err, UMBRA_E_NOT_FOUND, ENOENT,
			  "the volume has no diff area: 'umbra storage add' makes one");
}

int umbra_protected_open_dev(int state_fd, dev_t origin, int wait_ms, struct umbra_protected **out,
			     struct umbra_error *err)
{
	struct umbra_id area;
	int r = umbra_protected_area_of(state_fd, origin, &area, err);

	if (r == 0)
		return no_area(err);
	return r < 0 ? r : umbra_protected_open_area(state_fd, area.s, wait_ms, out, err);
}

int umbra_protected_abandon(int state_fd, dev_t origin, struct umbra_error *err)
{
	_cleanup_dm_state_ struct umbra_dm_state s = {0};
	_cleanup_protected_ struct umbra_protected *p = NULL;
	struct umbra_error why = {0};
	struct umbra_id area = {0};
	int found, r = umbra_protected_area_of(state_fd, origin, &area, err);

	if (r == 0)
		return no_area(err);
	r = r < 0 ? r : umbra_protected_lock(area.s, UMBRA_PROTECTED_WAIT_MS, &p, err);
	if (r == 0)
		r = umbra_dm_state_read(state_fd, area.s, &s, err);
	if (r == 0)
		r = check_flows(p, &s, err);
	if (r < 0)
		return r;
	if (umbra_protected_is_marked(p))
		return umbra_fail(err, UMBRA_E_BUSY, EBUSY,
				  "another umbra makes a shadow copy of '%s' at this time", s.path);
	found = find_parts(p, &s, NULL, &why);
	if (found == 0 && umbra_protected_load(p, NULL) == 0)
		found = check_age(p, state_fd, &why);
	r = umbra_protected_clear(p, err);
	if (r == 0)
		r = umbra_dm_state_remove(state_fd, area.s, err);
	if (r == 0 && found == -ENOENT)
		return 0; /* it is gone already */
	if (r == 0 && found < 0)
		umbra_log_warning("what is at the place of the diff area is left alone: %s",
				  why.text);
	else if (r == 0 && umbra_area_destroy(p->area, &why) < 0)
		umbra_log_warning("%s", why.text);
	return r;
}
