/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A volume goes back to a copy. The lock is held in pieces, so that copies can be read meanwhile
 * and umbrad looks after the area; each piece first makes sure that nothing it writes comes to the
 * wall.
 */
#include "snapshot/revert.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/fault.h"
#include "common/text.h"
#include "snapshot/provider/dm/revert_parts.h"
#include "snapshot/provider/dm/volume/copies.h"
#include "snapshot/provider/dm/volume/fate.h"
#include "snapshot/provider/dm/volume/proof.h"
#include "snapshot/provider/dm/volume/space.h"
#include "snapshot/provider/dm/volume/stamp.h"
#include "snapshot/provider/dm/volume/view_device.h"
#include "snapshot/sys/mounted.h"

#define PIECE_US     500000
#define PIECE_CHUNKS 4096

/* Where every filesystem that dm takes has its superblock. */
#define SUPERBLOCK_BYTES 4096U

static struct umbra_dm_revert *free_revert(struct umbra_dm_revert *v)
{
	if (v) {
		umbra_close(v->view);
		umbra_close(v->below);
		umbra_close(v->origin);
		umbra_root_close(v->root);
		umbra_exceptions_finish(&v->chunks);
		free(v->base.device);
		free(v->was);
		free(v->is);
		free(v);
	}
	return NULL;
}
UMBRA_DEFINE_CLEANUP(struct umbra_dm_revert *, revert, free_revert)

static struct umbra_dm_revert *new_revert(const struct umbra_revert_request *q)
{
	const size_t bytes = (size_t)UMBRA_DM_REVERT_RUN * UMBRA_DM_CHUNK_SECTORS * UMBRA_DM_SECTOR;
	struct umbra_dm_revert *v = calloc(1, sizeof(*v));

	if (!v)
		return NULL;
	v->view = v->origin = v->below = -1;
	v->state_fd = q->state_fd;
	v->shadow = q->shadow->id;
	v->watch = q->watch;
	if (posix_memalign(&v->was, UMBRA_AREA_BLOCK, bytes) != 0 ||
	    posix_memalign(&v->is, UMBRA_AREA_BLOCK, bytes) != 0)
		return free_revert(v);
	return v;
}

/* --- what there is --- */

/* The copy's index in the pool, if it can be read. */
static int find_copy(const struct umbra_protected *p, const struct umbra_id *id, uint32_t *out,
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
	r = umbra_protected_awake(p, err);
	if (r < 0)
		return r;
	*out = i;
	return 0;
}

static size_t count_newer(const struct umbra_protected *p, uint32_t copy)
{
	size_t n = 0;
	uint32_t i;

	for (i = copy + 1; i < p->pool->n_copies; i++)
		n += p->pool->copies[i].state == UMBRA_POOL_KEPT;
	return n;
}

static int open_locked(const struct umbra_dm_revert *v, struct umbra_protected **p, uint32_t *copy,
		       struct umbra_error *err)
{
	_cleanup_protected_ struct umbra_protected *opened = NULL;
	int r = umbra_protected_open_area(v->state_fd, v->area.s, UMBRA_PROTECTED_WAIT_MS, &opened,
					  err);

	if (r == 0)
		r = find_copy(opened, &v->shadow, copy, err);
	if (r == 0)
		*p = TAKE_PTR(opened);
	return r;
}

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
			(unsigned long long)was >> 10, p->path);
	return umbra_fail(
		err, UMBRA_E_UNSUPPORTED, EOPNOTSUPP,
		"in the shadow copy the diff area '%s' does not lie where it lies now (it "
		"was resized since), and going back would lose it with all copies: 'umbra "
		"restore' brings back files",
		place);
}

/* What comes back must still have the area's file where the area is. */
static int check_area(const struct umbra_dm_revert *v, const struct umbra_protected *p,
		      struct umbra_error *err)
{
	struct umbra_error why = {0};
	int r = umbra_area_is_in(p->area, v->root->fd, &why);

	if (r != -EBADMSG && r != -ENOENT)
		return r < 0 ? umbra_fail(err, why.code, r, "%s", why.text) : 0;
	return lies_elsewhere(v, p, err);
}

/* --- room --- */

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
	return r < 0 ? r : open_locked(v, p, copy, err);
}

static int fits(const struct umbra_protected *p, uint64_t need, struct umbra_error *err)
{
	return need == 0 ? 1 : umbra_dm_revert_fits(p, need, umbra_space_low_water(p->pool), err);
}

/* Nothing has to be kept where there are no newer copies. The lock may be given back meanwhile. */
static int check_room(struct umbra_revert_request *q, struct umbra_dm_revert *v,
		      struct umbra_protected **p, uint32_t *copy, struct umbra_error *err)
{
	uint64_t need;
	int r = umbra_dm_revert_plan(v, *p, *copy, err);

	if (r < 0 || count_newer(*p, *copy) == 0)
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

/* --- taking the volume --- */

static int refuse_mounted(const struct umbra_revert_request *q, dev_t origin, bool *mounted,
			  struct umbra_error *err)
{
	_cleanup_free_ char *place = NULL;
	int r = umbra_mounted_at(origin, &place, err);

	if (r < 0)
		return r;
	*mounted = place != NULL;
	if (!place || q->unmount)
		return 0;
	return umbra_fail(
		err, UMBRA_E_BUSY, EBUSY,
		"'%s' is mounted at '%s': unmount it, or say --unmount, which does that if "
		"nobody uses it",
		q->shadow->path, place);
}

static int take_origin(struct umbra_dm_revert *v, const struct umbra_revert_request *q,
		       dev_t origin, struct umbra_error *err)
{
	struct umbra_error why = {0};
	int fd, r = q->unmount ? umbra_unmount(origin, err) : 0;

	if (r < 0)
		return r;
	fd = umbra_dm_open(origin, O_RDWR | O_EXCL | O_DIRECT, &why);
	if (fd == -EBUSY)
		return umbra_fail(
			err, UMBRA_E_BUSY, EBUSY,
			"'%s' is in use: mounted for other processes, by another device, or "
			"reverted by another umbra ('lsblk', 'lsns -t mnt')",
			q->shadow->path);
	if (fd < 0)
		return umbra_fail(err, why.code, fd, "%s", why.text);
	umbra_close(v->origin);
	v->origin = fd;
	/* What anybody has read before must not be read again. */
	return ioctl(fd, BLKFLSBUF) < 0
		       ? umbra_fail_errno(err, errno, "cannot write out '%s'", q->shadow->path)
		       : 0;
}

static int open_copy(struct umbra_dm_revert *v, struct umbra_protected *p, struct umbra_error *err)
{
	dev_t dev;
	int r = umbra_view_device_make(p, &v->shadow, &dev, err);

	if (r == 0)
		r = v->view = umbra_dm_open(dev, O_RDONLY | O_DIRECT, err);
	if (r >= 0) /* only to look, and to be mounted until it is taken */
		r = v->origin = umbra_dm_open(p->layer.origin, O_RDONLY | O_DIRECT, err);
	v->volume_bytes = p->kernel.sectors * UMBRA_DM_SECTOR;
	v->chunk_bytes = (size_t)p->pool->geometry.chunk_sectors * UMBRA_DM_SECTOR;
	return r < 0 ? r : 0;
}

static int mark(struct umbra_protected *p, const struct umbra_id *id, struct umbra_error *err)
{
	_cleanup_pool_ struct umbra_pool *next = NULL;
	int r = umbra_protected_begin(p, &next, err);

	if (r == 0)
		r = umbra_pool_revert(next, id, err);
	return r < 0 ? r : umbra_protected_write(p, &next, err);
}

static int name_device(struct umbra_dm_revert *v, dev_t origin, struct umbra_error *err)
{
	struct umbra_dm_info info;
	int r = umbra_dm_info(umbra_dm_numbered(origin), &info, err);

	if (r < 0)
		return r;
	v->base.device = umbra_asprintf("/dev/mapper/%s", info.name);
	return v->base.device ? 0 : umbra_oom(err);
}

/* All that can be in the way, before anything is changed. */
static int look_at(struct umbra_dm_revert *v, struct umbra_revert_request *q, bool *mounted,
		   struct umbra_error *err)
{
	_cleanup_protected_ struct umbra_protected *p = NULL;
	uint32_t copy;
	int r = umbra_dm_find_to_change(q->state_fd, q->shadow, &p, err);

	if (r < 0)
		return r;
	v->area = p->kernel.area;
	r = find_copy(p, &v->shadow, &copy, err);
	if (r == 0)
		r = name_device(v, p->layer.origin, err);
	return r < 0 ? r : refuse_mounted(q, p->layer.origin, mounted, err);
}

/* Marks the copy; what is written where is settled. */
static int start(struct umbra_dm_revert *v, struct umbra_protected *p, uint32_t copy,
		 struct umbra_error *err)
{
	int r = 0;

	if (count_newer(p, copy) == 0)
		r = v->below = umbra_dm_open(p->kernel.real, O_RDWR | O_DIRECT, err);
	if (r < 0)
		return r;
	v->base.resumed = umbra_pool_reverting(p->pool) != NULL;
	r = mark(p, &v->shadow, err);
	return r < 0 ? r : umbra_fault_fail("dm.revert-marked", err);
}

static int take(struct umbra_dm_revert *v, struct umbra_revert_request *q, bool mounted,
		struct umbra_error *err)
{
	_cleanup_protected_ struct umbra_protected *p = NULL;
	uint32_t copy;
	int r = open_locked(v, &p, &copy, err);

	if (r == 0)
		r = check_area(v, p, err);
	if (r == 0)
		r = open_copy(v, p, err);
	if (r == 0 && mounted) /* or it would be unmounted in vain */
		r = check_room(q, v, &p, &copy, err);
	if (r == 0)
		r = take_origin(v, q, p->layer.origin, err);
	if (r < 0)
		return r;
	/* Not what was written until then: what there is to be reverted has to be all of it. */
	r = check_room(q, v, &p, &copy, err);
	if (r == 0)
		r = start(v, p, copy, err);
	if (r < 0 && mounted)
		umbra_wrap(err, r, "'%s' is unmounted now, and unchanged", q->shadow->path);
	return r;
}

static int begin(struct umbra_revert_request *q, struct umbra_revert **out, struct umbra_error *err)
{
	_cleanup_(umbra_cleanup_revert) struct umbra_dm_revert *v = new_revert(q);
	bool mounted;
	int r;

	if (!v)
		return umbra_oom(err);
	r = look_at(v, q, &mounted, err);
	if (r == 0)
		r = umbra_dm_open_shadow(q->state_fd, q->shadow, &v->root, err);
	if (r == 0)
		r = take(v, q, mounted, err);
	if (r == 0)
		*out = &TAKE_PTR(v)->base;
	return r;
}

/* --- writing --- */

static int tick(struct umbra_dm_revert *v, struct umbra_error *err)
{
	struct umbra_progress progress = {.bytes = v->next * v->chunk_bytes,
					  .bytes_total = v->base.bytes_total};

	return umbra_watch_tick(v->watch, &progress, err);
}

/* How many chunks the piece may write: as many as there is room for, which nobody takes while we
 * have the lock. */
static int secure_room(const struct umbra_dm_revert *v, struct umbra_protected *p, uint32_t copy,
		       size_t *chunks, struct umbra_error *err)
{
	int r;

	*chunks = PIECE_CHUNKS;
	if (v->below >= 0 && count_newer(p, copy) > 0)
		return umbra_fail(err, UMBRA_E_BUSY, EBUSY,
				  "a shadow copy of the volume was made meanwhile");
	if (v->below >= 0)
		return 0;
	r = umbra_space_grant_all(p, err);
	if (r == 0)
		r = umbra_dm_revert_fits(p, *chunks, 0, err);
	while (r == 0 && *chunks > UMBRA_DM_REVERT_RUN) {
		*chunks /= 2;
		r = umbra_dm_revert_fits(p, *chunks, 0, err);
	}
	if (r == 0)
		return umbra_fail(err, UMBRA_E_NO_SPACE, ENOSPC,
				  "the diff area has no room any more for what newer copies need: "
				  "delete older ones, or give the newer ones up with --force");
	return r < 0 ? r : 0;
}

static int target(const struct umbra_dm_revert *v)
{
	return v->below >= 0 ? v->below : v->origin;
}

static int flush(const struct umbra_dm_revert *v, struct umbra_error *err)
{
	return fdatasync(target(v)) < 0
		       ? umbra_fail_errno(err, errno, "cannot write out the volume")
		       : 0;
}

/*
 * What is neither the one nor the other cannot be mounted: its superblock goes first and comes back
 * last. Only if it was written since the copy; else it is not among what may be written here.
 */
static int hide(struct umbra_dm_revert *v, const struct umbra_area *area, struct umbra_error *err)
{
	size_t len = SUPERBLOCK_BYTES;
	int r;

	if (v->chunks.n == 0 || v->chunks.e[0].old != 0 || umbra_area_owns(area, 0, &len) ||
	    len < SUPERBLOCK_BYTES)
		return 0;
	memset(v->is, 0, len);
	memcpy(v->is, UMBRA_PROOF_REVERTING, strlen(UMBRA_PROOF_REVERTING));
	if (pwrite(target(v), v->is, len, 0) != (ssize_t)len)
		return umbra_fail_errno(err, errno, "cannot write the volume");
	v->hidden = true;
	v->next = 1;
	r = flush(v, err);
	return r < 0 ? r : umbra_fault_fail("dm.revert-hidden", err);
}

static int piece(struct umbra_dm_revert *v, struct umbra_error *err)
{
	_cleanup_protected_ struct umbra_protected *p = NULL;
	const int64_t until = umbra_now_us() + PIECE_US;
	const size_t first = v->next;
	size_t chunks = 0;
	uint32_t copy;
	int r = open_locked(v, &p, &copy, err);

	if (r == 0)
		r = secure_room(v, p, copy, &chunks, err);
	if (r == 0 && v->next == 0)
		r = hide(v, p->area, err);
	while (r == 0 && v->next < v->chunks.n && v->next - first + UMBRA_DM_REVERT_RUN <= chunks &&
	       umbra_now_us() < until) {
		r = umbra_dm_revert_run(v, p->area, err);
		if (r == 0)
			r = tick(v, err);
	}
	return r < 0 ? r : umbra_fault_fail("dm.revert-piece", err);
}

/* Everything else is durable: the superblock comes back, also for who reads through the page cache,
 * and the mark goes. */
static int show(struct umbra_dm_revert *v, struct umbra_error *err)
{
	_cleanup_protected_ struct umbra_protected *p = NULL;
	uint32_t copy;
	int r = flush(v, err);

	if (r == 0)
		r = umbra_fault_fail("dm.revert-flushed", err);
	if (r == 0)
		r = open_locked(v, &p, &copy, err);
	v->next = 0;
	if (r == 0 && v->hidden)
		r = umbra_stamp_expect(p, v->view, err);
	if (r == 0 && v->hidden)
		r = umbra_dm_revert_run(v, p->area, err);
	if (r == 0)
		r = flush(v, err);
	if (r == 0 && ioctl(v->origin, BLKFLSBUF) < 0)
		r = umbra_fail_errno(err, errno, "cannot write out the volume");
	if (r == 0)
		r = umbra_fault_fail("dm.revert-shown", err);
	return r < 0 ? r : mark(p, NULL, err);
}

static int run(struct umbra_revert *revert, struct umbra_error *err)
{
	struct umbra_dm_revert *v = (struct umbra_dm_revert *)revert;
	int r = 0;

	while (r == 0 && v->next < v->chunks.n)
		r = piece(v, err);
	if (r == 0)
		r = show(v, err);
	return r < 0 ? r : umbra_fault_fail("dm.reverted", err);
}

static void end(struct umbra_revert *revert)
{
	free_revert((struct umbra_dm_revert *)revert);
}

/* --- others --- */

static int on_device(int state_fd, const struct umbra_shadow *shadow, dev_t device,
		     struct umbra_error *err)
{
	const char *area = umbra_doc_string(shadow->data, "area");
	struct umbra_id found = {.s = ""};
	int r = umbra_protected_area_of(state_fd, device, &found, err);

	return r <= 0 ? r : area && strcmp(area, found.s) == 0;
}

static int under_way(int state_fd, const struct umbra_shadow *shadow, struct umbra_error *err)
{
	_cleanup_protected_ struct umbra_protected *p = NULL;
	const struct umbra_pool_copy *to;
	int r = umbra_dm_find(state_fd, shadow, &p, err);

	if (r < 0)
		return r;
	to = umbra_pool_reverting(p->pool);
	return to && to->state != UMBRA_POOL_LOST && strcmp(to->id.s, shadow->id.s) == 0;
}

const struct umbra_revert_ops umbra_dm_revert_ops = {
	.on_device = on_device,
	.begin = begin,
	.run = run,
	.end = end,
	.under_way = under_way,
};
