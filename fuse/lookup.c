/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>

#include "fuse/nodeid.h"
#include "fuse/visit.h"

static int tell(struct umbra_tree *tree, const struct umbra_inode *like, const void *data,
		struct umbra_entry *out)
{
	const struct umbra_shown *set = umbra_inode_set(like);

	out->id = like->id;
	out->generation = set ? set->generation : 0;
	return umbra_inodes_add(tree->inodes, like, data);
}

int umbra_tell_volume(struct umbra_tree *tree, struct umbra_volume_dir *volume,
		      struct umbra_entry *out)
{
	struct umbra_inode like = {.id = volume->id,
				   .kind = UMBRA_INODE_VOLUME,
				   .dir = true,
				   .volume = volume,
				   .up = UMBRA_NODE_BY_VOLUME};

	umbra_stat_plain(tree, volume->id, &out->st);
	return tell(tree, &like, NULL, out);
}

int umbra_tell_latest(struct umbra_tree *tree, struct umbra_shown *set, struct umbra_entry *out)
{
	struct umbra_inode like = {.id = set->latest,
				   .kind = UMBRA_INODE_LATEST,
				   .place = set->top,
				   .up = UMBRA_NODE_ROOT};

	umbra_stat_latest(set, &out->st);
	return tell(tree, &like, NULL, out);
}

static int tell_by_volume(struct umbra_tree *tree, struct umbra_entry *out)
{
	struct umbra_inode like = {.id = UMBRA_NODE_BY_VOLUME,
				   .kind = UMBRA_INODE_BY_VOLUME,
				   .dir = true,
				   .up = UMBRA_NODE_ROOT};

	umbra_stat_plain(tree, like.id, &out->st);
	return tell(tree, &like, NULL, out);
}

/* The root directory of a copy; place NULL: below by-volume. */
static int tell_top(struct umbra_tree *tree, struct umbra_member *m, struct umbra_place *place,
		    uint64_t up, struct umbra_entry *out)
{
	struct umbra_inode like = {.id = umbra_nodeid(place ? UMBRA_VIEW_SET : UMBRA_VIEW_VOLUME,
						      m->copy.shadow->index, UMBRA_NUMBER_TOP),
				   .kind = UMBRA_INODE_TOP,
				   .dir = true,
				   .member = m,
				   .place = place,
				   .up = up};
	const struct umbra_root *root;
	int r = umbra_copy_enter(&m->copy, &root);

	if (r < 0)
		return r;
	r = umbra_stat_top(root, m, like.id, &out->st);
	umbra_copy_leave(&m->copy);
	return r < 0 ? r : tell(tree, &like, NULL, out);
}

int umbra_tell_place(struct umbra_tree *tree, struct umbra_place *place, uint64_t up,
		     struct umbra_entry *out)
{
	struct umbra_inode like = {
		.id = place->id, .kind = UMBRA_INODE_PLACE, .dir = true, .place = place, .up = up};

	if (place->member)
		return tell_top(tree, place->member, place, up, out);
	umbra_stat_place(place, &out->st);
	return tell(tree, &like, NULL, out);
}

union handle {
	struct file_handle h;
	char space[sizeof(struct file_handle) + MAX_HANDLE_SZ];
};

/* How many bytes of *u are the handle; 0: it is reached by its name. */
static uint16_t get_handle(const struct umbra_copy *copy, int dirfd, const char *name,
			   union handle *u)
{
	int mount_id;

	if (!copy->handles)
		return 0;
	u->h.handle_bytes = MAX_HANDLE_SZ;
	if (name_to_handle_at(dirfd, name, &u->h, &mount_id, 0) < 0)
		return 0;
	return (uint16_t)(sizeof(struct file_handle) + u->h.handle_bytes);
}

/* What the store has under this name. place: what must be found below it, or NULL; -ENOTDIR where
 * it cannot be. */
static int tell_real(const struct umbra_visit *v, int dirfd, const char *name,
		     struct umbra_place *place, struct umbra_entry *out)
{
	struct umbra_member *m = v->inode->member;
	struct umbra_inode like = {.member = m, .place = place};
	const void *data = name;
	union handle u;
	uint64_t number;
	int r;

	if (fstatat(dirfd, name, &out->st, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT) < 0)
		return -errno;
	like.dir = S_ISDIR(out->st.st_mode);
	like.empty = umbra_copy_is_place(&m->copy, &out->st);
	if (place && (!like.dir || like.empty))
		return -ENOTDIR;
	if (like.dir && !like.empty && out->st.st_dev != m->copy.dev)
		return -EIO; /* somebody mounted something into the store */
	number = umbra_copy_number(&m->copy, &out->st, umbra_nodeid_number(v->inode->id), name);
	if (number == 0)
		return -ENOMEM;
	like.id = umbra_nodeid(umbra_nodeid_view(v->inode->id), m->copy.shadow->index, number);
	if (!like.empty)
		like.len = get_handle(&m->copy, dirfd, name, &u);
	if (like.len > 0) {
		like.kind = UMBRA_INODE_HANDLE;
		like.up = v->inode->id;
		data = &u;
	} else {
		like.kind = UMBRA_INODE_PATH;
		like.parent = v->inode;
		like.len = (uint16_t)(strlen(name) + 1);
	}
	r = umbra_stat_in_copy(v->root, like.id, &out->st);
	return r < 0 ? r : tell(v->tree, &like, data, out);
}

int umbra_tell_name(const struct umbra_visit *v, int dirfd, const char *name,
		    struct umbra_entry *out)
{
	struct umbra_place *place = NULL;
	int r;

	if (v->inode->kind == UMBRA_INODE_TOP && v->root->hidden &&
	    strcmp(name, v->root->hidden) == 0)
		return -ENOENT;
	if (v->inode->place)
		place = umbra_place_child(v->inode->place, name);
	if (place && place->member)
		return umbra_tell_place(v->tree, place, v->inode->id, out);
	r = tell_real(v, dirfd, name, place, out);
	/* On the way to another member: where this copy has no such directory we make one. */
	if (place && (r == -ENOENT || r == -ENOTDIR))
		return umbra_tell_place(v->tree, place, v->inode->id, out);
	return r;
}

static int lookup_root(struct umbra_tree *tree, const char *name, struct umbra_entry *out)
{
	struct umbra_shown *set;
	int r;

	if (strcmp(name, "by-volume") == 0)
		return tell_by_volume(tree, out);
	if (strcmp(name, "latest") == 0) {
		set = umbra_layout_latest(&tree->layout);
		r = set ? umbra_tell_latest(tree, set, out) : -ENOENT;
	} else {
		set = umbra_layout_set(&tree->layout, name);
		r = set ? umbra_tell_place(tree, set->top, UMBRA_NODE_ROOT, out) : -ENOENT;
	}
	umbra_shown_unref(set);
	return r;
}

static int lookup_by_volume(struct umbra_tree *tree, const char *name, struct umbra_entry *out)
{
	struct umbra_volume_dir *volume =
		umbra_volume_dirs_find(&tree->layout.source.volumes, name);

	return volume ? umbra_tell_volume(tree, volume, out) : -ENOENT;
}

static int lookup_volume(struct umbra_tree *tree, const struct umbra_volume_dir *volume,
			 const char *name, struct umbra_entry *out)
{
	struct umbra_shown *set = umbra_layout_set(&tree->layout, name);
	struct umbra_member *m = set ? umbra_shown_member(set, volume) : NULL;
	int r = m ? tell_top(tree, m, NULL, volume->id, out) : -ENOENT;

	umbra_shown_unref(set);
	return r;
}

static int lookup_real(const struct umbra_visit *v, const char *name, struct umbra_entry *out)
{
	struct umbra_dirfd d;
	int r = umbra_visit_dirfd(v, v->inode, &d);

	if (r < 0)
		return r;
	r = umbra_tell_name(v, d.fd, name, out);
	umbra_dirfd_put(v, &d);
	return r;
}

int umbra_tree_lookup(struct umbra_tree *tree, uint64_t parent, const char *name,
		      struct umbra_entry *out)
{
	_cleanup_visit_ struct umbra_visit v = {0};
	struct umbra_place *place;
	int r = umbra_visit_begin(tree, parent, &v);

	if (r < 0)
		return r;
	if (!v.inode->dir)
		return -ENOTDIR;
	if (!*name || strchr(name, '/') || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return -EINVAL;
	switch (v.inode->kind) {
	case UMBRA_INODE_ROOT:
		return lookup_root(tree, name, out);
	case UMBRA_INODE_BY_VOLUME:
		return lookup_by_volume(tree, name, out);
	case UMBRA_INODE_VOLUME:
		return lookup_volume(tree, v.inode->volume, name, out);
	case UMBRA_INODE_PLACE:
		place = umbra_place_child(v.inode->place, name);
		return place ? umbra_tell_place(tree, place, parent, out) : -ENOENT;
	default:
		return v.inode->empty ? -ENOENT : lookup_real(&v, name, out);
	}
}
