/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/provider/copy/copier.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "snapshot/provider/copy/flush.h"
#include "snapshot/sys/same.h"

#define LINK_MAX_UNKNOWN 1000 /* NTFS has 1024 */
#define LINK_MAX_GLIBC   127  /* what glibc says of filesystems that it does not know */

#define EARLY_BYTES (128ULL << 20)

/* A record has a limit, and a tree may hold paths of any length: of a long one the end is kept. */
#define NOTE_PATH_MAX  1024
#define NOTES_PATH_MAX (128 * 1024)

int umbra_copier_look(int dirfd, const char *name, int more_flags, struct seen *out)
{
	const int flags =
		AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | more_flags | (name ? 0 : AT_EMPTY_PATH);
	struct statx x;
	struct seen s = {0};

	if (statx(dirfd, name ? name : "", flags, STATX_BASIC_STATS | STATX_BTIME | STATX_MNT_ID,
		  &x) < 0)
		return -errno;
	if (x.stx_mask & STATX_MNT_ID)
		s.mount = x.stx_mnt_id;
	if (x.stx_mask & STATX_BTIME)
		s.born = (struct timespec){x.stx_btime.tv_sec, x.stx_btime.tv_nsec};
	s.st.st_dev = makedev(x.stx_dev_major, x.stx_dev_minor);
	s.st.st_rdev = makedev(x.stx_rdev_major, x.stx_rdev_minor);
	s.st.st_ino = x.stx_ino;
	s.st.st_mode = x.stx_mode;
	s.st.st_nlink = x.stx_nlink;
	s.st.st_uid = x.stx_uid;
	s.st.st_gid = x.stx_gid;
	s.st.st_size = (off_t)x.stx_size;
	s.st.st_atim = (struct timespec){x.stx_atime.tv_sec, x.stx_atime.tv_nsec};
	s.st.st_mtim = (struct timespec){x.stx_mtime.tv_sec, x.stx_mtime.tv_nsec};
	s.st.st_ctim = (struct timespec){x.stx_ctime.tv_sec, x.stx_ctime.tv_nsec};
	*out = s;
	return 0;
}

bool umbra_copier_same_mount(const struct copier *c, const struct seen *seen)
{
	if (c->mount != 0 && seen->mount != 0)
		return seen->mount == c->mount;
	return seen->st.st_dev == c->dev;
}

static bool same_time(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

bool umbra_copier_held_still(const struct stat *a, const struct stat *b)
{
	return a->st_ino == b->st_ino && a->st_dev == b->st_dev && a->st_size == b->st_size &&
	       same_time(&a->st_mtim, &b->st_mtim) && same_time(&a->st_ctim, &b->st_ctim);
}

/* --- notes --- */

/* The path below the origin's root ("" for itself), at most room bytes of its end. The caller
 * frees. */
static char *path_below(const struct copy_dir *d, const char *name, size_t room)
{
	const struct umbra_walk_dir *w;
	const char *part = name;
	char *buf, *at, *out;
	size_t len;

	if (room < NAME_MAX + 1)
		room = NAME_MAX + 1;
	buf = malloc(room + 5);
	if (!buf)
		return NULL;
	at = buf + room + 4;
	*at = '\0';
	w = &d->w;
	if (!part) {
		part = w->name;
		w = w->parent;
	}
	for (; part; part = w->name, w = w->parent) {
		len = strlen(part) + (*at ? 1 : 0);
		if (len > (size_t)(at - buf) - 4) {
			at -= 4;
			memcpy(at, "\xe2\x80\xa6/", 4); /* an ellipsis */
			break;
		}
		if (*at)
			*--at = '/';
		at -= strlen(part);
		memcpy(at, part, strlen(part));
		if (!w)
			break;
	}
	out = strdup(at);
	free(buf);
	return out;
}

/* Notes have live paths. room 0: no more of it than must be. */
static char *note_path(const struct copier *c, const struct copy_dir *d, const char *name,
		       size_t room)
{
	const char *origin = c->place->origin_path;
	char *below = path_below(d, name, room), *whole;

	if (!below || (room == 0 && *below))
		return below;
	whole = *below ? umbra_asprintf("%s/%s", strcmp(origin, "/") == 0 ? "" : origin, below)
		       : strdup(origin);
	free(below);
	return whole;
}

void umbra_copier_note(struct copier *c, const struct copy_dir *d, const char *name,
		       const char *kind, const char *text)
{
	_cleanup_free_ char *path = NULL;
	size_t room = NOTE_PATH_MAX;

	pthread_mutex_lock(&c->notes_lock);
	if (c->notes_bytes > NOTES_PATH_MAX)
		room = 0;
	path = note_path(c, d, name, room);
	if (path)
		c->notes_bytes += strlen(path);
	if (!path || umbra_shadow_note(c->m->shadow, kind, path, text) < 0)
		c->no_memory = true;
	pthread_mutex_unlock(&c->notes_lock);
}

static int store_error(const struct copier *c, int r, const char *name, struct umbra_error *err)
{
	const char *store = c->place->store_path;

	switch (-r) {
	case ENOSPC:
	case EDQUOT:
		return umbra_fail(
			err, UMBRA_E_NO_SPACE, r,
			"the store '%s' is full (%s): delete sets with 'umbra delete', make "
			"room there, or choose another store with --state DIR",
			store, strerror(-r));
	case EROFS:
		return umbra_fail(err, UMBRA_E_READ_ONLY, r,
				  "the store '%s' has become read-only: see the kernel's messages",
				  store);
	default:
		return umbra_fail_errno(err, r, "cannot write '%s' to the store '%s'", name, store);
	}
}

int umbra_copier_store_failed(struct copier *c, const struct copy_dir *d, const char *name, int r,
			      struct umbra_error *err)
{
	char text[128];

	switch (-r) {
	case EINVAL: /* names, types, sizes and links that the store's filesystem does not have */
	case ENAMETOOLONG:
	case EILSEQ:
	case EPERM:
	case EEXIST:
	case EOPNOTSUPP:
	case EFBIG:
	case EMLINK:
		snprintf(text, sizeof(text), "the store cannot keep it: %s", strerror(-r));
		umbra_copier_note(c, d, name, UMBRA_NOTE_UNREADABLE, text);
		return 0;
	default:
		return store_error(c, r, name ? name : c->place->origin_path, err);
	}
}

/* --- attributes --- */

/*
 * It may change again within the same tick of the filesystem's clock, or through a mapping that
 * is writable already: then its times stay what they are.
 */
static bool unsure(const struct copier *c, const struct stat *st)
{
	const struct timespec *limit = &c->place->settled, *t = &st->st_ctim;
	/* Without nanoseconds the clock may tick every two seconds (FAT), else every 10 ms. */
	int64_t tick_ns = t->tv_nsec == 0 ? 2000000000 : 20000000;
	int64_t apart;

	if (t->tv_sec > limit->tv_sec || t->tv_sec < limit->tv_sec - 10)
		return t->tv_sec > limit->tv_sec;
	apart = (limit->tv_sec - t->tv_sec) * 1000000000 + limit->tv_nsec - t->tv_nsec;
	return apart <= tick_ns;
}

void umbra_copier_record(const struct copier *c, struct umbra_inventory_record *rec,
			 const struct stat *st)
{
	rec->ino = st->st_ino;
	rec->size = (uint64_t)st->st_size;
	rec->mtime = st->st_mtim.tv_sec;
	rec->mtime_ns = (uint32_t)st->st_mtim.tv_nsec;
	rec->ctime = st->st_ctim.tv_sec;
	rec->ctime_ns = (uint32_t)st->st_ctim.tv_nsec;
	rec->mode = st->st_mode;
	rec->nlink = (uint32_t)st->st_nlink;
	rec->uid = st->st_uid;
	rec->gid = st->st_gid;
	rec->dir = UMBRA_INVENTORY_NONE;
	if (unsure(c, st))
		rec->flags |= UMBRA_INVENTORY_UNSURE;
}

/* What a user can give to a file of his store, so that he can still read it and delete it. */
static unsigned int adapt_for_user(const struct copier *c, struct stat *st, unsigned int what)
{
	mode_t need = S_ISDIR(st->st_mode) ? 0700 : 0400;

	if (st->st_uid != c->uid) {
		what &= ~(unsigned int)UMBRA_ATTRS_OWNER;
		st->st_mode &= ~(mode_t)(S_ISUID | S_ISGID);
		need |= 0600;
	}
	if ((st->st_mode & need) != need) {
		st->st_mode |= need;
		what &= ~(unsigned int)UMBRA_ATTRS_ACLS; /* one would take the bits away again */
	}
	return what;
}

/* Is what the store shows for a new object, alone in this copy, what it must show? */
static bool shows_right(const struct stat *store, const struct stat *want)
{
	nlink_t nlink = S_ISDIR(want->st_mode) ? store->st_nlink : 1;

	return store->st_mode == want->st_mode && store->st_uid == want->st_uid &&
	       store->st_gid == want->st_gid && store->st_rdev == want->st_rdev &&
	       nlink == want->st_nlink;
}

static int show(struct copier *c, const struct stat *store, const struct stat *want, int unreadable,
		struct umbra_inventory_record *rec)
{
	const struct umbra_shown_entry entry = {
		.ino = store->st_ino,
		.nlink = (uint32_t)want->st_nlink,
		.mode = want->st_mode,
		.uid = want->st_uid,
		.gid = want->st_gid,
		.major = major(want->st_rdev),
		.minor = minor(want->st_rdev),
		.unreadable = (uint32_t)unreadable,
	};

	rec->store_ino = store->st_ino;
	if (!unreadable && shows_right(store, want))
		return 0;
	rec->flags |= UMBRA_INVENTORY_SHOWN;
	return umbra_shown_add(c->new_shown, &entry);
}

#define LOST (UMBRA_ATTRS_XATTRS | UMBRA_ATTRS_ACLS | UMBRA_ATTRS_TIMES)

_Static_assert((int)UMBRA_INVENTORY_LOST_XATTRS == UMBRA_ATTRS_XATTRS &&
		       (int)UMBRA_INVENTORY_LOST_ACLS == UMBRA_ATTRS_ACLS &&
		       (int)UMBRA_INVENTORY_LOST_TIMES == UMBRA_ATTRS_TIMES,
	       "one set of bits");

void umbra_copier_note_lost(struct copier *c, const struct copy_dir *d, const char *name,
			    const struct umbra_inventory_record *rec)
{
	unsigned int lost = rec->flags & LOST;
	char names[100], text[128];

	if (rec->flags & UMBRA_INVENTORY_ROUNDED_TIMES)
		c->rounded = true;
	if (!lost)
		return;
	snprintf(text, sizeof(text), "not kept: %s", umbra_attrs_names(lost, names, sizeof(names)));
	umbra_copier_note(c, d, name, UMBRA_NOTE_PARTIAL, text);
}

/* A filesystem takes times that it cannot keep, and keeps others without a word: seconds only,
 * every second second (FAT, and days for the last access), or the last that it has. */
static unsigned int times_kept(const struct stat *want, const struct stat *store)
{
	const int64_t apart = (int64_t)want->st_mtim.tv_sec - store->st_mtim.tv_sec;

	if (apart > 2 || apart < -2)
		return UMBRA_INVENTORY_LOST_TIMES;
	return same_time(&want->st_mtim, &store->st_mtim) &&
			       same_time(&want->st_atim, &store->st_atim)
		       ? 0
		       : UMBRA_INVENTORY_ROUNDED_TIMES;
}

int umbra_copier_attributes(struct copier *c, const struct copy_dir *d, const char *name,
			    const struct umbra_object *from, const struct umbra_object *to,
			    const struct stat *true_st, int unreadable,
			    struct umbra_inventory_record *rec, struct umbra_error *err)
{
	unsigned int what = UMBRA_ATTRS_ALL | UMBRA_ATTRS_FRESH, lost = 0, dropped;
	struct stat st = *true_st, store;
	int r;

	if (!from)
		what &= ~(unsigned int)(UMBRA_ATTRS_XATTRS | UMBRA_ATTRS_ACLS);
	dropped = what;
	if (c->user)
		what = adapt_for_user(c, &st, what);
	dropped &= ~what;
	r = umbra_attrs_copy(from ? from : to, to, &st, what, &lost);
	if (r == 0 && (dropped & UMBRA_ATTRS_ACLS) && umbra_attrs_has_acl(from))
		lost |= UMBRA_ATTRS_ACLS;
	if (r == 0 && fstatat(to->dirfd, to->name ? to->name : "", &store,
			      AT_SYMLINK_NOFOLLOW | (to->name ? 0 : AT_EMPTY_PATH)) < 0)
		r = -errno;
	if (r == 0)
		r = show(c, &store, true_st, unreadable, rec);
	if (r < 0)
		return store_error(c, r, name ? name : ".", err);
	/* Owner and mode are put right by the table; the rest is lost. */
	rec->flags |= lost & LOST;
	if (!(lost & UMBRA_ATTRS_TIMES))
		rec->flags |= times_kept(true_st, &store);
	umbra_copier_note_lost(c, d, name, rec);
	return 0;
}

/* --- all of it --- */

/* The disk need not be idle until the last file is copied. */
static void flush_early(struct copier *c)
{
	const uint64_t copied = c->copied;

	if (copied - c->early_from < EARLY_BYTES || (c->early && umbra_flush_running(c->early)))
		return;
	umbra_flush_forget(c->early);
	c->early = umbra_flush_start(c->place->tree);
	c->early_from = copied;
}

static int tick(struct umbra_walk *walk, struct umbra_error *err)
{
	struct copier *c = copier_of(walk);
	const struct umbra_progress p = {
		.files = c->files, .files_total = c->files_total, .bytes = c->bytes};

	flush_early(c);
	return umbra_watch_tick(c->m->watch, &p, err);
}

static nlink_t link_max(int fd)
{
	long n = fpathconf(fd, _PC_LINK_MAX);

	return n <= LINK_MAX_GLIBC ? LINK_MAX_UNKNOWN : (nlink_t)n;
}

/* Without inventory and table of the previous copy everything is new. */
static void open_previous(struct copier *c)
{
	const struct umbra_copier_place *p = c->place;

	if (p->previous < 0)
		return;
	if (umbra_inventory_open(p->previous, p->previous_id, &c->inventory) < 0)
		return;
	if (umbra_shown_open(p->previous, p->previous_id, &c->shown) < 0)
		c->inventory = umbra_inventory_close(c->inventory);
}

static int begin(struct copier *c, struct umbra_error *err)
{
	const struct umbra_copier_place *p = c->place;
	struct seen state, root;
	int r;

	r = umbra_copier_look(p->state_fd, NULL, 0, &state);
	if (r == 0)
		r = umbra_copier_look(p->origin, NULL, 0, &root);
	if (r < 0)
		return umbra_fail_errno(err, r, "cannot look at '%s'", p->origin_path);
	c->state_dev = state.st.st_dev;
	c->state_ino = state.st.st_ino;
	c->mount = root.mount;
	c->dev = root.st.st_dev;
	c->times_tell = umbra_times_tell(p->origin);
	c->uid = geteuid();
	c->user = c->uid != 0;
	c->link_max = link_max(p->tree);
	r = umbra_inventory_create(p->dir, p->id, &c->new_inventory);
	if (r == 0)
		r = umbra_shown_create(p->dir, p->id, &c->new_shown);
	if (r < 0)
		return store_error(c, r, UMBRA_INVENTORY_NAME, err);
	c->links = umbra_links_new(&c->walk);
	if (!c->links)
		return umbra_oom(err);
	open_previous(c);
	return 0;
}

/* Once: it is so with all files. */
static int note_rounded(struct copier *c)
{
	return c->rounded
		       ? umbra_shadow_note(c->m->shadow, UMBRA_NOTE_PARTIAL, c->place->origin_path,
					   "the store's filesystem keeps times less exactly")
		       : 0;
}

static int walk_all(struct copier *c, struct umbra_error *err)
{
	struct umbra_walk_dir *root = umbra_copier_root(c);
	int r;

	if (!root)
		return umbra_oom(err);
	r = umbra_walk_run(&c->walk, root, err);
	if (r < 0)
		return r;
	if (c->no_memory || note_rounded(c) < 0)
		return umbra_oom(err);
	r = umbra_inventory_complete(c->new_inventory);
	if (r == 0)
		r = umbra_shown_complete(c->new_shown);
	return r < 0 ? store_error(c, r, UMBRA_SHOWN_NAME, err) : 0;
}

static void finish(struct copier *c)
{
	umbra_flush_forget(c->early);
	umbra_links_free(c->links);
	umbra_inventory_close(c->inventory);
	umbra_shown_close(c->shown);
	umbra_inventory_discard(c->new_inventory);
	umbra_shown_discard(c->new_shown);
	pthread_mutex_destroy(&c->notes_lock);
	free(c);
}

int umbra_copier_run(struct umbra_member *m, const struct umbra_copier_place *place,
		     uint64_t files_total, struct umbra_copier_totals *totals,
		     struct umbra_error *err)
{
	struct copier *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return umbra_oom(err);
	c->walk.ops = &umbra_copier_ops;
	c->walk.tick = tick;
	c->m = m;
	c->place = place;
	c->files_total = files_total;
	pthread_mutex_init(&c->notes_lock, NULL);
	r = begin(c, err);
	if (r == 0)
		r = walk_all(c, err);
	*totals = (struct umbra_copier_totals){.files = c->files,
					       .dirs = c->dirs,
					       .linked = c->linked,
					       .bytes = c->bytes,
					       .copied = c->copied,
					       .left_store = c->left_store};
	finish(c);
	return r;
}
