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
#include <unistd.h>

#include "common/fault.h"
#include "snapshot/provider/dm/revert_parts.h"
#include "snapshot/provider/dm/volume/copies.h"
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
	r = umbra_dm_find_copy(p, &v->shadow, &copy, err);
	if (r == 0)
		r = umbra_protected_awake(p, err);
	if (r == 0)
		r = name_device(v, p->layer.origin, err);
	return r < 0 ? r : refuse_mounted(q, p->layer.origin, mounted, err);
}

/* Marks the copy; what is written where is settled. */
static int start(struct umbra_dm_revert *v, struct umbra_protected *p, uint32_t copy,
		 struct umbra_error *err)
{
	int r = 0;

	if (umbra_dm_revert_newer(p, copy) == 0)
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
	int r = umbra_dm_revert_open(v, &p, &copy, err);

	if (r == 0)
		r = umbra_dm_revert_check_area(v, p, err);
	if (r == 0)
		r = open_copy(v, p, err);
	if (r == 0 && mounted) /* or it would be unmounted in vain */
		r = umbra_dm_revert_check_room(q, v, &p, &copy, err);
	if (r == 0)
		r = take_origin(v, q, p->layer.origin, err);
	if (r < 0)
		return r;
	/* Not what was written until then: what there is to be reverted has to be all of it. */
	r = umbra_dm_revert_check_room(q, v, &p, &copy, err);
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
	if (v->below >= 0 && umbra_dm_revert_newer(p, copy) > 0)
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
	int r = umbra_dm_revert_open(v, &p, &copy, err);

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
		r = umbra_dm_revert_open(v, &p, &copy, err);
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
