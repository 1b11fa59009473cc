/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/provider/dm/volume/copies.h"

#include "common/fault.h"
#include "common/log.h"
#include "snapshot/provider/dm/volume/fate.h"
#include "snapshot/provider/dm/volume/space.h"
#include "snapshot/provider/dm/volume/view_device.h"

static bool has(const struct umbra_protected *p, const struct umbra_id *id)
{
	uint32_t i = umbra_pool_find(p->pool, id);

	return i < p->pool->n_copies && p->pool->copies[i].state != UMBRA_POOL_HIDDEN;
}

static int take_out(struct umbra_protected *p, const struct umbra_id *id, struct umbra_error *err)
{
	_cleanup_pool_ struct umbra_pool *next = NULL;
	int r = umbra_protected_begin(p, &next, err);

	if (r == 0)
		r = umbra_pool_remove(next, id, err);
	if (r == 0)
		r = umbra_fault_fail("dm.removing", err);
	return r < 0 ? r : umbra_protected_write(p, &next, err);
}

int umbra_dm_forget(struct umbra_protected *p, const struct umbra_id *id, struct umbra_error *err)
{
	int r = 0;

	if (!has(p, id))
		return 0;
	if (p->in)
		r = umbra_view_devices_close(p, id, err);
	if (r == 0)
		r = take_out(p, id, err);
	if (r == 0)
		r = umbra_fault_fail("dm.removed", err);
	if (r == 0)
		r = umbra_protected_settle(p, err);
	return r < 0 ? r : umbra_space_grant_all(p, err);
}

/* --- what the area cannot be told yet --- */

static int note_deleted(int state_fd, const struct umbra_protected *p, const struct umbra_id *id,
			struct umbra_error *err)
{
	_cleanup_dm_state_ struct umbra_dm_state s = {0};
	int r = umbra_dm_state_read(state_fd, p->kernel.area.s, &s, err);

	if (r < 0)
		return r;
	if (!s.deleted)
		s.deleted = json_array();
	if (json_array_append_new(s.deleted, json_string(id->s)) < 0)
		return umbra_oom(err);
	return umbra_dm_state_write(state_fd, &s, err);
}

int umbra_dm_delete(int state_fd, struct umbra_protected *p, const struct umbra_id *id,
		    struct umbra_error *err)
{
	bool unsaid = p->adrift && has(p, id);
	int r = umbra_dm_forget(p, id, err);

	return r < 0 || !unsaid ? r : note_deleted(state_fd, p, id, err);
}

int umbra_dm_drop_deleted(int state_fd, struct umbra_protected *p, struct umbra_dm_state *s,
			  struct umbra_error *err)
{
	struct umbra_error why = {0};
	struct umbra_id id = {0};
	const json_t *one;
	size_t i;
	int r = 0;

	if (!s->deleted || umbra_pool_unfinished(p->pool))
		return 0;
	json_array_foreach (s->deleted, i, one) {
		snprintf(id.s, sizeof(id.s), "%s", json_string_value(one));
		if (r == 0 && has(p, &id))
			r = take_out(p, &id, err);
	}
	if (r < 0 || p->adrift)
		return r;
	json_decref(TAKE_PTR(s->deleted));
	/* Whoever reads of them once more finds none. */
	if (umbra_dm_state_write(state_fd, s, &why) < 0)
		umbra_log_debug("%s", why.text);
	return 0;
}

/* --- finding --- */

/* For umbra_dm_find(). */
struct search {
	int state_fd;
	const struct umbra_id *id;
	struct umbra_protected *found;
	struct umbra_error *err;
	int r;
};

static int search_one(const struct umbra_dm_state *s, void *arg)
{
	_cleanup_protected_ struct umbra_protected *p = NULL;
	struct search *search = arg;

	int r = umbra_protected_open_area(search->state_fd, s->area.s, UMBRA_PROTECTED_WAIT_MS, &p,
					  search->err);

	/* Nothing in one that is damaged can be read, nor has to be removed. */
	if (r == -EBADMSG || r == -EUCLEAN || r == -ENOENT)
		return 0;
	/* It may be in another one. */
	if (r < 0)
		search->r = r;
	if (!p)
		return r == -ENODEV ? 0 : 1;
	if (umbra_pool_find(p->pool, search->id) < p->pool->n_copies)
		search->found = TAKE_PTR(p);
	return search->found != NULL;
}

int umbra_dm_find(int state_fd, const struct umbra_shadow *shadow, struct umbra_protected **out,
		  struct umbra_error *err)
{
	const char *area = umbra_doc_string(shadow->data, "area");
	struct search search = {.state_fd = state_fd, .id = &shadow->id, .err = err};
	int r;

	if (area)
		return umbra_protected_open_area(state_fd, area, UMBRA_PROTECTED_WAIT_MS, out, err);
	r = umbra_dm_state_each(state_fd, search_one, &search, err);
	if (r < 0 || (search.r < 0 && !search.found))
		return r < 0 ? r : search.r;
	if (!search.found)
		return umbra_fail(err, UMBRA_E_NOT_FOUND, ENOENT,
				  "shadow copy '%s' is in no diff area", shadow->id.s);
	*out = search.found;
	return 0;
}

int umbra_dm_find_to_change(int state_fd, const struct umbra_shadow *shadow,
			    struct umbra_protected **out, struct umbra_error *err)
{
	const char *area = umbra_doc_string(shadow->data, "area");
	int r = area ? umbra_protected_refuse_frozen(state_fd, area, err) : 0;

	return r < 0 ? r : umbra_dm_find(state_fd, shadow, out, err);
}

int umbra_dm_find_copy(const struct umbra_protected *p, const struct umbra_id *id, uint32_t *out,
		       struct umbra_error *err)
{
	uint32_t i = umbra_pool_find(p->pool, id);
	int r;

	if (i == p->pool->n_copies)
		return umbra_fail(err, UMBRA_E_NOT_FOUND, ENOENT,
				  "the shadow copy is not in its diff area any more");
	r = umbra_dm_refuse_lost(p, &p->pool->copies[i], err);
	if (r < 0)
		return r;
	if (p->pool->copies[i].state != UMBRA_POOL_KEPT)
		return umbra_fail(err, UMBRA_E_NOT_FOUND, ENOENT,
				  "the shadow copy was deleted, or never finished");
	*out = i;
	return 0;
}
