/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/provider/btrfs/store.h"

#include <fcntl.h>
#include <libmount/libmount.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log.h"

#define WORTH_A_SYNC_KIB 4096

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct umbra_btrfs_store *stores; /* under lock */

char *umbra_btrfs_store_title(const char *uuid, const char *label, const char *device)
{
	bool named = label && *label, placed = device && *device;

	return umbra_asprintf("btrfs filesystem %s%s%s%s%s%s%s", uuid, named || placed ? " (" : "",
			      named ? label : "", named && placed ? ", " : "", placed ? "on " : "",
			      placed ? device : "", named || placed ? ")" : "");
}

static void close_store(struct umbra_btrfs_store *s)
{
	umbra_close(s->top_fd);
	umbra_close(s->mount_fd);
	free(s);
}

struct umbra_btrfs_store *umbra_btrfs_store_unref(struct umbra_btrfs_store *store)
{
	struct umbra_btrfs_store **p;
	bool last;

	if (!store)
		return NULL;
	pthread_mutex_lock(&lock);
	last = --store->users == 0;
	if (last) {
		for (p = &stores; *p != store; p = &(*p)->next)
			;
		*p = store->next;
	}
	pthread_mutex_unlock(&lock);
	if (last)
		close_store(store);
	return NULL;
}

static struct umbra_btrfs_store *shared(const char *uuid, enum umbra_mountfd_mode mode)
{
	struct umbra_btrfs_store *s;

	for (s = stores; s; s = s->next)
		if (s->mode == mode && strcmp(s->fs.uuid.s, uuid) == 0) {
			s->users++;
			return s;
		}
	return NULL;
}

/* A device's name can have gone to another filesystem since the kernel recorded it. */
static bool is_filesystem(int fd, const struct umbra_id *uuid)
{
	struct umbra_btrfs_filesystem fs;

	return umbra_btrfs_filesystem(fd, &fs) == 0 && strcmp(fs.uuid.s, uuid->s) == 0;
}

static int mount_device(struct umbra_btrfs_store *s, struct umbra_error *err)
{
	static const struct umbra_mount_option top[] = {{"subvolid", "5"}, {NULL, NULL}};
	_cleanup_close_ int mount = -1, root = -1;
	int r = umbra_mountfd_open("btrfs", s->device, top, s->mode, &mount, &root, err);

	if (r < 0)
		return r;
	if (!is_filesystem(root, &s->fs.uuid))
		return umbra_fail(err, UMBRA_E_NOT_FOUND, ENODEV,
				  "'%s' is not a device of the btrfs filesystem %s any more",
				  s->device, s->fs.uuid.s);
	s->mount_fd = TAKE_FD(mount);
	s->top_fd = TAKE_FD(root);
	return 0;
}

/* Any device of the filesystem will do; some may have no node here. */
static int mount_top(struct umbra_btrfs_store *s, int fd, struct umbra_error *err)
{
	uint64_t id;
	int r = -ENODEV;

	umbra_fail(err, UMBRA_E_NOT_FOUND, ENODEV,
		   "the btrfs filesystem %s has no device with a path", s->fs.uuid.s);
	for (id = 1; umbra_btrfs_device(fd, &s->fs, &id, s->device) == 0; id++) {
		r = mount_device(s, err);
		if (r == 0 || r == -EPERM)
			break;
	}
	return r;
}

/* fd keeps the filesystem mounted meanwhile: mounting its top level never mounts it anew. */
static int new_store(int fd, const struct umbra_btrfs_filesystem *fs, enum umbra_mountfd_mode mode,
		     struct umbra_btrfs_store **out, struct umbra_error *err)
{
	struct umbra_btrfs_store *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return umbra_oom(err);
	s->fs = *fs;
	s->mode = mode;
	s->users = 1;
	s->mount_fd = s->top_fd = -1;
	r = mount_top(s, fd, err);
	if (r < 0) {
		close_store(s);
		return umbra_wrap(err, r, "reaching the top level of btrfs filesystem %s",
				  fs->uuid.s);
	}
	s->next = stores;
	stores = s;
	*out = s;
	return 0;
}

int umbra_btrfs_store_at(int fd, enum umbra_mountfd_mode mode, struct umbra_btrfs_store **out,
			 struct umbra_error *err)
{
	struct umbra_btrfs_filesystem fs;
	struct umbra_btrfs_store *s;
	int r = umbra_btrfs_filesystem(fd, &fs);

	if (r < 0)
		return umbra_fail_errno(err, r, "cannot identify a btrfs filesystem");
	pthread_mutex_lock(&lock);
	s = shared(fs.uuid.s, mode);
	if (!s)
		r = new_store(fd, &fs, mode, &s, err);
	pthread_mutex_unlock(&lock);
	if (r == 0)
		*out = s;
	return r;
}

static void unref_table(struct libmnt_table **tb)
{
	mnt_unref_table(*tb);
}

static void free_iter(struct libmnt_iter **it)
{
	mnt_free_iter(*it);
}

/* Calls fn with a descriptor on every btrfs mount that can be opened; as store_each(). Only btrfs
 * is touched: a dead network filesystem must not hang us. */
static int each_mount(int (*fn)(int fd, void *arg, struct umbra_error *err), void *arg,
		      struct umbra_error *err)
{
	_cleanup_(unref_table) struct libmnt_table *tb = mnt_new_table();
	_cleanup_(free_iter) struct libmnt_iter *it = mnt_new_iter(MNT_ITER_FORWARD);
	struct libmnt_fs *fs;
	const char *type;
	int r = 0;

	if (!tb || !it)
		return umbra_oom(err);
	if (mnt_table_parse_file(tb, "/proc/self/mountinfo") != 0)
		return umbra_fail(err, UMBRA_E_INTERNAL, EIO,
				  "cannot read /proc/self/mountinfo: is /proc mounted?");
	while (r == 0 && mnt_table_next_fs(tb, it, &fs) == 0) {
		_cleanup_close_ int fd = -1;

		type = mnt_fs_get_fstype(fs);
		if (!type || strcmp(type, "btrfs") != 0)
			continue;
		fd = open(mnt_fs_get_target(fs), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
		if (fd >= 0 && umbra_btrfs_is(fd)) /* else another mount covers it */
			r = fn(fd, arg, err);
	}
	return r;
}

struct wanted {
	const char *uuid;
	enum umbra_mountfd_mode mode;
	struct umbra_btrfs_store *found;
};

static int match(int fd, void *arg, struct umbra_error *err)
{
	struct wanted *w = arg;
	struct umbra_btrfs_filesystem fs;
	int r;

	if (umbra_btrfs_filesystem(fd, &fs) < 0 || strcmp(fs.uuid.s, w->uuid) != 0)
		return 0;
	r = umbra_btrfs_store_at(fd, w->mode, &w->found, err);
	return r < 0 ? r : 1;
}

int umbra_btrfs_store_find(const char *uuid, const char *label, const char *device,
			   enum umbra_mountfd_mode mode, struct umbra_btrfs_store **out,
			   struct umbra_error *err)
{
	struct wanted w = {.uuid = uuid, .mode = mode};
	_cleanup_free_ char *title = NULL;
	int r;

	pthread_mutex_lock(&lock);
	w.found = shared(uuid, mode);
	pthread_mutex_unlock(&lock);
	if (!w.found) {
		r = each_mount(match, &w, err);
		if (r < 0)
			return r;
	}
	if (w.found) {
		*out = w.found;
		return 0;
	}
	title = umbra_btrfs_store_title(uuid, label, device);
	return umbra_fail(err, UMBRA_E_NOT_FOUND, ENODEV,
			  "the %s is not mounted: mount it (any subvolume of it, anywhere), then "
			  "try again",
			  title ? title : uuid);
}

struct visit {
	enum umbra_mountfd_mode mode;
	int (*fn)(struct umbra_btrfs_store *store, void *arg, struct umbra_error *err);
	void *arg;
	struct umbra_btrfs_store **seen; /* referenced */
	size_t n;
};

static int visit_mount(int fd, void *arg, struct umbra_error *err)
{
	struct umbra_btrfs_store *s, **more;
	struct umbra_error why = {0};
	struct visit *v = arg;
	size_t i;
	int r = umbra_btrfs_store_at(fd, v->mode, &s, &why);

	if (r < 0) {
		umbra_log_warning("%s; it is left out", why.text);
		return 0;
	}
	/* While a store is referenced the same filesystem gives the same store. */
	for (i = 0; i < v->n; i++)
		if (v->seen[i] == s) {
			umbra_btrfs_store_unref(s);
			return 0;
		}
	more = reallocarray(v->seen, v->n + 1, sizeof(*more));
	if (!more) {
		umbra_btrfs_store_unref(s);
		return umbra_oom(err);
	}
	v->seen = more;
	v->seen[v->n++] = s;
	return v->fn(s, v->arg, err);
}

int umbra_btrfs_store_each(enum umbra_mountfd_mode mode,
			   int (*fn)(struct umbra_btrfs_store *store, void *arg,
				     struct umbra_error *err),
			   void *arg, struct umbra_error *err)
{
	struct visit v = {.mode = mode, .fn = fn, .arg = arg};
	int r = each_mount(visit_mount, &v, err);

	while (v.n > 0)
		umbra_btrfs_store_unref(v.seen[--v.n]);
	free(v.seen);
	return r;
}

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

int umbra_btrfs_store_make(const struct umbra_btrfs_store *store, const struct umbra_id *shadow,
			   struct umbra_error *err)
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
		r = umbra_open_dir_make(dir, shadow->s, 0700);
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
