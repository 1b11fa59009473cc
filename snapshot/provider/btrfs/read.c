/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/provider/btrfs/parts.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static void close_root(struct umbra_root *root)
{
	umbra_close(root->fd);
	umbra_btrfs_store_unref(root->data);
	free(root);
}

static int new_root(struct umbra_btrfs_store **store, int *fd, uint64_t origin_id,
		    struct umbra_root **out, struct umbra_error *err)
{
	struct umbra_root *root = calloc(1, sizeof(*root));

	if (!root)
		return umbra_oom(err);
	root->close = close_root;
	root->data = TAKE_PTR(*store);
	root->fd = TAKE_FD(*fd);
	root->mount_fd = ((struct umbra_btrfs_store *)root->data)->top_fd;
	root->handles = umbra_root_probe_handles(root->fd, root->mount_fd);
	root->hidden = origin_id == UMBRA_BTRFS_TOP_ID ? UMBRA_BTRFS_STORE : NULL;
	*out = root;
	return 0;
}

static int gone(const struct umbra_shadow *shadow, const struct umbra_btrfs_store *store,
		struct umbra_error *err)
{
	return umbra_fail(err, UMBRA_E_NOT_FOUND, ENOENT,
			  "shadow copy '%s' of '%s' is not on the btrfs filesystem %s any more: "
			  "somebody deleted its snapshot; 'umbra delete' forgets it",
			  shadow->id.s, shadow->path, store->fs.uuid.s);
}

/* A descriptor of the snapshot. */
static int open_snapshot(const struct umbra_btrfs_store *store, const struct umbra_shadow *shadow,
			 struct umbra_error *err)
{
	_cleanup_close_ int parent = -1, dir = -1, fd = -1;
	int r = umbra_btrfs_store_dir(store, &parent, err);

	if (r < 0)
		return r;
	if (r > 0)
		return gone(shadow, store, err);
	dir = openat(parent, shadow->id.s, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir >= 0)
		fd = openat(dir, UMBRA_BTRFS_ROOT, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd >= 0)
		return TAKE_FD(fd);
	if (errno == ENOENT)
		return gone(shadow, store, err);
	return umbra_fail_errno(err, errno, "cannot open shadow copy '%s' of '%s' on '%s'",
				shadow->id.s, shadow->path, store->device);
}

static int verify(int fd, const struct umbra_shadow *shadow, const char *uuid,
		  struct umbra_error *err)
{
	struct umbra_btrfs_subvolume there;
	int r = umbra_btrfs_subvolume(fd, &there);

	if (r < 0)
		return umbra_fail_errno(err, r, "cannot identify shadow copy '%s' of '%s'",
					shadow->id.s, shadow->path);
	if (!umbra_btrfs_is_subvolume(fd) || !uuid || strcmp(there.uuid.s, uuid) != 0)
		return umbra_fail(err, UMBRA_E_DAMAGED, EUCLEAN,
				  "what lies at the place of shadow copy '%s' of '%s' is not the "
				  "snapshot that umbra made: it is not shown",
				  shadow->id.s, shadow->path);
	if (!there.read_only)
		return umbra_fail(err, UMBRA_E_DAMAGED, EUCLEAN,
				  "somebody made shadow copy '%s' of '%s' writable: it may have "
				  "been changed and is not shown any more; 'umbra delete' removes "
				  "it",
				  shadow->id.s, shadow->path);
	return 0;
}

int umbra_btrfs_open(int state_fd, const struct umbra_shadow *shadow, struct umbra_root **out,
		     struct umbra_error *err)
{
	_cleanup_btrfs_store_ struct umbra_btrfs_store *store = NULL;
	_cleanup_btrfs_record_ struct umbra_btrfs_record rec = {0};
	_cleanup_close_ int fd = -1;
	int r = umbra_btrfs_record_get(shadow, &rec, err);

	(void)state_fd;
	if (r > 0)
		return umbra_fail(err, UMBRA_E_DAMAGED, EUCLEAN,
				  "the record of shadow copy '%s' of '%s' does not say on which "
				  "filesystem it is",
				  shadow->id.s, shadow->path);
	if (r == 0)
		r = umbra_btrfs_store_find(rec.filesystem, rec.label, rec.device,
					   UMBRA_MOUNTFD_READ, &store, err);
	if (r < 0)
		return r;
	fd = open_snapshot(store, shadow, err);
	if (fd < 0)
		return fd;
	r = verify(fd, shadow, rec.snapshot, err);
	return r < 0 ? r : new_root(&store, &fd, rec.origin_id, out, err);
}
