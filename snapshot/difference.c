/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/difference.h"

#include <string.h>

static int pair(struct umbra_difference *d, const char *path, const struct umbra_node *old,
		const struct umbra_node *new, struct umbra_error *err);

const char *umbra_change_name(enum umbra_change change)
{
	static const char *const names[] = {"added", "removed", "changed"};

	return names[change];
}

static bool is_dir(const struct umbra_node *node)
{
	return node && S_ISDIR(node->st.st_mode);
}

/* What cannot be compared is told, and does not end the walk. */
static int warned(struct umbra_difference *d, int r, struct umbra_error *err)
{
	if (r == -ENOMEM || r == -EMFILE || r == -ENFILE) {
		if (err)
			*err = d->why;
		return r;
	}
	d->failed++;
	if (d->warn)
		d->warn(d, &d->why);
	return 0;
}

/* The entry name of both directories, either of which may be NULL or not have it. */
static int entry(struct umbra_difference *d, const char *parent, const char *name,
		 const struct umbra_node *old_dir, const struct umbra_node *new_dir,
		 struct umbra_error *err)
{
	_cleanup_node_ struct umbra_node old = UMBRA_NODE_NONE;
	_cleanup_node_ struct umbra_node new = UMBRA_NODE_NONE;
	_cleanup_free_ char *path = umbra_path_join(parent, name);
	int r = 0;

	if (!path)
		return umbra_oom(err);
	if (old_dir)
		r = umbra_view_child(d->from, old_dir, path, name, &old, &d->why);
	if (r >= 0 && new_dir)
		r = umbra_view_child(d->to, new_dir, path, name, &new, &d->why);
	if (r < 0)
		return warned(d, r, err);
	/* Gone between readdir and now. */
	if (old.fd < 0 && new.fd < 0)
		return 0;
	return pair(d, path, old.fd < 0 ? NULL : &old, new.fd < 0 ? NULL : &new, err);
}

/* umbra's own store is shown in no copy, so it is no difference that it is there live. */
static bool is_store(const struct umbra_node *dir, const char *name)
{
	const char *hidden = dir ? umbra_node_hidden(dir) : NULL;

	return hidden && strcmp(hidden, name) == 0;
}

/* One pass over two sorted lists of names. */
static int merge(struct umbra_difference *d, const char *path, const struct umbra_node *old,
		 const struct umbra_names *a, const struct umbra_node *new,
		 const struct umbra_names *b, struct umbra_error *err)
{
	const char *name;
	size_t i = 0, k = 0;
	int order, r = 0;

	while (r == 0 && (i < a->n || k < b->n)) {
		order = i == a->n ? 1 : k == b->n ? -1 : strcmp(a->names[i], b->names[k]);
		name = order <= 0 ? a->names[i] : b->names[k];
		if (!is_store(old, name) && !is_store(new, name))
			r = entry(d, path, name, order <= 0 ? old : NULL, order >= 0 ? new : NULL,
				  err);
		i += order <= 0;
		k += order >= 0;
	}
	return r;
}

static int directories(struct umbra_difference *d, const char *path, const struct umbra_node *old,
		       const struct umbra_node *new, struct umbra_error *err)
{
	_cleanup_names_ struct umbra_names a = {0}, b = {0};
	int r = 0;

	if (old)
		r = umbra_view_names(d->from, old, path, &a, &d->why);
	if (r == 0 && new)
		r = umbra_view_names(d->to, new, path, &b, &d->why);
	if (r < 0)
		return warned(d, r, err);
	if (d->depth == UMBRA_DEPTH_MAX)
		return warned(d, umbra_view_too_deep(path, &d->why), err);
	d->depth++;
	r = merge(d, path, old, &a, new, &b, err);
	d->depth--;
	return r;
}

/* A live mount is another volume: the set says nothing about it unless it has a member there. */
static bool beyond(const struct umbra_view *other, const char *path, const struct umbra_node *node)
{
	return node && node->mount && umbra_view_set(other) && !umbra_view_is_member(other, path);
}

static int pair(struct umbra_difference *d, const char *path, const struct umbra_node *old,
		const struct umbra_node *new, struct umbra_error *err)
{
	enum umbra_change change = !old ? UMBRA_ADDED : !new ? UMBRA_REMOVED : UMBRA_CHANGED;
	int differs = 0, r = 0;

	if (beyond(d->from, path, new) || beyond(d->to, path, old))
		return 0;
	if (old && new) {
		differs = umbra_compare(old, new, d->how, path, &d->why);
		if (differs < 0)
			return warned(d, differs, err);
	}
	if (!old || !new || differs)
		r = d->change(d, change, path, old, new, differs, err);
	if (r < 0 || (!is_dir(old) && !is_dir(new)))
		return r;
	return directories(d, path, is_dir(old) ? old : NULL, is_dir(new) ? new : NULL, err);
}

int umbra_difference_walk(struct umbra_difference *d, const char *path, struct umbra_error *err)
{
	_cleanup_node_ struct umbra_node old = UMBRA_NODE_NONE;
	_cleanup_node_ struct umbra_node new = UMBRA_NODE_NONE;
	int r = umbra_view_find(d->from, path, &old, err);

	if (r >= 0)
		r = umbra_view_find(d->to, path, &new, err);
	if (r < 0)
		return r;
	if (old.fd < 0 && new.fd < 0)
		return 0;
	old.mount = new.mount = false; /* asked for by name */
	r = pair(d, path, old.fd < 0 ? NULL : &old, new.fd < 0 ? NULL : &new, err);
	return r < 0 ? r : 1;
}
