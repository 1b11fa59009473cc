/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/provider/copy/copier.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "snapshot/provider/copy/listing.h"
#include "snapshot/provider/copy/store.h"

static struct copy_dir *dir_of(struct umbra_walk_dir *w)
{
	return (struct copy_dir *)w;
}

/* --- what is in it --- */

static int by_name(const void *a, const void *b, void *names)
{
	const struct entry *x = a, *y = b;
	const char *base = names;

	return strcmp(base + x->rec.name, base + y->rec.name);
}

static int by_inode(const void *a, const void *b, void *entries)
{
	const struct entry *base = entries;
	const uint64_t x = base[*(const uint32_t *)a].listed_ino,
		       y = base[*(const uint32_t *)b].listed_ino;

	return x < y ? -1 : x > y;
}

/* A directory that is changed while it is read may give a name twice. */
static size_t drop_twins(struct entry *entries, size_t n, const char *names)
{
	size_t i, kept = 0;

	for (i = 0; i < n; i++)
		if (i == 0 ||
		    strcmp(names + entries[kept - 1].rec.name, names + entries[i].rec.name) != 0)
			entries[kept++] = entries[i];
	return kept;
}

/* Both are sorted by name. */
static void match(struct copy_dir *d)
{
	const struct umbra_inventory_block *b = &d->before;
	size_t i;
	uint32_t j = 0;
	int order;

	for (i = 0; i < d->n && j < b->n; i++) {
		order = -1;
		while (j < b->n && (order = strcmp(umbra_inventory_name(b, &b->records[j]),
						   entry_name(d, &d->entries[i]))) < 0)
			j++;
		if (order == 0)
			d->entries[i].before = &b->records[j];
	}
}

/* Subdirectories are walked, everything else is worked on in the order of inodes, which is the
 * order on the disk. */
static int split(struct copy_dir *d)
{
	size_t items = 0, subdirs = 0, i;

	d->order = calloc(d->n + 1, sizeof(*d->order));
	d->subdirs = calloc(d->n + 1, sizeof(*d->subdirs));
	if (!d->order || !d->subdirs)
		return -ENOMEM;
	for (i = 0; i < d->n; i++) {
		if (d->entries[i].type == DT_DIR)
			d->subdirs[subdirs++] = (uint32_t)i;
		else
			d->order[items++] = (uint32_t)i;
	}
	qsort_r(d->order, items, sizeof(*d->order), by_inode, d->entries);
	d->w.items = items;
	d->w.subdirs = subdirs;
	return 0;
}

static int take_names(struct copy_dir *d, struct umbra_listing *names)
{
	size_t i;

	d->entries = calloc(names->n + 1, sizeof(*d->entries));
	if (!d->entries)
		return -ENOMEM;
	for (i = 0; i < names->n; i++) {
		d->entries[i].listed_ino = names->list[i].ino;
		d->entries[i].type = names->list[i].type;
		d->entries[i].rec.name = names->list[i].at;
		d->entries[i].rec.name_len = names->list[i].len;
	}
	d->names = TAKE_PTR(names->text);
	d->names_len = names->text_len;
	qsort_r(d->entries, names->n, sizeof(*d->entries), by_name, d->names);
	d->n = drop_twins(d->entries, names->n, d->names);
	return 0;
}

static int prepare_entries(struct copier *c, struct copy_dir *d, struct umbra_listing *names)
{
	int r = take_names(d, names);

	if (r < 0)
		return r;
	if (c->inventory && d->has_prev &&
	    umbra_inventory_read(c->inventory, d->prev_number, &d->before) == 0)
		match(d);
	return split(d);
}

static void note_unlisted(struct copier *c, const struct copy_dir *d, int r)
{
	char text[128];

	snprintf(text, sizeof(text), "cannot list it: %s", strerror(-r));
	umbra_copier_note(c, d, NULL, UMBRA_NOTE_UNREADABLE, text);
}

static int read_directory(struct copier *c, struct copy_dir *d, struct umbra_error *err)
{
	_cleanup_(umbra_listing_finish) struct umbra_listing names;
	int r = umbra_listing_read(d->src, &names);

	if (r == -EOVERFLOW)
		return umbra_fail(err, UMBRA_E_UNSUPPORTED, EOVERFLOW,
				  "a directory of '%s' has too many names", c->place->origin_path);
	if (r == -ENOMEM)
		return umbra_oom(err);
	if (r < 0 && r != -ENOENT) /* what was listed before is copied */
		note_unlisted(c, d, r);
	return prepare_entries(c, d, &names) < 0 ? umbra_oom(err) : 0;
}

/* --- descriptors --- */

static int open_store(int parent, const char *name)
{
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

static int open_prev(int parent, const char *name)
{
	if (parent < 0)
		return -1;
	return openat(parent, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

static void shut(struct umbra_walk_dir *w)
{
	struct copy_dir *d = dir_of(w);

	d->src = umbra_close(d->src);
	d->dst = umbra_close(d->dst);
	d->prev = umbra_close(d->prev);
}

/* The origin's directory may have been moved away or replaced meanwhile; then only the copy's
 * is opened. */
static int reopen(struct umbra_walk *walk, struct umbra_walk_dir *w, struct umbra_error *err)
{
	struct copy_dir *d = dir_of(w), *parent = dir_of(w->parent);
	struct copier *c = copier_of(walk);
	struct stat st;

	d->dst = open_store(parent->dst, w->name);
	if (d->dst < 0) {
		int r = d->dst;

		d->dst = -1;
		return umbra_fail_errno(err, r, "cannot open '%s' again in the store '%s'", w->name,
					c->place->store_path);
	}
	d->src = parent->src < 0 ? -1 : umbra_clone_open(parent->src, w->name, O_DIRECTORY);
	if (d->src < 0)
		d->src = -1;
	else if (fstat(d->src, &st) < 0 || st.st_ino != d->seen.st.st_ino || st.st_dev != d->dev)
		d->src = umbra_close(d->src);
	d->prev = d->has_prev ? open_prev(parent->prev, w->name) : -1;
	return 0;
}

/* --- a directory's life --- */

static struct copy_dir *new_dir(const char *name)
{
	struct copy_dir *d = calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	d->src = d->dst = d->prev = -1;
	if (name) {
		d->w.name = strdup(name);
		if (!d->w.name) {
			free(d);
			return NULL;
		}
	}
	return d;
}

static struct umbra_walk_dir *child(struct umbra_walk *walk, struct umbra_walk_dir *w, size_t i)
{
	struct copy_dir *parent = dir_of(w), *d;
	struct entry *e = &parent->entries[parent->subdirs[i]];

	(void)walk;
	d = new_dir(entry_name(parent, e));
	if (!d)
		return NULL;
	d->at = parent->subdirs[i];
	if (e->before && e->before->dir != UMBRA_INVENTORY_NONE) {
		d->has_prev = true;
		d->prev_number = e->before->dir;
	}
	return &d->w;
}

struct umbra_walk_dir *umbra_copier_root(struct copier *c)
{
	struct copy_dir *d = new_dir(NULL);

	if (d && c->inventory)
		d->has_prev = true;
	return d ? &d->w : NULL;
}

/* A directory that is shown, but empty and without extended attributes: a mount point, or one
 * that may not be listed. */
static int keep_empty(struct copier *c, struct copy_dir *d, int unreadable, struct umbra_error *err)
{
	struct copy_dir *parent = dir_of(d->w.parent);
	const struct umbra_object to = {.dirfd = parent->dst, .name = d->w.name};
	struct umbra_inventory_record rec = {0};
	int r;

	if (mkdirat(parent->dst, d->w.name, 0700 | (d->seen.st.st_mode & 0777)) < 0) {
		r = umbra_copier_store_failed(c, d, NULL, -errno, err);
		return r < 0 ? r : UMBRA_WALK_SKIP;
	}
	r = umbra_copier_attributes(c, d, NULL, NULL, &to, &d->seen.st, unreadable, &rec, err);
	if (r == 0)
		c->dirs++;
	return r < 0 ? r : UMBRA_WALK_SKIP;
}

static int keep_unreadable(struct copier *c, struct copy_dir *d, int r, struct umbra_error *err)
{
	note_unlisted(c, d, r);
	return keep_empty(c, d, r == -EACCES || r == -EPERM ? EACCES : EIO, err);
}

static bool is_state(const struct copier *c, const struct stat *st)
{
	return st->st_ino == c->state_ino && st->st_dev == c->state_dev;
}

/* Shadow copies of somebody else, who has a state directory here. */
static bool is_other_store(const struct copy_dir *parent, const struct copy_dir *d)
{
	return strcmp(d->w.name, UMBRA_STORE_COPIES) == 0 &&
	       faccessat(parent->src, UMBRA_STATE_MARK, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* Where other providers keep what they have of a whole volume: at its top, for root alone. */
static bool is_umbras_own(const struct copy_dir *parent, const struct copy_dir *d)
{
	struct statx sx;

	return !parent->w.parent && strcmp(d->w.name, UMBRA_STORE_OF_VOLUME) == 0 &&
	       d->seen.st.st_uid == 0 && (d->seen.st.st_mode & 0077) == 0 &&
	       statx(parent->src, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, 0, &sx) == 0 &&
	       (sx.stx_attributes & STATX_ATTR_MOUNT_ROOT);
}

/* Opens the origin's directory. UMBRA_WALK_SKIP: gone, not ours to walk, or dealt with. */
static int open_source(struct copier *c, struct copy_dir *d, struct umbra_error *err)
{
	struct copy_dir *parent = dir_of(d->w.parent);
	int r = -ENOENT;

	/* On what is mounted there may be nobody who answers, above all a tree of our own: it is
	 * known by what the kernel has of it already. */
	if (parent->src >= 0)
		r = umbra_copier_look(parent->src, d->w.name, AT_STATX_DONT_SYNC, &d->seen);
	if (r < 0) {
		if (!umbra_copier_gone(r)) /* the directory above may be listed, not searched */
			note_unlisted(c, d, r);
		return UMBRA_WALK_SKIP;
	}
	if (!S_ISDIR(d->seen.st.st_mode) || is_state(c, &d->seen.st))
		return UMBRA_WALK_SKIP;
	if (is_umbras_own(parent, d)) {
		c->left_store = true;
		return UMBRA_WALK_SKIP;
	}
	if (!umbra_copier_same_mount(c, &d->seen))
		return keep_empty(c, d, 0, err);
	if (is_other_store(parent, d)) {
		umbra_copier_note(c, d, NULL, UMBRA_NOTE_UNCOVERED,
				  "shadow copies of another state directory: not copied again");
		return keep_empty(c, d, 0, err);
	}
	r = umbra_clone_open(parent->src, d->w.name, O_DIRECTORY);
	if (umbra_copier_gone(r))
		return UMBRA_WALK_SKIP;
	if (r < 0 && !umbra_copier_exhausted(r))
		return keep_unreadable(c, d, r, err);
	if (r < 0)
		return umbra_fail_errno(err, r, "cannot open a directory of '%s'",
					c->place->origin_path);
	d->src = r;
	r = umbra_copier_look(d->src, NULL, 0, &d->seen);
	/* Something may have been mounted or moved there since the look before. */
	if (r < 0 || !umbra_copier_same_mount(c, &d->seen) || is_state(c, &d->seen.st)) {
		d->src = umbra_close(d->src);
		return UMBRA_WALK_SKIP;
	}
	return 0;
}

static int make_target(struct copier *c, struct copy_dir *d, struct umbra_error *err)
{
	struct copy_dir *parent = dir_of(d->w.parent);
	int r;

	if (mkdirat(parent->dst, d->w.name, 0700 | (d->seen.st.st_mode & 0777)) < 0) {
		r = umbra_copier_store_failed(c, d, NULL, -errno, err);
		return r < 0 ? r : UMBRA_WALK_SKIP;
	}
	d->dst = open_store(parent->dst, d->w.name);
	if (d->dst < 0)
		return umbra_fail_errno(err, d->dst, "cannot open '%s' in the store '%s'",
					d->w.name, c->place->store_path);
	if (d->has_prev) {
		d->prev = open_prev(parent->prev, d->w.name);
		d->has_prev = d->prev >= 0;
	}
	return 0;
}

/* The root's descriptors are lent. */
static int open_root(struct copier *c, struct copy_dir *d, struct umbra_error *err)
{
	int r;

	d->src = fcntl(c->place->origin, F_DUPFD_CLOEXEC, 0);
	d->dst = fcntl(c->place->tree, F_DUPFD_CLOEXEC, 0);
	if (d->src < 0 || d->dst < 0)
		return umbra_fail_errno(err, errno, "cannot open '%s'", c->place->origin_path);
	if (d->has_prev) {
		d->prev = open_prev(c->place->previous, "tree");
		d->has_prev = d->prev >= 0;
	}
	r = umbra_copier_look(d->src, NULL, 0, &d->seen);
	return r < 0 ? umbra_fail_errno(err, r, "cannot look at '%s'", c->place->origin_path) : 0;
}

static int enter(struct umbra_walk *walk, struct umbra_walk_dir *w, struct umbra_error *err)
{
	struct copier *c = copier_of(walk);
	struct copy_dir *d = dir_of(w);
	int r;

	r = w->parent ? open_source(c, d, err) : open_root(c, d, err);
	if (r == 0 && w->parent)
		r = make_target(c, d, err);
	if (r == 0) {
		d->dev = d->seen.st.st_dev;
		d->number = umbra_inventory_number(c->new_inventory);
		r = read_directory(c, d, err);
	}
	if (r != 0) {
		shut(w);
		return r;
	}
	c->dirs++;
	return 0;
}

static int items(struct umbra_walk *walk, struct umbra_walk_dir *w, size_t from, size_t to,
		 struct umbra_error *err)
{
	struct copier *c = copier_of(walk);
	struct copy_dir *d = dir_of(w);
	int r = 0;

	for (; from < to && r == 0; from++) {
		if (c->walk.stop)
			return 0;
		r = umbra_copier_object(c, d, &d->entries[d->order[from]], err);
	}
	return r;
}

/* A directory is in its parent's block, so that the next copy finds its own. */
static void register_number(struct copy_dir *d)
{
	struct entry *e = &dir_of(d->w.parent)->entries[d->at];

	e->rec.dir = d->number;
	e->rec.ino = d->seen.st.st_ino;
	e->rec.mode = d->seen.st.st_mode;
	e->kept = true;
}

static int write_block(struct copier *c, struct copy_dir *d)
{
	struct umbra_inventory_record *records = calloc(d->n + 1, sizeof(*records));
	uint32_t n = 0;
	size_t i;
	int r;

	if (!records)
		return -ENOMEM;
	for (i = 0; i < d->n; i++)
		if (d->entries[i].kept)
			records[n++] = d->entries[i].rec;
	r = umbra_inventory_write(c->new_inventory, d->number, records, n, d->names, d->names_len);
	free(records);
	return r;
}

static void drop_contents(struct copy_dir *d)
{
	free(d->before.space);
	free(TAKE_PTR(d->entries));
	free(TAKE_PTR(d->names));
	free(TAKE_PTR(d->order));
	free(TAKE_PTR(d->subdirs));
	d->before = (struct umbra_inventory_block){0};
}

static int leave(struct umbra_walk *walk, struct umbra_walk_dir *w, struct umbra_error *err)
{
	struct copier *c = copier_of(walk);
	struct copy_dir *d = dir_of(w);
	const struct umbra_object from = {.dirfd = d->src}, to = {.dirfd = d->dst};
	struct umbra_inventory_record rec = {0};
	int r;

	if (d->src < 0)
		umbra_copier_note(c, d, NULL, UMBRA_NOTE_CHANGED,
				  "it was moved while it was copied");
	r = umbra_copier_attributes(c, d, NULL, d->src < 0 ? NULL : &from, &to, &d->seen.st, 0,
				    &rec, err);
	if (r < 0)
		return r;
	r = write_block(c, d);
	if (r < 0)
		return umbra_copier_store_failed(c, d, NULL, r, err);
	if (w->parent)
		register_number(d);
	/* The struct may live on for a hard link's sake; what is in it need not. */
	drop_contents(d);
	return 0;
}

static void free_dir(struct umbra_walk_dir *w)
{
	struct copy_dir *d = dir_of(w);

	drop_contents(d);
	free(d);
}

const struct umbra_walk_ops umbra_copier_ops = {
	.fds = 3,
	.child = child,
	.enter = enter,
	.items = items,
	.leave = leave,
	.open = reopen,
	.shut = shut,
	.free = free_dir,
};
