/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is in the stores of all mounted filesystems. */
#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "snapshot/provider/btrfs/parts.h"

/* Whose copies, and who wants to know. */
struct search {
	const char *state_dir;
	umbra_scan_fn fn;
	void *arg;
};

static int open_dir(int parent, const char *id)
{
	return openat(parent, id, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* 1: a finished copy of somebody else. */
static int judge_record(const struct search *s, const json_t *record, struct umbra_found *found,
			struct umbra_error *err)
{
	const char *id = umbra_doc_string(json_object_get(record, "shadow"), "shadow");
	_cleanup_free_ char *owner = NULL;
	int r = umbra_doc_get_path(record, "state_dir", &owner);

	if (r == -ENOMEM)
		return umbra_oom(err);
	if (r == 0 && strcmp(owner, s->state_dir) != 0)
		return 1;
	found->kind = UMBRA_FOUND_COPY;
	found->record = record;
	if (r == 0 && id && strcmp(id, found->id) == 0)
		return 0;
	found->kind = UMBRA_FOUND_STRANGE;
	umbra_fail(err, UMBRA_E_DAMAGED, EUCLEAN, "its record is that of another one");
	return 0;
}

/* What has no record, or none that can be read (r, err). 1: somebody else's. */
static int judge_dir(const struct search *s, int dir, int r, struct umbra_found *found,
		     struct umbra_error *err)
{
	enum umbra_btrfs_claim claim = umbra_btrfs_store_claim(dir, s->state_dir);

	if (claim == UMBRA_BTRFS_OTHERS)
		return 1;
	found->kind = UMBRA_FOUND_STRANGE;
	if (r != -ENOENT)
		return 0;
	if (claim == UMBRA_BTRFS_OURS)
		found->kind = UMBRA_FOUND_LEFTOVER;
	else
		umbra_fail(
			err, UMBRA_E_DAMAGED, EUCLEAN,
			"it has no record, so it is not finished, and does not say which state "
			"directory it belongs to: if an older umbra was killed here, delete it by "
			"hand, see umbra-btrfs-store(5)");
	return 0;
}

static int scan_copy(const struct search *s, int parent, const char *id, const char *device)
{
	_cleanup_close_ int dir = open_dir(parent, id);
	_cleanup_free_ char *where = NULL;
	_cleanup_json_ json_t *record = NULL;
	struct umbra_error why = {0};
	struct umbra_found found = {.id = id, .why = why.text};
	int r;

	if (dir < 0)
		return 0;
	where = umbra_asprintf("%s:/" UMBRA_BTRFS_STORE "/%s", device, id);
	if (!where)
		return -ENOMEM;
	found.where = where;
	r = umbra_record_read(dir, where, &record, &why);
	if (r == -ENOMEM)
		return r;
	r = r < 0 ? judge_dir(s, dir, r, &found, &why) : judge_record(s, record, &found, &why);
	if (r != 0)
		return r < 0 ? r : 0;
	dir = umbra_close(dir); /* with its lock */
	return s->fn(s->arg, &found);
}

static int scan_store(struct umbra_btrfs_store *store, void *arg, struct umbra_error *err)
{
	_cleanup_close_ int parent = -1;
	_cleanup_dir_ DIR *d = NULL;
	struct dirent *e;
	int r = umbra_btrfs_store_dir(store, &parent, err);

	if (r != 0)
		return r < 0 ? r : 0;
	d = fdopendir(parent);
	if (!d)
		return umbra_fail_errno(err, errno, "cannot list the copies on '%s'",
					store->device);
	parent = -1; /* d has it */
	while (r == 0 && (errno = 0, e = readdir(d)) != NULL)
		if (umbra_id_valid(e->d_name))
			r = scan_copy(arg, dirfd(d), e->d_name, store->device);
	if (r == 0 && errno != 0)
		return umbra_fail_errno(err, errno, "cannot list the copies on '%s'",
					store->device);
	return r;
}

int umbra_btrfs_scan(int state_fd, const char *state_dir, umbra_scan_fn fn, void *arg,
		     struct umbra_error *err)
{
	struct search s = {.state_dir = state_dir, .fn = fn, .arg = arg};
	struct umbra_error none = {0};

	(void)state_fd;
	if (umbra_mountfd_available("btrfs", &none) < 0)
		return 0; /* not for this process: it cannot have made any */
	return umbra_btrfs_store_each(UMBRA_MOUNTFD_READ, scan_store, &s, err);
}

/* For discard(): one leftover, wherever it is. */
struct rubbish {
	const char *state_dir;
	struct umbra_id id;
};

/* Checked under the lock: it may have been finished since it was found. */
static int discard_in(struct umbra_btrfs_store *store, void *arg, struct umbra_error *err)
{
	_cleanup_close_ int parent = -1, dir = -1;
	const struct rubbish *what = arg;
	int r = umbra_btrfs_store_dir(store, &parent, err);

	if (r != 0)
		return r < 0 ? r : 0;
	dir = open_dir(parent, what->id.s);
	if (dir < 0 && errno == ENOENT)
		return 0;
	if (dir < 0)
		return umbra_fail_errno(err, errno,
					"cannot open '" UMBRA_BTRFS_STORE "/%s' on '%s'",
					what->id.s, store->device);
	if (umbra_btrfs_store_claim(dir, what->state_dir) != UMBRA_BTRFS_OURS ||
	    faccessat(dir, UMBRA_RECORD_NAME, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return umbra_fail(err, UMBRA_E_BUSY, EBUSY,
				  "'" UMBRA_BTRFS_STORE "/%s' on '%s' is no leftover: somebody is "
				  "making it",
				  what->id.s, store->device);
	return umbra_btrfs_delete_copy(store, &what->id, NULL, err);
}

int umbra_btrfs_discard(int state_fd, const char *state_dir, const char *id,
			struct umbra_watch *watch, struct umbra_error *err)
{
	struct rubbish what = {.state_dir = state_dir};

	(void)state_fd;
	(void)watch; /* takes milliseconds: the kernel does the work later */
	if (!umbra_id_valid(id))
		return 0;
	memcpy(what.id.s, id, sizeof(what.id.s));
	return umbra_btrfs_store_each(UMBRA_MOUNTFD_WRITE, discard_in, &what, err);
}
