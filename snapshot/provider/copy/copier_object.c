/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/provider/copy/copier.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "snapshot/sys/same.h"

/* A file that changes while it is read is read again, after 10, 20, 40 and 80 ms. */
#define READS      5
#define BACKOFF_MS 10

/* Who has a lease on a file (Samba, for its clients) is told by our opening it, and asked to give
 * it up: tried again after 10, 20, … 640 ms. Not for ever, if somebody makes a sport of it. */
#define LEASE_TRIES 8
#define LEASES_KEPT 16

/* What the making of one object needs to know. */
struct making {
	struct copier *c;
	struct copy_dir *d;
	struct entry *e;
	const char *name;
	struct seen seen;
	bool shared;                    /* with the previous copy */
	struct umbra_clone_watch watch; /* of the data being copied */
};

/* Outcomes besides 0 (made) and a negative errno. */
#define GONE     1 /* not in the origin any more: left out */
#define LEFT_OUT 2 /* cannot be kept, noted */

static struct making *making_of(struct umbra_clone_watch *watch)
{
	return (struct making *)((char *)watch - offsetof(struct making, watch));
}

static int copied(struct umbra_clone_watch *watch, uint64_t bytes)
{
	struct copier *c = making_of(watch)->c;

	c->bytes += bytes;
	c->copied += bytes;
	return c->walk.stop ? -ECANCELED : 0;
}

static int store_failed(struct making *m, int r, struct umbra_error *err)
{
	r = umbra_copier_store_failed(m->c, m->d, m->name, r, err);
	return r < 0 ? r : LEFT_OUT;
}

/* --- linking to the previous copy --- */

static bool unchanged(const struct umbra_inventory_record *before, const struct stat *st)
{
	return before && !(before->flags & UMBRA_INVENTORY_UNSURE) && before->ino == st->st_ino &&
	       before->size == (uint64_t)st->st_size && before->mtime == st->st_mtim.tv_sec &&
	       before->mtime_ns == st->st_mtim.tv_nsec && before->ctime == st->st_ctim.tv_sec &&
	       before->ctime_ns == st->st_ctim.tv_nsec && before->mode == st->st_mode &&
	       before->nlink == st->st_nlink && before->uid == st->st_uid &&
	       before->gid == st->st_gid;
}

/* All links of an inode must fit on one in the store, or be made anew together. */
static bool has_room(const struct making *m)
{
	nlink_t wanted = m->seen.st.st_nlink;
	struct stat st;

	return wanted <= 1 ||
	       (fstatat(m->d->prev, m->name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		st.st_nlink <= m->c->link_max && wanted <= m->c->link_max - st.st_nlink);
}

static bool same_target(const struct making *m)
{
	char now[PATH_MAX], before[PATH_MAX];
	ssize_t n = readlinkat(m->d->src, m->name, now, sizeof(now));

	return n >= 0 && readlinkat(m->d->prev, m->name, before, sizeof(before)) == n &&
	       memcmp(now, before, (size_t)n) == 0;
}

/* Where times say nothing, content does. A device is made again: that is cheaper. */
static bool same_content(const struct making *m)
{
	_cleanup_close_ int now = -1, before = -1;
	int failed;

	if (S_ISLNK(m->seen.st.st_mode))
		return same_target(m);
	if (!S_ISREG(m->seen.st.st_mode))
		return !S_ISCHR(m->seen.st.st_mode) && !S_ISBLK(m->seen.st.st_mode);
	now = umbra_clone_open(m->d->src, m->name, 0);
	before = umbra_clone_open(m->d->prev, m->name, 0);
	return now >= 0 && before >= 0 &&
	       umbra_same_data(now, before, &m->c->walk.stop, &failed) == 1;
}

/* 1: it is linked. 0: copy it. */
static int link_previous(struct making *m, struct umbra_error *err)
{
	const struct umbra_inventory_record *before = m->e->before;
	struct umbra_shown_entry shown;
	bool is_shown;
	int r = 0;

	if (m->d->prev < 0 || !unchanged(before, &m->seen.st) || !has_room(m))
		return 0;
	is_shown = before->flags & UMBRA_INVENTORY_SHOWN;
	if (is_shown && (umbra_shown_find(m->c->shown, before->store_ino, &shown) != 1 ||
			 shown.unreadable)) /* it may be readable now */
		return 0;
	if (!m->c->times_tell && !same_content(m))
		return 0;
	if (linkat(m->d->prev, m->name, m->d->dst, m->name, 0) < 0)
		/* EMLINK, a filesystem without links, a previous copy that lost files: all the
		 * same, then it is copied. */
		return errno == ENOSPC || errno == EDQUOT ? store_failed(m, -errno, err) : 0;
	if (is_shown)
		r = umbra_shown_add(m->c->new_shown, &shown);
	if (r < 0)
		return store_failed(m, r, err);
	m->e->rec.store_ino = before->store_ino;
	m->e->rec.flags = before->flags;
	umbra_copier_note_lost(m->c, m->d, m->name, before);
	m->shared = true;
	m->c->linked++;
	if (S_ISREG(m->seen.st.st_mode))
		m->c->bytes += (uint64_t)m->seen.st.st_size;
	return 1;
}

/* --- making it anew --- */

/* Once it is made in the store under its name. from_fd, to_fd: -1 to go by name. */
static int give_attributes(struct making *m, int from_fd, int to_fd, int unreadable,
			   struct umbra_error *err)
{
	const struct umbra_object from = {.dirfd = from_fd < 0 ? m->d->src : from_fd,
					  .name = from_fd < 0 ? m->name : NULL};
	const struct umbra_object to = {.dirfd = to_fd < 0 ? m->d->dst : to_fd,
					.name = to_fd < 0 ? m->name : NULL};

	return umbra_copier_attributes(m->c, m->d, m->name, unreadable ? NULL : &from, &to,
				       &m->seen.st, unreadable, &m->e->rec, err);
}

static int create(const struct making *m)
{
	/* With these bits it seldom needs a chmod() later. */
	int fd = openat(m->d->dst, m->name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
			0600 | (m->seen.st.st_mode & 0777));

	return fd < 0 ? -errno : fd;
}

/* Content that cannot be read: a file with its attributes, a hole instead of the data. */
static int make_unreadable(struct making *m, int why, struct umbra_error *err)
{
	_cleanup_close_ int to = -1;
	char text[128];

	if (why == -EBUSY)
		strcpy(text, "something is mounted on it");
	else if (why == -EAGAIN)
		strcpy(text, "cannot read it: a process holds a lease on it");
	else
		snprintf(text, sizeof(text), "cannot read it: %s", strerror(-why));
	umbra_copier_note(m->c, m->d, m->name, UMBRA_NOTE_UNREADABLE, text);
	unlinkat(m->d->dst, m->name, 0);
	to = create(m);
	if (to < 0)
		return store_failed(m, to, err);
	if (S_ISREG(m->seen.st.st_mode) && ftruncate(to, m->seen.st.st_size) < 0 && errno != EFBIG)
		return store_failed(m, -errno, err);
	return give_attributes(m, -1, to, why == -EACCES || why == -EPERM ? EACCES : EIO, err);
}

static void wait_before_read(const struct copier *c, unsigned int reads)
{
	const struct timespec t = {.tv_nsec = (BACKOFF_MS * 1000000L) << (reads - 1)};

	if (!c->walk.stop)
		nanosleep(&t, NULL);
}

/* Does this errno speak of the file that is written? */
static bool is_stores(int r)
{
	return r == -ENOSPC || r == -EDQUOT || r == -EROFS || r == -EFBIG;
}

/*
 * Reads until the file is after the reading what it was before. 0, GONE, or negative: -ECANCELED,
 * is_stores(), or what reading it says.
 */
static int copy_data(struct making *m, int from, int to)
{
	struct seen after;
	unsigned int reads;
	int r;

	for (reads = 1;; reads++) {
		r = umbra_clone_data(from, to, &m->c->pair, &m->watch);
		if (r < 0)
			return r;
		if (r == UMBRA_CLONE_SHARED)
			copied(&m->watch, (uint64_t)m->seen.st.st_size);
		r = umbra_copier_look(from, NULL, 0, &after);
		if (r < 0)
			return r;
		if (!S_ISREG(after.st.st_mode))
			return GONE;
		if (umbra_copier_held_still(&m->seen.st, &after.st))
			break;
		m->seen = after;
		if (m->c->walk.stop)
			return -ECANCELED;
		if (reads == READS) {
			umbra_copier_note(m->c, m->d, m->name, UMBRA_NOTE_CHANGED,
					  "it changed whenever it was read");
			m->e->rec.flags |= UMBRA_INVENTORY_UNSURE;
			break;
		}
		wait_before_read(m->c, reads);
		if (ftruncate(to, 0) < 0)
			return -errno;
	}
	m->seen = after;
	return 0;
}

static int open_file(const struct making *m)
{
	unsigned int tries = m->c->leases < LEASES_KEPT ? LEASE_TRIES : 1, i;
	int fd = -EAGAIN;

	for (i = 1; fd == -EAGAIN && i <= tries; i++) {
		if (i > 1)
			wait_before_read(m->c, i - 1);
		fd = umbra_clone_open(m->d->src, m->name, 0);
	}
	if (fd == -EAGAIN)
		m->c->leases++;
	return fd;
}

static int make_file(struct making *m, struct umbra_error *err)
{
	_cleanup_close_ int from = -1, to = -1;
	int r;

	from = open_file(m);
	if (umbra_copier_exhausted(from))
		return umbra_fail_errno(err, from, "cannot open '%s'", m->name);
	if (from < 0)
		return umbra_copier_gone(from) ? GONE : make_unreadable(m, from, err);
	to = create(m);
	if (to < 0)
		return store_failed(m, to, err);
	r = copy_data(m, from, to);
	if (r == -ECANCELED)
		return umbra_fail(err, UMBRA_E_INTERRUPTED, ECANCELED, "interrupted");
	if (r != 0)
		unlinkat(m->d->dst, m->name, 0);
	if (r < 0)
		return is_stores(r) ? store_failed(m, r, err) : make_unreadable(m, r, err);
	return r == GONE ? GONE : give_attributes(m, from, to, 0, err);
}

static int make_symlink(struct making *m, struct umbra_error *err)
{
	char target[PATH_MAX];
	ssize_t n = readlinkat(m->d->src, m->name, target, sizeof(target));

	if (n < 0 && errno != EINVAL && !umbra_copier_gone(-errno))
		return make_unreadable(m, -errno, err);
	if (n < 0 || n == sizeof(target))
		return GONE;
	target[n] = '\0';
	if (symlinkat(target, m->d->dst, m->name) < 0)
		return store_failed(m, -errno, err);
	return give_attributes(m, -1, -1, 0, err);
}

/* FIFO, socket, device. Where a user may not make a device, an empty file stands for it. */
static int make_special(struct making *m, struct umbra_error *err)
{
	mode_t type = m->seen.st.st_mode & S_IFMT;
	int fd;

	if (mknodat(m->d->dst, m->name, type | 0600, m->seen.st.st_rdev) == 0)
		return give_attributes(m, -1, -1, 0, err);
	if (errno != EPERM || (type != S_IFCHR && type != S_IFBLK))
		return store_failed(m, -errno, err);
	fd = create(m);
	if (fd < 0)
		return store_failed(m, fd, err);
	close(fd);
	return give_attributes(m, -1, -1, 0, err);
}

static int make(struct making *m, struct umbra_error *err)
{
	m->e->rec.flags = 0;
	switch (m->seen.st.st_mode & S_IFMT) {
	case S_IFREG:
		return make_file(m, err);
	case S_IFLNK:
		return make_symlink(m, err);
	default:
		return make_special(m, err);
	}
}

static int make_or_link(struct making *m, struct umbra_error *err)
{
	int r = link_previous(m, err);

	return r == 1 ? 0 : r == 0 ? make(m, err) : r;
}

/* --- several links --- */

static int link_first(struct making *m, const struct umbra_link *link, struct umbra_error *err)
{
	struct copy_dir *first = (struct copy_dir *)link->dir;
	int r;

	r = umbra_walk_pin(&m->c->walk, link->dir, err);
	if (r < 0)
		return r;
	r = linkat(first->dst, link->name, m->d->dst, m->name, 0) < 0 ? -errno : 0;
	umbra_walk_unpin(&m->c->walk, link->dir);
	if (r == -EMLINK || r == -EPERM || r == -EOPNOTSUPP) {
		umbra_copier_note(m->c, m->d, m->name, UMBRA_NOTE_PARTIAL,
				  "not kept: that it is a hard link of another file");
		return make(m, err);
	}
	if (r < 0)
		return store_failed(m, r, err);
	m->e->rec.store_ino = link->store_ino;
	m->e->rec.flags = link->flags;
	if (link->shared)
		m->c->linked++;
	return 0;
}

static struct umbra_link_id link_id(const struct seen *seen)
{
	bool known = seen->born.tv_sec != 0 || seen->born.tv_nsec != 0;

	return (struct umbra_link_id){.dev = seen->st.st_dev,
				      .ino = seen->st.st_ino,
				      .born = known ? seen->born : seen->st.st_ctim};
}

static int make_first(struct making *m, struct umbra_link *link, struct umbra_error *err)
{
	int r = make_or_link(m, err);
	const struct umbra_link_id made = link_id(&m->seen);

	/* Another inode may have come in its place just before it was opened. */
	if (r != 0 || !umbra_link_same(&made, &link->id)) {
		umbra_links_failed(m->c->links, link);
		return r;
	}
	link->store_ino = m->e->rec.store_ino;
	link->flags = m->e->rec.flags;
	link->shared = m->shared;
	r = umbra_links_made(m->c->links, link, &m->d->w, m->name);
	return r < 0 ? umbra_oom(err) : 0;
}

static int make_linked(struct making *m, struct umbra_error *err)
{
	const struct umbra_link_id id = link_id(&m->seen);
	struct umbra_link *link;
	bool first;
	int r;

	link = umbra_links_get(m->c->links, &id, m->seen.st.st_nlink, &first);
	if (!link)
		return m->c->walk.stop ? GONE : umbra_oom(err);
	r = first ? make_first(m, link, err) : link_first(m, link, err);
	umbra_links_put(m->c->links, link);
	return r;
}

/* --- one object --- */

static int make_any(struct making *m, struct umbra_error *err)
{
	if (!umbra_copier_same_mount(m->c, &m->seen))
		return make_unreadable(m, -EBUSY, err);
	return m->seen.st.st_nlink > 1 ? make_linked(m, err) : make_or_link(m, err);
}

int umbra_copier_object(struct copier *c, struct copy_dir *d, struct entry *e,
			struct umbra_error *err)
{
	struct making m = {
		.c = c, .d = d, .e = e, .name = entry_name(d, e), .watch = {.tick = copied}};
	int r = d->src < 0 ? -ENOENT : umbra_copier_look(d->src, m.name, 0, &m.seen);

	if (r < 0 && !umbra_copier_gone(r)) { /* nothing is known of it but its name */
		umbra_copier_note(c, d, m.name, UMBRA_NOTE_UNREADABLE, "cannot look at it");
		return 0;
	}
	if (r < 0 || S_ISDIR(m.seen.st.st_mode)) /* gone, or a directory came in its place */
		return 0;
	r = make_any(&m, err);
	if (r == GONE || r == LEFT_OUT)
		return 0;
	if (r < 0)
		return r;
	umbra_copier_record(c, &e->rec, &m.seen.st);
	e->kept = true;
	c->files++;
	return 0;
}
