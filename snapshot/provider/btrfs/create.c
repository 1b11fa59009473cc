/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The snapshot ioctl commits a transaction. So nothing before it needs to be made durable by
 * itself, and after it only the record does.
 */
#include "snapshot/provider/btrfs/parts.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "snapshot/sys/frozen.h"

/* m->priv from prepare() to finish() or abort(). */
struct work {
	struct umbra_btrfs_store *store;
	int source; /* the subvolume's root */
	int dir;    /* where the copy goes */
};

static struct work *free_work(struct work *w)
{
	if (w) {
		umbra_close(w->dir);
		umbra_close(w->source);
		umbra_btrfs_store_unref(w->store);
		free(w);
	}
	return NULL;
}
UMBRA_DEFINE_CLEANUP(struct work *, work, free_work)

static int open_source(const struct umbra_member *m, struct umbra_btrfs_subvolume *origin,
		       struct umbra_error *err)
{
	_cleanup_close_ int fd = umbra_member_open_origin(m, err);
	const char *path = m->volume->path;
	int r;

	if (fd < 0)
		return fd;
	if (!umbra_btrfs_is_subvolume(fd))
		return umbra_fail(err, UMBRA_E_NOT_FOUND, ENOENT,
				  "'%s' is not a btrfs subvolume any more", path);
	r = umbra_btrfs_subvolume(fd, origin);
	if (r < 0)
		return umbra_fail_errno(err, r, "cannot identify subvolume '%s'", path);
	return TAKE_FD(fd);
}

int umbra_btrfs_prepare(struct umbra_member *m, struct umbra_error *err)
{
	_cleanup_(umbra_cleanup_work) struct work *w = calloc(1, sizeof(*w));
	struct umbra_btrfs_subvolume origin;
	int r;

	if (!w)
		return umbra_oom(err);
	w->dir = -1;
	w->source = open_source(m, &origin, err);
	if (w->source < 0)
		return w->source;
	r = umbra_btrfs_store_at(w->source, UMBRA_MOUNTFD_WRITE, &w->store, err);
	if (r == 0)
		r = umbra_btrfs_record_origin(m->shadow, w->store, &origin, err);
	if (r == 0) /* before the directories, which would make it commit a transaction */
		r = umbra_btrfs_store_sync(w->store, &m->set->id, err);
	if (r == 0)
		r = umbra_btrfs_store_thawed(w->store, UMBRA_THAW_WAIT_MS, err);
	if (r < 0)
		return r;
	w->dir = umbra_btrfs_store_make(w->store, &m->shadow->id, m->state_dir, err);
	if (w->dir < 0)
		return w->dir;
	m->priv = TAKE_PTR(w);
	return 0;
}

int umbra_btrfs_commit_member(struct umbra_member *m, struct umbra_error *err)
{
	const struct work *w = m->priv;
	int r = umbra_btrfs_snapshot(w->source, w->dir, UMBRA_BTRFS_ROOT);

	return r < 0 ? umbra_fail_errno(err, r, "cannot take a snapshot of subvolume '%s'",
					m->volume->path)
		     : 0;
}

int umbra_btrfs_finish(struct umbra_member *m, struct umbra_error *err)
{
	struct work *w = m->priv;
	struct umbra_btrfs_subvolume snapshot;
	_cleanup_close_ int root = -1;
	int r;

	root = openat(w->dir, UMBRA_BTRFS_ROOT, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	r = root < 0 ? -errno : umbra_btrfs_subvolume(root, &snapshot);
	if (r < 0)
		return umbra_fail_errno(err, r, "cannot look at the new snapshot of '%s'",
					m->volume->path);
	r = umbra_btrfs_record_snapshot(m->shadow, &snapshot, err);
	if (r == 0)
		r = umbra_btrfs_note_uncovered(m, w->source, snapshot.born, err);
	if (r == 0)
		r = umbra_member_record(m, w->dir, err);
	if (r == 0)
		m->priv = free_work(w);
	return r;
}

int umbra_btrfs_abort(struct umbra_member *m, struct umbra_error *err)
{
	_cleanup_(umbra_cleanup_work) struct work *w = m->priv;

	m->priv = NULL;
	if (!w)
		return umbra_btrfs_delete_leftover(m->shadow, err);
	w->dir = umbra_close(w->dir);
	return umbra_btrfs_delete_copy(w->store, &m->shadow->id, NULL, err);
}
