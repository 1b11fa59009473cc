/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A snapshot of a subvolume has empty directories where others are nested in it. So a set has
 * every nested subvolume as a member of its own; what it leaves out it says.
 */
#include "snapshot/provider/btrfs/parts.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

int umbra_btrfs_root_of(const struct umbra_volume *volume, char **path, int *fd_out,
			struct umbra_error *err)
{
	_cleanup_free_ char *p = strdup(volume->path);
	char *slash;

	if (!p)
		return umbra_oom(err);
	for (;;) {
		_cleanup_close_ int fd = umbra_open_real(p, O_RDONLY | O_DIRECTORY);

		if (fd < 0)
			return umbra_fail_errno(err, fd, "cannot open '%s'", p);
		if (!umbra_btrfs_is(fd))
			return umbra_fail(err, UMBRA_E_UNSUPPORTED, EOPNOTSUPP,
					  "'%s' is not on btrfs", p);
		if (umbra_btrfs_is_subvolume(fd)) {
			*fd_out = TAKE_FD(fd);
			*path = TAKE_PTR(p);
			return 0;
		}
		slash = strrchr(p, '/');
		if (strcmp(p, volume->mount) == 0 || slash == p || !slash)
			break;
		*slash = '\0';
	}
	return umbra_fail(err, UMBRA_E_UNSUPPORTED, EOPNOTSUPP,
			  "at '%s' only a directory of a subvolume is mounted, and btrfs copies "
			  "whole subvolumes: name a place where the subvolume itself is mounted",
			  volume->mount);
}

static bool in_store(const char *path)
{
	return umbra_path_below(path, UMBRA_BTRFS_STORE) != NULL;
}

/* Is path, which lies in the subvolume at root, a part of umbra's own store? */
static int refuse_store(const char *path, const char *root, int fd, struct umbra_error *err)
{
	_cleanup_free_ char *from_top = NULL, *whole = NULL;
	const char *below = umbra_path_below(path, root);
	int r = umbra_btrfs_subvolume_path(fd, &from_top);

	if (r < 0)
		return umbra_fail_errno(err, r, "cannot find out where subvolume '%s' lies", root);
	whole = umbra_asprintf("%s%s%s", from_top, *from_top ? "/" : "", below ? below : "");
	if (!whole)
		return umbra_oom(err);
	if (!in_store(whole))
		return 0;
	return umbra_fail(err, UMBRA_E_UNSUPPORTED, EINVAL,
			  "'%s' is inside umbra's own store: copies are not copied again", path);
}

enum kind {
	MEMBER,
	SNAPSHOT, /* a read-only snapshot: copies of copies would grow without end */
	IGNORED,  /* our own, or below one that is left out */
};

/* For the elements of a list in their order; last is the last snapshot among them. */
static enum kind classify(const struct umbra_btrfs_nested *n, bool in_top_level, const char **last)
{
	if (in_top_level && in_store(n->path))
		return IGNORED;
	if (*last && umbra_path_below(n->path, *last))
		return IGNORED;
	if (!n->subvolume.is_snapshot || !n->subvolume.read_only)
		return MEMBER;
	*last = n->path;
	return SNAPSHOT;
}

static char *join(const char *dir, const char *name)
{
	return umbra_asprintf("%s/%s", strcmp(dir, "/") == 0 ? "" : dir, name);
}

/* Is the subvolume what path shows, or has something else been mounted over it? */
static bool visible(const char *path, const struct umbra_btrfs_subvolume *subvolume)
{
	_cleanup_close_ int fd = umbra_open_real(path, O_RDONLY | O_DIRECTORY);
	struct umbra_btrfs_subvolume there;

	return fd >= 0 && umbra_btrfs_is_subvolume(fd) && umbra_btrfs_subvolume(fd, &there) == 0 &&
	       there.id == subvolume->id && strcmp(there.uuid.s, subvolume->uuid.s) == 0;
}

static int add(const struct umbra_volume *asked, const char *path, struct umbra_volume_list *list,
	       struct umbra_error *err)
{
	struct umbra_volume *v = umbra_volume_dup(asked, path);
	struct stat st;

	if (!v)
		return umbra_oom(err);
	if (stat(path, &st) == 0)
		v->dev = st.st_dev; /* every subvolume has its own */
	if (umbra_volume_list_add(list, v) < 0)
		return umbra_oom(err);
	return 0;
}

static int list_nested(int fd, const char *path, struct umbra_btrfs_nested_list *out,
		       struct umbra_error *err)
{
	int r = umbra_btrfs_nested(fd, out);

	return r < 0 ? umbra_fail_errno(err, r, "cannot list the subvolumes nested in '%s'", path)
		     : 0;
}

static int resolve_nested(const struct umbra_volume *asked, const char *root, int fd, bool top,
			  struct umbra_volume_list *list, struct umbra_error *err)
{
	_cleanup_btrfs_nested_ struct umbra_btrfs_nested_list nested = {0};
	const char *last = NULL;
	size_t i;
	int r = list_nested(fd, root, &nested, err);

	for (i = 0; r == 0 && i < nested.n; i++) {
		_cleanup_free_ char *path = NULL;

		if (classify(&nested.v[i], top, &last) != MEMBER)
			continue;
		path = join(root, nested.v[i].path);
		if (!path)
			return umbra_oom(err);
		if (visible(path, &nested.v[i].subvolume))
			r = add(asked, path, list, err);
	}
	return r;
}

static int check_number(const struct umbra_volume_list *list, const char *root,
			struct umbra_error *err)
{
	if (list->n <= UMBRA_SET_VOLUMES_MAX)
		return 0;
	return umbra_fail(err, UMBRA_E_UNSUPPORTED, E2BIG,
			  "subvolume '%s' has %zu subvolumes nested in it, and a set has at most "
			  "%d volumes: name a nested one instead (the first is '%s'), delete those "
			  "that are not needed, or copy it with --provider copy",
			  root, list->n - 1, UMBRA_SET_VOLUMES_MAX, list->v[1]->path);
}

int umbra_btrfs_resolve(const struct umbra_volume *asked, struct umbra_volume_list *out,
			struct umbra_error *err)
{
	_cleanup_volume_list_ struct umbra_volume_list list = {0};
	struct umbra_btrfs_subvolume root;
	_cleanup_free_ char *path = NULL;
	_cleanup_close_ int fd = -1;
	size_t i;
	int r = umbra_btrfs_root_of(asked, &path, &fd, err);

	if (r < 0)
		return r;
	r = umbra_btrfs_subvolume(fd, &root);
	if (r < 0)
		return umbra_fail_errno(err, r, "cannot identify subvolume '%s'", path);
	r = refuse_store(asked->path, path, fd, err);
	if (r == 0)
		r = add(asked, path, &list, err);
	if (r == 0)
		r = resolve_nested(asked, path, fd, root.id == UMBRA_BTRFS_TOP_ID, &list, err);
	if (r == 0)
		r = check_number(&list, path, err);
	for (i = 0; r == 0 && i < list.n; i++) {
		if (umbra_volume_list_add(out, list.v[i]) < 0)
			r = umbra_oom(err);
		list.v[i] = NULL;
	}
	return r;
}

/* The read-only snapshots of other tools, as one note: there may be thousands of them. */
struct left_out {
	size_t n;
	char *first;   /* path */
	size_t common; /* so many bytes of it all of them have */
};

static int leave_out(struct left_out *l, const char *path)
{
	size_t i, slash = 0;

	if (l->n++ == 0) {
		l->first = strdup(path);
		l->common = strlen(path);
		return l->first ? 0 : -ENOMEM;
	}
	for (i = 0; i < l->common && path[i] == l->first[i]; i++)
		if (path[i] == '/')
			slash = i;
	if (i < l->common || (path[i] != '/' && path[i] != '\0'))
		l->common = slash;
	return 0;
}

static int note_left_out(const struct umbra_member *m, const struct left_out *l)
{
	_cleanup_free_ char *text = NULL, *dir = NULL;

	if (l->n == 0)
		return 0;
	dir = strndup(l->first, l->common ? l->common : 1);
	text = l->n == 1
		       ? strdup("a read-only snapshot: it is not copied again")
		       : umbra_asprintf("%zu read-only snapshots below are not copied again", l->n);
	if (!text || !dir)
		return -ENOMEM;
	return umbra_shadow_note(m->shadow, UMBRA_NOTE_UNCOVERED, dir, text);
}

static const char *reason(const char *path, const struct umbra_btrfs_subvolume *subvolume)
{
	if (!visible(path, subvolume))
		return "a nested subvolume that something else is mounted over";
	return "a nested subvolume that was made or renamed while the set was being created";
}

/* One nested subvolume that is no member. */
static int note_one(const struct umbra_member *m, const struct umbra_btrfs_nested *n,
		    enum kind kind, uint64_t instant, struct left_out *l)
{
	_cleanup_free_ char *path = NULL;

	if (kind == IGNORED || n->subvolume.born > instant)
		return 0;
	path = join(m->volume->path, n->path);
	if (!path)
		return -ENOMEM;
	/* A member itself, or in the care of a member that is nearer to it? */
	if (umbra_set_covering(m->set, path) != m->shadow)
		return 0;
	if (kind == SNAPSHOT)
		return leave_out(l, path);
	return umbra_shadow_note(m->shadow, UMBRA_NOTE_UNCOVERED, path,
				 reason(path, &n->subvolume));
}

int umbra_btrfs_note_uncovered(const struct umbra_member *m, int fd, uint64_t instant,
			       struct umbra_error *err)
{
	_cleanup_btrfs_nested_ struct umbra_btrfs_nested_list nested = {0};
	struct umbra_btrfs_subvolume root;
	struct left_out l = {0};
	const char *last = NULL;
	enum kind kind;
	size_t i;
	int r = list_nested(fd, m->volume->path, &nested, err);

	if (r < 0)
		return r;
	r = umbra_btrfs_subvolume(fd, &root);
	for (i = 0; r == 0 && i < nested.n; i++) {
		kind = classify(&nested.v[i], root.id == UMBRA_BTRFS_TOP_ID, &last);
		r = note_one(m, &nested.v[i], kind, instant, &l);
	}
	if (r == 0)
		r = note_left_out(m, &l);
	free(l.first);
	return r < 0 ? umbra_fail_errno(err, r, "cannot note what of '%s' is not in the set",
					m->volume->path)
		     : 0;
}
