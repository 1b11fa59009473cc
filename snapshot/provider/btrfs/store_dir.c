/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is done to the store on disk. */
#include "snapshot/provider/btrfs/store.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "snapshot/sys/frozen.h"

#define OWNER            "trusted.umbra.state_dir"
#define WORTH_A_SYNC_KIB 4096

/* How much the whole machine has still to write, KiB; a lot when that cannot be found out. */
static unsigned long long dirty_kib(void)
{
	unsigned long long total = 0, n;
	_cleanup_fclose_ FILE *f = fopen("/proc/meminfo", "re");
	char line[128];

	if (!f)
		return ~0ULL;
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "Dirty: %llu", &n) == 1 ||
		    sscanf(line, "Writeback: %llu", &n) == 1)
			total += n;
	return total;
}

int umbra_btrfs_store_sync(struct umbra_btrfs_store *store, const struct umbra_id *set,
			   struct umbra_error *err)
{
	/* It commits a transaction, as the snapshot will: for a little that is longer than the
	 * snapshot gets by writing it itself. */
	if (strcmp(store->synced.s, set->s) == 0 || dirty_kib() < WORTH_A_SYNC_KIB)
		return 0;
	if (syncfs(store->top_fd) < 0)
		return umbra_fail_errno(err, errno,
					"cannot write out the btrfs filesystem %s on '%s'",
					store->fs.uuid.s, store->device);
	store->synced = *set;
	return 0;
}

int umbra_btrfs_store_thawed(const struct umbra_btrfs_store *store, int limit_ms,
			     struct umbra_error *err)
{
	_cleanup_free_ char *title = NULL, *what = NULL;

	if (umbra_thawed(store->top_fd, limit_ms) == 0)
		return 0;
	title = umbra_btrfs_store_title(store->fs.uuid.s, store->fs.label, store->device);
	what = title ? umbra_asprintf("the %s", title) : NULL;
	return what ? umbra_frozen_fail(err, what, store->seen_at ? store->seen_at : "MOUNTPOINT")
		    : umbra_oom(err);
}

static int fail_store(const struct umbra_btrfs_store *s, int errnum, const char *doing,
		      struct umbra_error *err)
{
	const char *advice = "";

	if (abs(errnum) == EROFS)
		advice = "; remount it writable first";
	else if (abs(errnum) == ENOSPC)
		advice = "; delete old sets or make room";
	return umbra_fail(err, umbra_code_from_errno(errnum), errnum,
			  "cannot %s '" UMBRA_BTRFS_STORE "' in the top level of the btrfs "
			  "filesystem %s on '%s': %s%s",
			  doing, s->fs.uuid.s, s->device, strerror(abs(errnum)), advice);
}

int umbra_btrfs_store_dir(const struct umbra_btrfs_store *store, int *fd_out,
			  struct umbra_error *err)
{
	_cleanup_close_ int fd = openat(store->top_fd, UMBRA_BTRFS_STORE,
					O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (fd < 0 && errno == ENOENT)
		return 1;
	if (fd < 0 || fstat(fd, &st) < 0)
		return fail_store(store, errno, "open", err);
	/* Whoever may write there could exchange copies. */
	if (st.st_uid != 0 || (st.st_mode & 077) != 0)
		return umbra_fail(
			err, UMBRA_E_PERMISSION, EACCES,
			"'" UMBRA_BTRFS_STORE "' in the top level of the btrfs "
			"filesystem %s on '%s' is not root's alone (owner %u, mode %04o): "
			"if umbra made it, give it back with chown root and chmod 0700, "
			"else move it away",
			store->fs.uuid.s, store->device, (unsigned int)st.st_uid,
			(unsigned int)st.st_mode & 07777);
	*fd_out = TAKE_FD(fd);
	return 0;
}

/*
 * Our directory comes and goes in a directory that is the user's where the top level itself is
 * mounted: its modification time tells about their files, so it is put back. Not where somebody
 * else is at work there too (recently changed, or more entries changed than ours; a btrfs
 * directory's size counts every name twice).
 */
static int in_top(int top_fd, int (*change)(int top_fd), int sign)
{
	const off_t ours = sign * 2 * (off_t)strlen(UMBRA_BTRFS_STORE);
	struct stat before, after;
	struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}};
	bool known = fstat(top_fd, &before) == 0;
	int r = change(top_fd) < 0 ? -errno : 0;

	if (r == 0 && known && fstat(top_fd, &after) == 0 &&
	    after.st_size == before.st_size + ours &&
	    after.st_mtim.tv_sec - before.st_mtim.tv_sec >= 2) {
		times[1] = before.st_mtim;
		futimens(top_fd, times);
	}
	return r;
}

static int make(int top_fd)
{
	return mkdirat(top_fd, UMBRA_BTRFS_STORE, 0700);
}

static int take_away(int top_fd)
{
	return unlinkat(top_fd, UMBRA_BTRFS_STORE, AT_REMOVEDIR);
}

/*
 * No file says whose it is, as that would have to be written out by itself: an attribute is
 * committed with the snapshot. -ENOENT: somebody took the empty directory away before it was
 * locked.
 */
static int mark(int dir, const char *owner)
{
	struct stat st;

	if (flock(dir, LOCK_SH) < 0 || fsetxattr(dir, OWNER, owner, strlen(owner), 0) < 0 ||
	    fstat(dir, &st) < 0)
		return -errno;
	return st.st_nlink == 0 ? -ENOENT : 0;
}

static int make_marked(int store, const struct umbra_id *shadow, const char *owner)
{
	_cleanup_close_ int dir = umbra_open_dir_make(store, shadow->s, 0700);
	int r = dir < 0 ? dir : mark(dir, owner);

	return r < 0 ? r : TAKE_FD(dir);
}

enum umbra_btrfs_claim umbra_btrfs_store_claim(int dir, const char *owner)
{
	char there[PATH_MAX];
	ssize_t n;

	if (flock(dir, LOCK_EX | LOCK_NB) < 0)
		return UMBRA_BTRFS_OTHERS;
	n = fgetxattr(dir, OWNER, there, sizeof(there));
	if (n >= 0)
		return (size_t)n == strlen(owner) && memcmp(there, owner, (size_t)n) == 0
			       ? UMBRA_BTRFS_OURS
			       : UMBRA_BTRFS_OTHERS;
	/* Killed before it was marked: there is nothing in it that could be anybody's. */
	return umbra_dir_is_empty(dir, ".") == 1 ? UMBRA_BTRFS_OURS : UMBRA_BTRFS_UNKNOWN;
}

int umbra_btrfs_store_make(const struct umbra_btrfs_store *store, const struct umbra_id *shadow,
			   const char *owner, struct umbra_error *err)
{
	int r, tries;

	for (tries = 0; tries < 10; tries++) {
		_cleanup_close_ int dir = -1;

		r = umbra_btrfs_store_dir(store, &dir, err);
		if (r < 0)
			return r;
		if (r > 0) {
			r = in_top(store->top_fd, make, 1);
			if (r < 0 && r != -EEXIST)
				return fail_store(store, r, "make", err);
			continue;
		}
		r = make_marked(dir, shadow, owner);
		if (r >= 0)
			return r;
		if (r != -ENOENT) /* else somebody tidied it away in between */
			return fail_store(store, r, "make a directory in", err);
	}
	return fail_store(store, EBUSY, "make a directory in", err);
}

void umbra_btrfs_store_tidy(const struct umbra_btrfs_store *store)
{
	in_top(store->top_fd, take_away, -1);
}
