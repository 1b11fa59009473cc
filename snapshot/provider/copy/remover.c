/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/provider/copy/remover.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "snapshot/provider/copy/listing.h"
#include "snapshot/provider/copy/walk.h"

struct remover {
	struct umbra_walk walk; /* first */
	int fd;
	const char *store;
	struct umbra_watch *watch;
	atomic_uint_least64_t files;
};

struct rm_dir {
	struct umbra_walk_dir w; /* first */
	int fd;
	struct umbra_listing names; /* subdirectories behind the others */
};

static struct remover *remover_of(struct umbra_walk *walk)
{
	return (struct remover *)walk;
}

static struct rm_dir *dir_of(struct umbra_walk_dir *w)
{
	return (struct rm_dir *)w;
}

static int failed(const struct remover *rm, int r, const char *name, struct umbra_error *err)
{
	return umbra_fail_errno(err, r, "cannot delete '%s' from the store '%s'", name, rm->store);
}

static struct rm_dir *new_dir(const char *name)
{
	struct rm_dir *d = calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	d->fd = -1;
	d->w.name = name ? strdup(name) : NULL;
	if (name && !d->w.name) {
		free(d);
		return NULL;
	}
	return d;
}

static struct umbra_walk_dir *child(struct umbra_walk *walk, struct umbra_walk_dir *w, size_t i)
{
	const struct umbra_listing *names = &dir_of(w)->names;
	struct rm_dir *d = new_dir(names->text + names->list[w->items + i].at);

	(void)walk;
	return d ? &d->w : NULL;
}

/* A user's own bits can be in his way: a directory that was not finished, or is read-only. */
static int open_dir(int parent, const char *name)
{
	const int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
	int fd = openat(parent, name, flags);

	if (fd < 0 && errno == EACCES && fchmodat(parent, name, 0700, AT_SYMLINK_NOFOLLOW) == 0)
		fd = openat(parent, name, flags);
	return fd < 0 ? -errno : fd;
}

static int unlink_in(int fd, const char *name, int flags)
{
	int r = unlinkat(fd, name, flags);

	if (r < 0 && errno == EACCES && fchmod(fd, 0700) == 0)
		r = unlinkat(fd, name, flags);
	return r < 0 && errno != ENOENT ? -errno : 0;
}

static int reopen(struct umbra_walk *walk, struct umbra_walk_dir *w, struct umbra_error *err)
{
	struct rm_dir *d = dir_of(w);
	int fd = open_dir(dir_of(w->parent)->fd, w->name);

	if (fd < 0)
		return failed(remover_of(walk), fd, w->name, err);
	d->fd = fd;
	return 0;
}

static void shut(struct umbra_walk_dir *w)
{
	dir_of(w)->fd = umbra_close(dir_of(w)->fd);
}

static void sort_names(struct umbra_walk_dir *w, struct umbra_listing *names)
{
	struct umbra_listed *list = names->list, swap;
	size_t i, n = 0;

	for (i = 0; i < names->n; i++) {
		if (list[i].type == DT_DIR)
			continue;
		swap = list[n];
		list[n++] = list[i];
		list[i] = swap;
	}
	w->items = n;
	w->subdirs = names->n - n;
}

static int open_first(struct remover *rm, struct umbra_walk_dir *w)
{
	struct rm_dir *d = dir_of(w);
	int parent = w->parent ? dir_of(w->parent)->fd : -1;

	d->fd = w->parent ? open_dir(parent, w->name) : fcntl(rm->fd, F_DUPFD_CLOEXEC, 0);
	if (d->fd == -ENOENT)
		return UMBRA_WALK_SKIP;
	if (d->fd == -ENOTDIR || d->fd == -ELOOP)
		return unlink_in(parent, w->name, 0) < 0 ? d->fd : UMBRA_WALK_SKIP;
	return d->fd < 0 ? d->fd : 0;
}

static int enter(struct umbra_walk *walk, struct umbra_walk_dir *w, struct umbra_error *err)
{
	struct remover *rm = remover_of(walk);
	struct rm_dir *d = dir_of(w);
	int r = open_first(rm, w);

	if (r == 0) {
		r = umbra_listing_read(d->fd, &d->names);
		if (r < 0)
			shut(w);
		else
			sort_names(w, &d->names);
	}
	return r < 0 ? failed(rm, r, w->name ? w->name : ".", err) : r;
}

static int items(struct umbra_walk *walk, struct umbra_walk_dir *w, size_t from, size_t to,
		 struct umbra_error *err)
{
	struct remover *rm = remover_of(walk);
	struct rm_dir *d = dir_of(w);
	const char *name;
	int r;

	for (; from < to && !walk->stop; from++) {
		name = d->names.text + d->names.list[from].at;
		r = unlink_in(d->fd, name, 0);
		if (r < 0)
			return failed(rm, r, name, err);
		rm->files++;
	}
	return 0;
}

static int leave(struct umbra_walk *walk, struct umbra_walk_dir *w, struct umbra_error *err)
{
	int r = w->parent ? unlink_in(dir_of(w->parent)->fd, w->name, AT_REMOVEDIR) : 0;

	return r < 0 ? failed(remover_of(walk), r, w->name, err) : 0;
}

static void free_dir(struct umbra_walk_dir *w)
{
	umbra_listing_finish(&dir_of(w)->names);
	free(w);
}

static int tick(struct umbra_walk *walk, struct umbra_error *err)
{
	struct remover *rm = remover_of(walk);
	const struct umbra_progress p = {.files = rm->files};

	return umbra_watch_tick(rm->watch, &p, err);
}

static const struct umbra_walk_ops ops = {
	.fds = 1,
	.child = child,
	.enter = enter,
	.items = items,
	.leave = leave,
	.open = reopen,
	.shut = shut,
	.free = free_dir,
};

int umbra_remover_run(int fd, const char *store, struct umbra_watch *watch, struct umbra_error *err)
{
	struct remover rm = {
		.walk = {.ops = &ops, .tick = tick}, .fd = fd, .store = store, .watch = watch};
	struct rm_dir *root = new_dir(NULL);

	return root ? umbra_walk_run(&rm.walk, &root->w, err) : umbra_oom(err);
}
