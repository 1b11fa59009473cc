/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Deleting a copy is bookkeeping: no device of the kernel changes but the views of it. */
#include "common/fault.h"
#include "snapshot/provider/dm/parts.h"
#include "snapshot/provider/dm/view_device.h"

int umbra_dm_forget(struct umbra_protected *p, const struct umbra_id *id, struct umbra_error *err)
{
	_cleanup_pool_ struct umbra_pool *next = NULL;
	uint32_t i = umbra_pool_find(p->pool, id);
	int r = 0;

	if (i == p->pool->n_copies || p->pool->copies[i].state == UMBRA_POOL_HIDDEN)
		return 0;
	if (p->in)
		r = umbra_view_devices_close(p, id, err);
	if (r == 0)
		r = umbra_protected_begin(p, &next, err);
	if (r == 0)
		r = umbra_pool_remove(next, id, err);
	if (r == 0)
		r = umbra_fault_fail("dm.removing", err);
	if (r == 0)
		r = umbra_protected_write(p, &next, err);
	if (r == 0)
		r = umbra_fault_fail("dm.removed", err);
	if (r == 0)
		r = umbra_protected_settle(p, err);
	return r < 0 ? r : umbra_dm_grant_all(p, err);
}

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

int umbra_dm_remove_shadow(int state_fd, const struct umbra_shadow *shadow,
			   struct umbra_watch *watch, struct umbra_error *err)
{
	_cleanup_protected_ struct umbra_protected *p = NULL;
	int r = umbra_dm_find(state_fd, shadow, &p, err);

	(void)watch;
	if (r == -ENOENT)
		return 0;
	return r < 0 ? r : umbra_dm_forget(p, &shadow->id, err);
}
