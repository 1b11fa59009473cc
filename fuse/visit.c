/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fuse/visit.h"

#include <string.h>
#include <unistd.h>

#include "fuse/nodeid.h"

int umbra_visit_begin(struct umbra_tree *tree, uint64_t id, struct umbra_visit *v)
{
	struct umbra_inode *inode = umbra_inodes_get(tree->inodes, id);
	int r;

	*v = (struct umbra_visit){.tree = tree};
	if (!inode)
		return -ESTALE;
	if (inode->member) {
		r = umbra_copy_enter(&inode->member->copy, &v->root);
		if (r < 0) {
			umbra_inodes_put(tree->inodes, inode);
			return r;
		}
	}
	v->inode = inode;
	return 0;
}

void umbra_visit_end(struct umbra_visit *v)
{
	if (!v->inode)
		return;
	if (v->root)
		umbra_copy_leave(&v->inode->member->copy);
	umbra_inodes_put(v->tree->inodes, v->inode);
}

/* handle NULL: name in dirfd. */
static int open_once(const struct umbra_visit *v, int dirfd, const char *name, const void *handle,
		     int flags)
{
	int fd;

	flags |= O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
	fd = handle ? open_by_handle_at(v->root->mount_fd, (struct file_handle *)handle, flags)
		    : openat(dirfd, name, flags);
	return fd < 0 ? -errno : fd;
}

/* Reading must not change the access time of a copy, where we may prevent it. */
static int open_any(const struct umbra_visit *v, int dirfd, const char *name, const void *handle,
		    int flags)
{
	int quiet = flags & O_PATH ? 0 : O_NOATIME;
	int r = open_once(v, dirfd, name, handle, flags | quiet);

	if (r == -EPERM && quiet)
		r = open_once(v, dirfd, name, handle, flags);
	if (r != -EMFILE && r != -ENFILE)
		return r;
	umbra_fds_drop(v->tree->fds, -1);
	umbra_streams_drop(v->tree->streams, -1);
	umbra_copies_close_idle(&v->tree->copies, 0);
	return open_once(v, dirfd, name, handle, flags);
}

static int verify(const struct umbra_inode *inode, int fd)
{
	uint64_t number;
	struct stat st;

	if (fstatat(fd, "", &st, AT_EMPTY_PATH) < 0)
		return -errno;
	number = umbra_copy_number(&inode->member->copy, &st,
				   umbra_nodeid_number(inode->parent->id), umbra_inode_data(inode));
	return number == umbra_nodeid_number(inode->id) && S_ISDIR(st.st_mode) == inode->dir
		       ? 0
		       : -ESTALE;
}

static int open_in(const struct umbra_visit *v, const struct umbra_dirfd *parent,
		   const struct umbra_inode *inode, int flags)
{
	_cleanup_close_ int fd = open_any(v, parent->fd, umbra_inode_data(inode), NULL, flags);
	int r;

	if (fd < 0) /* a copy never changes: what was there and is not is a damaged copy */
		return fd == -ENOENT || fd == -ENOTDIR || fd == -ELOOP ? -ESTALE : fd;
	r = verify(inode, fd);
	return r < 0 ? r : TAKE_FD(fd);
}

static int hold(const struct umbra_visit *v, uint64_t id, int fd, struct umbra_dirfd *out)
{
	struct umbra_fd *held;

	if (fd < 0)
		return fd;
	held = umbra_fds_add(v->tree->fds, id, fd);
	if (!held)
		return -ENOMEM;
	*out = (struct umbra_dirfd){held->fd, held};
	return 0;
}

void umbra_dirfd_put(const struct umbra_visit *v, struct umbra_dirfd *d)
{
	umbra_fds_put(v->tree->fds, d->held);
	*d = (struct umbra_dirfd){-1, NULL};
}

/* The root directory, a cached descriptor, or a handle. 1: only by its path. */
static int dirfd_at_once(const struct umbra_visit *v, const struct umbra_inode *dir,
			 struct umbra_dirfd *out)
{
	struct umbra_fd *held;

	if (dir->kind == UMBRA_INODE_TOP) {
		*out = (struct umbra_dirfd){v->root->fd, NULL};
		return 0;
	}
	held = umbra_fds_get(v->tree->fds, dir->id);
	if (held) {
		*out = (struct umbra_dirfd){held->fd, held};
		return 0;
	}
	if (dir->kind != UMBRA_INODE_HANDLE)
		return 1;
	return hold(v, dir->id, open_any(v, -1, NULL, umbra_inode_data(dir), O_PATH | O_DIRECTORY),
		    out);
}

/* Down from the nearest directory that is at hand. Trees are deep: no recursion. */
int umbra_visit_dirfd(const struct umbra_visit *v, struct umbra_inode *dir, struct umbra_dirfd *out)
{
	_cleanup_free_ struct umbra_inode **way = NULL;
	struct umbra_dirfd at = {-1, NULL}, next;
	struct umbra_inode *i;
	size_t depth = 0, room = 0;
	void *more;
	int r;

	for (i = dir; (r = dirfd_at_once(v, i, &at)) > 0; i = i->parent) {
		if (depth == room) {
			room = room ? room * 2 : 16;
			more = reallocarray(way, room, sizeof(struct umbra_inode *));
			if (!more)
				return -ENOMEM;
			way = more;
		}
		way[depth++] = i;
	}
	while (r == 0 && depth > 0) {
		i = way[--depth];
		r = hold(v, i->id, open_in(v, &at, i, O_PATH | O_DIRECTORY), &next);
		umbra_dirfd_put(v, &at);
		if (r == 0)
			at = next;
	}
	if (r == 0)
		*out = at;
	return r;
}

int umbra_visit_open(const struct umbra_visit *v, int flags)
{
	struct umbra_dirfd parent;
	int r;

	switch (v->inode->kind) {
	case UMBRA_INODE_TOP:
		return open_any(v, v->root->fd, ".", NULL, flags | O_DIRECTORY);
	case UMBRA_INODE_HANDLE:
		return open_any(v, -1, NULL, umbra_inode_data(v->inode), flags);
	case UMBRA_INODE_PATH:
		r = umbra_visit_dirfd(v, v->inode->parent, &parent);
		if (r < 0)
			return r;
		r = open_in(v, &parent, v->inode, flags);
		umbra_dirfd_put(v, &parent);
		return r;
	default:
		return -EINVAL;
	}
}

int umbra_visit_ino(const struct umbra_visit *v, uint64_t *out)
{
	uint64_t number = umbra_nodeid_number(v->inode->id);
	_cleanup_close_ int fd = -1;
	struct stat st;

	if (number != UMBRA_NUMBER_TOP && !(number & UMBRA_NUMBER_MADE)) {
		*out = number;
		return 0;
	}
	fd = umbra_visit_open(v, O_PATH);
	if (fd < 0)
		return fd;
	if (fstatat(fd, "", &st, AT_EMPTY_PATH) < 0)
		return -errno;
	*out = st.st_ino;
	return 0;
}
