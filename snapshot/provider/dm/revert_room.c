/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What keeps a volume from going back: its diff area, and the room that newer copies need. */
#include <fcntl.h>
#include <sys/stat.h>

#include "common/fault.h"
#include "common/text.h"
#include "snapshot/provider/dm/revert_parts.h"
#include "snapshot/provider/dm/volume/copies.h"
#include "snapshot/provider/dm/volume/space.h"

size_t umbra_dm_revert_newer(const struct umbra_protected *p, uint32_t copy)
{
	size_t n = 0;
	uint32_t i;

	for (i = copy + 1; i < p->pool->n_copies; i++)
		n += p->pool->copies[i].state == UMBRA_POOL_KEPT;
	return n;
}

int umbra_dm_revert_open(const struct umbra_dm_revert *v, struct umbra_protected **p,
			 uint32_t *copy, struct umbra_error *err)
{
	_cleanup_protected_ struct umbra_protected *opened = NULL;
	int r = umbra_protected_open_area(v->state_fd, v->area.s, UMBRA_PROTECTED_WAIT_MS, &opened,
					  err);

	if (r == 0)
		r = umbra_dm_find_copy(opened, &v->shadow, copy, err);
	if (r == 0)
		r = umbra_protected_awake(opened, err);
	if (r == 0)
		*p = TAKE_PTR(opened);
	return r;
}

/* --- the area --- */

/* How large the area's file is in the copy; 0: it cannot be told. */
static uint64_t size_in_copy(const struct umbra_dm_revert *v)
{
	struct stat st;

	return fstatat(v->root->fd, UMBRA_AREA_DIR "/" UMBRA_AREA_NAME, &st, AT_SYMLINK_NOFOLLOW) <
				       0 ||
			       !S_ISREG(st.st_mode)
		       ? 0
		       : (uint64_t)st.st_size;
}

/* One that only got larger begins where it was: made smaller it is what it was. */
static int lies_elsewhere(const struct umbra_dm_revert *v, const struct umbra_protected *p,
			  struct umbra_error *err)
{
	const uint64_t was = size_in_copy(v), is = umbra_area_sectors(p->area) * UMBRA_DM_SECTOR;
	const char *place = umbra_area_place(p->area);

	if (was >= UMBRA_AREA_MIN && was < is)
		return umbra_fail(
			err, UMBRA_E_UNSUPPORTED, EOPNOTSUPP,
			"the diff area '%s' has %llu MiB, and had %llu when the shadow copy was "
			"made: going back would lose it with all copies; mount the volume, give "
			"the area its size of then ('umbra storage resize --size %lluK %s'), and "
			"try again ('umbra restore' brings back files without that)",
			place, (unsigned long long)is >> 20, (unsigned long long)was >> 20,
			(unsigned long long)was >> 10, UMBRA_WORD(p->path));
	return umbra_fail(
		err, UMBRA_E_UNSUPPORTED, EOPNOTSUPP,
		"in the shadow copy the diff area '%s' does not lie where it lies now (it "
		"was resized since), and going back would lose it with all copies: 'umbra "
		"restore' brings back files",
		place);
}

int umbra_dm_revert_check_area(const struct umbra_dm_revert *v, const struct umbra_protected *p,
			       struct umbra_error *err)
{
	struct umbra_error why = {0};
	int r = umbra_area_is_in(p->area, v->root->fd, &why);

	if (r != -EBADMSG && r != -ENOENT)
		return r < 0 ? umbra_fail(err, why.code, r, "%s", why.text) : 0;
	return lies_elsewhere(v, p, err);
}

/* --- room for newer copies --- */

static int list_newer(struct umbra_revert_request *q, const struct umbra_protected *p,
		      uint32_t copy)
{
	uint32_t i;

	free(q->newer);
	q->n_newer = 0;
	q->newer = calloc(p->pool->n_copies + 1, sizeof(*q->newer));
	if (!q->newer)
		return -ENOMEM;
	for (i = copy + 1; i < p->pool->n_copies; i++)
		if (p->pool->copies[i].state == UMBRA_POOL_KEPT)
			q->newer[q->n_newer++] = p->pool->copies[i].id;
	return 0;
}

/* What makes room. A larger area inside the volume would not lie where the copy has it. */
static const char *room_advice(const struct umbra_protected *p, uint32_t copy)
{
	if (umbra_area_is_inside(p->area))
		return copy > 0 ? "delete copies older than the one to go back to, or " : "";
	return copy > 0 ? "delete copies older than the one to go back to, make it larger ('umbra "
			  "storage resize'), or "
			: "make it larger ('umbra storage resize'), or ";
}

static int no_room(struct umbra_revert_request *q, const struct umbra_dm_revert *v,
		   const struct umbra_protected *p, uint32_t copy, uint64_t need,
		   struct umbra_error *err)
{
	if (list_newer(q, p, copy) < 0)
		return umbra_oom(err);
	return umbra_fail(
		err, UMBRA_E_NO_SPACE, ENOSPC,
		"the diff area of '%s' has no room for the %llu MiB that %s to stay as now: %sgive "
		"the newer copies up with --force",
		q->shadow->path, (unsigned long long)(need * v->chunk_bytes >> 20) + 1,
		UMBRA_COUNT(q->n_newer, "newer shadow copy needs", "newer shadow copies need"),
		room_advice(p, copy));
}

/* All of it is read. As long as that takes others have the lock: who writes to the volume may need
 * space. */
static int count_unlocked(struct umbra_dm_revert *v, struct umbra_protected **p, uint32_t *copy,
			  uint64_t *need, struct umbra_error *err)
{
	_cleanup_area_ struct umbra_area *area = TAKE_PTR((*p)->area);
	int r;

	umbra_area_set_base(area, (*p)->layer.origin); /* what lies below is not kept open */
	*p = umbra_protected_close(*p);
	r = umbra_fault_fail("dm.revert-counting", err);
	if (r == 0)
		r = umbra_dm_revert_count(v, area, need, err);
	return r < 0 ? r : umbra_dm_revert_open(v, p, copy, err);
}

static int fits(const struct umbra_protected *p, uint64_t need, struct umbra_error *err)
{
	return need == 0 ? 1 : umbra_dm_revert_fits(p, need, umbra_space_low_water(p->pool), err);
}

int umbra_dm_revert_check_room(struct umbra_revert_request *q, struct umbra_dm_revert *v,
			       struct umbra_protected **p, uint32_t *copy, struct umbra_error *err)
{
	uint64_t need;
	int r = umbra_dm_revert_plan(v, *p, *copy, err);

	if (r < 0 || umbra_dm_revert_newer(*p, *copy) == 0)
		return r;
	need = umbra_dm_revert_need(v);
	r = fits(*p, need, err);
	if (r == 0) { /* perhaps not all of it has really changed */
		r = count_unlocked(v, p, copy, &need, err);
		if (r == 0)
			r = fits(*p, need, err);
	}
	if (r < 0)
		return r;
	return r == 0 ? no_room(q, v, *p, *copy, need, err) : 0;
}
