/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/versions.h"

#include <string.h>

#include "snapshot/compare.h"

struct search {
	const struct umbra_opener *opener;
	const char *path;
	unsigned int flags;
	umbra_warn_fn warn;
	void *arg;
	struct umbra_view *live_view;
	struct umbra_node live; /* fd -1: there is none */
	struct stat same;       /* the copy that was last seen to be as the live file */
	const struct umbra_set *newest_same;
	struct umbra_versions found;
};

void umbra_versions_finish(struct umbra_versions *versions)
{
	size_t i;

	for (i = 0; i < versions->n; i++)
		free(versions->v[i].sets);
	free(versions->v);
	*versions = (struct umbra_versions){0};
}

static bool same_shape(const struct stat *a, const struct stat *b)
{
	return (a->st_mode & S_IFMT) == (b->st_mode & S_IFMT) && a->st_size == b->st_size &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

static int add_set(struct umbra_version *v, const struct umbra_set *set)
{
	const struct umbra_set **more = reallocarray(v->sets, v->n_sets + 1, sizeof(*more));

	if (!more)
		return -ENOMEM;
	v->sets = more;
	v->sets[v->n_sets++] = set;
	return 0;
}

/* The set's file, opened in a view of its own, which the caller frees after the node. 1, 0, or
 * negative. */
static int open_in(const struct search *s, const struct umbra_set *set, struct umbra_view **view,
		   struct umbra_node *node, struct umbra_error *err)
{
	*view = umbra_view_of_set(s->opener, set);
	return *view ? umbra_view_find(*view, s->path, node, err) : umbra_oom(err);
}

/* Is this set's file as the other? Not when the other cannot be read: then this one is wanted. When
 * this one cannot, the error names the set, as that of a copy that cannot be opened does. */
static int compare(const struct search *s, const struct umbra_set *set,
		   const struct umbra_node *node, const struct umbra_node *other,
		   struct umbra_error *err)
{
	char token[UMBRA_TOKEN_LEN + 1];
	int r = umbra_compare_content(node, other, s->path, err);

	umbra_token_format(set->time, token);
	return r < 0 ? umbra_wrap(err, r, "%s", token) : r;
}

/*
 * Is node what the version is? Inode numbers are compared together with size and time: the
 * version's own file is not held open, so that ten thousand sets need no ten thousand descriptors.
 */
static int is_version(const struct search *s, const struct umbra_version *v,
		      const struct umbra_set *set, const struct umbra_node *node,
		      struct umbra_error *err)
{
	_cleanup_view_ struct umbra_view *view = NULL;
	_cleanup_node_ struct umbra_node other = UMBRA_NODE_NONE;
	int r;

	if (!same_shape(&v->st, &node->st))
		return 0;
	if ((v->dev == node->dev && v->ino == node->ino) || S_ISDIR(node->st.st_mode))
		return 1;
	if (v->unreadable)
		return 0;
	r = open_in(s, v->sets[0], &view, &other, err);
	if (r <= 0)
		return r == -ENOMEM ? r : 0; /* it could be opened before */
	return compare(s, set, node, &other, err);
}

static int is_live(const struct search *s, const struct umbra_set *set,
		   const struct umbra_node *node, struct umbra_error *err)
{
	if (s->live.fd < 0 || !same_shape(&s->live.st, &node->st))
		return 0;
	if (S_ISDIR(node->st.st_mode))
		return 1;
	return compare(s, set, node, &s->live, err);
}

static int new_version(struct search *s, const struct umbra_set *set, const struct umbra_node *node,
		       struct umbra_error *err)
{
	struct umbra_version *more, *v;
	int r;

	more = reallocarray(s->found.v, s->found.n + 1, sizeof(*more));
	if (!more)
		return umbra_oom(err);
	s->found.v = more;
	v = &more[s->found.n];
	*v = (struct umbra_version){.st = node->st, .dev = node->dev, .ino = node->ino};
	v->unreadable = umbra_node_is_unreadable(node);
	if (!v->unreadable && (s->flags & UMBRA_VERSIONS_LIVE)) {
		r = is_live(s, set, node, err);
		if (r < 0)
			return r;
		v->live = r > 0;
	}
	if (add_set(v, set) < 0)
		return umbra_oom(err);
	s->found.n++;
	return 0;
}

static int look_in(struct search *s, const struct umbra_set *set, struct umbra_error *err)
{
	_cleanup_view_ struct umbra_view *view = NULL;
	_cleanup_node_ struct umbra_node node = UMBRA_NODE_NONE;
	size_t i;
	int r = open_in(s, set, &view, &node, err);

	if (r <= 0)
		return r;
	/* Mostly it is the one found last. */
	for (i = s->found.n; i-- > 0 && !(s->flags & UMBRA_VERSIONS_ALL);) {
		r = is_version(s, &s->found.v[i], set, &node, err);
		if (r < 0)
			return r;
		if (r > 0)
			return add_set(&s->found.v[i], set) < 0 ? umbra_oom(err) : 0;
	}
	return new_version(s, set, &node, err);
}

static void damaged(struct search *s, struct umbra_error *why)
{
	s->found.damaged++;
	if (s->warn)
		s->warn(s->arg, why);
}

/*
 * Visits the sets that cover the path, newest first, until a visit returns 1: then *out is that
 * set. 0: none did. A copy that cannot be read is told, and passed by.
 */
static int walk(struct search *s, const struct umbra_set_list *sets,
		int (*visit)(struct search *s, const struct umbra_set *set,
			     struct umbra_error *why),
		const struct umbra_set **out, struct umbra_error *err)
{
	struct umbra_error why = {0};
	size_t i;
	int r;

	for (i = sets->n; i-- > 0;) {
		if (!umbra_set_covering(sets->sets[i], s->path))
			continue;
		s->found.covering++;
		r = visit(s, sets->sets[i], &why);
		if (r == -ENOMEM)
			return umbra_oom(err);
		if (r < 0)
			damaged(s, &why);
		if (r > 0) {
			*out = sets->sets[i];
			return 1;
		}
	}
	return 0;
}

static int start(struct search *s, struct umbra_error *err)
{
	int r;

	s->live_view = umbra_view_live(s->opener);
	if (!s->live_view)
		return umbra_oom(err);
	r = umbra_view_find(s->live_view, s->path, &s->live, err);
	if (r < 0)
		return r;
	s->found.live_exists = r > 0;
	if (r > 0)
		s->found.live = s->live.st;
	return 0;
}

static void search_finish(struct search *s)
{
	umbra_versions_finish(&s->found);
	umbra_node_finish(&s->live);
	umbra_view_free(s->live_view);
}

int umbra_versions_find(const struct umbra_opener *opener, const struct umbra_set_list *sets,
			const char *path, unsigned int flags, umbra_warn_fn warn, void *arg,
			struct umbra_versions *out, struct umbra_error *err)
{
	_cleanup_(search_finish) struct search s = {.opener = opener,
						    .path = path,
						    .flags = flags,
						    .warn = warn,
						    .arg = arg,
						    .live = UMBRA_NODE_NONE};
	int r = start(&s, err);

	if (r == 0)
		r = walk(&s, sets, look_in, NULL, err);
	if (r < 0)
		return r;
	*out = s.found;
	s.found = (struct umbra_versions){0};
	return 0;
}

/* The newest copy of something below path, or NULL. */
static const char *copied_below(const struct umbra_set_list *sets, const char *path)
{
	const struct umbra_set *set;
	const char *below;
	size_t i, k;

	for (i = sets->n; i-- > 0;) {
		set = sets->sets[i];
		for (k = 0; k < set->n_shadows; k++) {
			below = umbra_path_below(set->shadows[k]->path, path);
			if (below && *below)
				return set->shadows[k]->path;
		}
	}
	return NULL;
}

int umbra_versions_absent(const struct umbra_set_list *sets, const char *path, size_t covering,
			  size_t damaged, struct umbra_error *err)
{
	const char *below = copied_below(sets, path);

	if (covering > 0)
		return umbra_fail(err, UMBRA_E_NOT_FOUND, ENOENT,
				  covering == 1 ? "'%s' is not in the set that covers it%s"
						: "'%s' is in none of the sets that cover it%s",
				  path,
				  !damaged        ? ""
				  : covering == 1 ? ", as far as that can be read"
						  : ", as far as they can be read");
	if (below)
		return umbra_fail(err, UMBRA_E_NOT_FOUND, ENOENT,
				  "no shadow copy set covers all of '%s': name '%s' below it, of "
				  "which there are copies",
				  path, below);
	return umbra_fail(err, UMBRA_E_NOT_FOUND, ENOENT,
			  "no shadow copy set covers '%s' (see 'umbra list')", path);
}

static int has_it(struct search *s, const struct umbra_set *set, struct umbra_error *why)
{
	_cleanup_view_ struct umbra_view *view = NULL;
	_cleanup_node_ struct umbra_node node = UMBRA_NODE_NONE;

	return open_in(s, set, &view, &node, why);
}

int umbra_versions_newest(const struct umbra_opener *opener, const struct umbra_set_list *sets,
			  const char *path, umbra_warn_fn warn, void *arg,
			  const struct umbra_set **out, struct umbra_error *err)
{
	_cleanup_(search_finish) struct search s = {
		.opener = opener, .path = path, .warn = warn, .arg = arg, .live = UMBRA_NODE_NONE};
	int r = walk(&s, sets, has_it, out, err);

	if (r != 0)
		return r < 0 ? r : 0;
	return umbra_versions_absent(sets, path, s.found.covering, s.found.damaged, err);
}

/* Has it the file, and not as it is live? */
static int differs_from_live(struct search *s, const struct umbra_set *set, struct umbra_error *why)
{
	_cleanup_view_ struct umbra_view *view = NULL;
	_cleanup_node_ struct umbra_node node = UMBRA_NODE_NONE;
	int r = open_in(s, set, &view, &node, why);

	if (r <= 0)
		return r;
	if (s->live.fd < 0 || S_ISDIR(node.st.st_mode) ||
	    (node.st.st_mode & S_IFMT) != (s->live.st.st_mode & S_IFMT))
		return 1;
	if (same_shape(&s->same, &node.st) && s->same.st_dev == node.dev &&
	    s->same.st_ino == node.ino)
		return 0;
	r = compare(s, set, &node, &s->live, why);
	if (r <= 0)
		return r < 0 ? r : 1;
	s->same = node.st;
	s->same.st_dev = node.dev;
	s->same.st_ino = node.ino;
	if (!s->newest_same)
		s->newest_same = set;
	return 0;
}

int umbra_versions_choose(const struct umbra_opener *opener, const struct umbra_set_list *sets,
			  const char *path, umbra_warn_fn warn, void *arg,
			  const struct umbra_set **out, struct umbra_error *err)
{
	_cleanup_(search_finish) struct search s = {
		.opener = opener, .path = path, .warn = warn, .arg = arg, .live = UMBRA_NODE_NONE};
	int r = start(&s, err);

	if (r == 0)
		r = walk(&s, sets, differs_from_live, out, err);
	if (r != 0)
		return r;
	if (!s.newest_same)
		return umbra_versions_absent(sets, path, s.found.covering, s.found.damaged, err);
	*out = s.newest_same;
	return 2;
}
