/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/provider/btrfs/parts.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "snapshot/sys/frozen.h"

#define LOOK_MS 200 /* when nothing depends on it */

/* Where people find the copy when they mount the top level. */
#define WHERE        "'" UMBRA_BTRFS_STORE "/%s' in the top level of the btrfs filesystem %s"
#define WHERE_ARGS() c->shadow->s, c->store->fs.uuid.s

/* One copy that is being deleted. */
struct copy {
	const struct umbra_btrfs_store *store;
	const struct umbra_id *shadow;
	int parent, dir;
};

static int fail(const struct copy *c, int errnum, const char *what, struct umbra_error *err)
{
	return umbra_fail(err, umbra_code_from_errno(errnum), errnum,
			  "cannot delete %s of shadow copy " WHERE " on '%s': %s%s", what,
			  WHERE_ARGS(), c->store->device, strerror(abs(errnum)),
			  abs(errnum) == EROFS ? "; remount it writable first" : "");
}

/* 0: it may be deleted; 1: there is none. */
static int check_snapshot(const struct copy *c, const char *uuid, struct umbra_error *err)
{
	_cleanup_btrfs_nested_ struct umbra_btrfs_nested_list nested = {0};
	struct umbra_btrfs_subvolume there;
	_cleanup_close_ int fd =
		openat(c->dir, UMBRA_BTRFS_ROOT, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int r;

	if (fd < 0 && errno == ENOENT)
		return 1;
	if (fd < 0)
		return fail(c, errno, "the snapshot", err);
	r = umbra_btrfs_subvolume(fd, &there);
	if (r < 0)
		return fail(c, r, "the snapshot", err);
	if (!umbra_btrfs_is_subvolume(fd) || (uuid && strcmp(there.uuid.s, uuid) != 0))
		return umbra_fail(err, UMBRA_E_DAMAGED, EUCLEAN,
				  "'" UMBRA_BTRFS_ROOT "' of shadow copy " WHERE
				  " is not the snapshot that umbra made: move it away, then try "
				  "again",
				  WHERE_ARGS());
	r = umbra_btrfs_nested(fd, &nested);
	if (r < 0)
		return fail(c, r, "the snapshot", err);
	if (nested.n > 0)
		return umbra_fail(err, UMBRA_E_EXISTS, ENOTEMPTY,
				  "in the snapshot of shadow copy " WHERE " lies a subvolume '%s' "
				  "that umbra did not make: move it away or delete it with 'btrfs "
				  "subvolume delete', then try again",
				  WHERE_ARGS(), nested.v[0].path);
	return 0;
}

static int unlink_all(const struct copy *c, struct umbra_error *err)
{
	static const char *const names[] = {UMBRA_RECORD_NAME, "." UMBRA_RECORD_NAME ".tmp"};
	size_t i;

	for (i = 0; i < UMBRA_ARRAY_SIZE(names); i++)
		if (unlinkat(c->dir, names[i], 0) < 0 && errno != ENOENT)
			return fail(c, errno, "the record", err);
	return 0;
}

/*
 * Without a record it is no finished copy any more. btrfs keeps the order of what is done to
 * directories, so that no power cut leaves a record without its snapshot.
 */
static int delete_parts(const struct copy *c, const char *uuid, struct umbra_error *err)
{
	int r, found = check_snapshot(c, uuid, err);

	if (found < 0)
		return found;
	r = unlink_all(c, err);
	if (r < 0)
		return r;
	if (found == 0) {
		r = umbra_btrfs_delete(c->dir, UMBRA_BTRFS_ROOT);
		if (r < 0)
			return fail(c, r, "the snapshot", err);
	}
	if (unlinkat(c->parent, c->shadow->s, AT_REMOVEDIR) < 0 && errno != ENOENT)
		return fail(c, errno, "the directory", err);
	return 0;
}

/* 1: there was nothing. */
static int delete_in(const struct umbra_btrfs_store *store, int parent,
		     const struct umbra_id *shadow, const char *uuid, struct umbra_error *err)
{
	_cleanup_close_ int dir =
		openat(parent, shadow->s, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct copy c = {.store = store, .shadow = shadow, .parent = parent, .dir = dir};

	if (dir < 0 && errno == ENOENT)
		return 1;
	return dir < 0 ? fail(&c, errno, "the directory", err) : delete_parts(&c, uuid, err);
}

int umbra_btrfs_delete_copy(const struct umbra_btrfs_store *store, const struct umbra_id *shadow,
			    const char *uuid, struct umbra_error *err)
{
	_cleanup_close_ int parent = -1;
	int found, r = umbra_btrfs_store_dir(store, &parent, err);
	bool there;

	if (r != 0)
		return r < 0 ? r : 0;
	there = faccessat(parent, shadow->s, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
	r = umbra_btrfs_store_thawed(store, there ? UMBRA_THAW_WAIT_MS : LOOK_MS,
				     there ? err : NULL);
	if (r < 0) /* who freezes a filesystem makes all durable that was done before */
		return there ? r : 0;
	found = delete_in(store, parent, shadow, uuid, err);
	if (found < 0)
		return found;
	umbra_btrfs_store_tidy(store);
	/* Also when it was gone: whoever was killed here may not have come to this. */
	r = umbra_btrfs_commit(store->top_fd);
	if (r == -EROFS && found > 0)
		return 0;
	if (r < 0)
		return umbra_fail_errno(err, r, "deleting shadow copy '%s' on '%s' for good",
					shadow->s, store->device);
	return 0;
}

static int delete_recorded(const struct umbra_shadow *shadow, const struct umbra_btrfs_record *rec,
			   struct umbra_error *err)
{
	_cleanup_btrfs_store_ struct umbra_btrfs_store *store = NULL;
	int r = umbra_btrfs_store_find(rec->filesystem, rec->label, rec->device,
				       UMBRA_MOUNTFD_WRITE, &store, err);

	return r < 0 ? r : umbra_btrfs_delete_copy(store, &shadow->id, rec->snapshot, err);
}

int umbra_btrfs_remove(int state_fd, const struct umbra_shadow *shadow, struct umbra_watch *watch,
		       struct umbra_error *err)
{
	_cleanup_btrfs_record_ struct umbra_btrfs_record rec = {0};
	int r = umbra_btrfs_record_get(shadow, &rec, err);

	(void)state_fd;
	(void)watch; /* takes milliseconds: the kernel does the work later */
	if (r > 0)
		return umbra_fail(err, UMBRA_E_DAMAGED, EUCLEAN,
				  "the record of shadow copy '%s' of '%s' does not say on which "
				  "filesystem it is: 'umbra check --rebuild' reads it anew",
				  shadow->id.s, shadow->path);
	return r < 0 ? r : delete_recorded(shadow, &rec, err);
}

static int delete_there(struct umbra_btrfs_store *store, void *arg, struct umbra_error *err)
{
	return umbra_btrfs_delete_copy(store, arg, NULL, err);
}

int umbra_btrfs_delete_leftover(const struct umbra_shadow *shadow, struct umbra_error *err)
{
	_cleanup_btrfs_record_ struct umbra_btrfs_record rec = {0};
	struct umbra_id id = shadow->id;
	int r = umbra_btrfs_record_get(shadow, &rec, err);

	if (r > 0) /* killed before anybody wrote down where: look everywhere */
		return umbra_btrfs_store_each(UMBRA_MOUNTFD_WRITE, delete_there, &id, err);
	return r < 0 ? r : delete_recorded(shadow, &rec, err);
}
