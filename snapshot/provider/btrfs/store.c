/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/provider/btrfs/store.h"

#include <fcntl.h>
#include <libmount/libmount.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"

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
	free(s->seen_at);
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
	s->seen_at = umbra_fd_path(fd);
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

/* Is something else mounted over it? (Then the path leads there.) */
static bool hidden(struct libmnt_table *tb, struct libmnt_fs *fs)
{
	_cleanup_(free_iter) struct libmnt_iter *it = mnt_new_iter(MNT_ITER_BACKWARD);
	const char *path = mnt_fs_get_target(fs);
	struct libmnt_fs *later;

	while (it && mnt_table_next_fs(tb, it, &later) == 0 && later != fs)
		if (strcmp(path, mnt_fs_get_target(later)) == 0)
			return true;
	return !it;
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
		if (!type || strcmp(type, "btrfs") != 0 || hidden(tb, fs))
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
