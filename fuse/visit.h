/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Inside the tree: one request at work on one inode, and how an inode's file is reached. */
#pragma once

#include <fcntl.h>

#include "fuse/inodes.h"
#include "fuse/streams.h"
#include "fuse/tree.h"

struct umbra_tree {
	char *state_dir;
	int state_fd; /* for statfs; or -1 */
	struct umbra_copies copies;
	struct umbra_layout layout;
	struct umbra_fds *fds;
	struct umbra_streams *streams;
	struct umbra_inodes *inodes;
	/* Deleted sets that were still read when they had to be closed; umbra_tree_update()'s. */
	struct umbra_shown **closing;
	size_t n_closing;
};

/* From begin to end the inode is known and its copy open. */
struct umbra_visit {
	struct umbra_tree *tree;
	struct umbra_inode *inode;
	const struct umbra_root *root; /* NULL: it lies in no copy */
};

int umbra_visit_begin(struct umbra_tree *tree, uint64_t id, struct umbra_visit *v);
/* Takes one that was not begun. */
void umbra_visit_end(struct umbra_visit *v);
#define _cleanup_visit_ _cleanup_(umbra_visit_end)

/* A directory of the visited copy, for *at() calls. */
struct umbra_dirfd {
	int fd;
	struct umbra_fd *held;
};
int umbra_visit_dirfd(const struct umbra_visit *v, struct umbra_inode *dir,
		      struct umbra_dirfd *out);
void umbra_dirfd_put(const struct umbra_visit *v, struct umbra_dirfd *d);

/* A new descriptor of what is visited; -ESTALE when it is something else by now. */
int umbra_visit_open(const struct umbra_visit *v, int flags);

/* Its inode number in the store. */
int umbra_visit_ino(const struct umbra_visit *v, uint64_t *out);

/* As umbra_tree_getattr(). */
int umbra_visit_stat(const struct umbra_visit *v, struct stat *out);

/* Attributes of what lies in no copy. */
void umbra_stat_place(const struct umbra_place *place, struct stat *out);
void umbra_stat_plain(struct umbra_tree *tree, uint64_t id, struct stat *out);
void umbra_stat_latest(const struct umbra_shown *set, struct stat *out);

/* Attributes of a copy's file, from what its store says. 0 or -EIO. */
int umbra_stat_in_copy(const struct umbra_root *root, uint64_t id, struct stat *st);
/* As above, of the root directory; protected as what lay above it was. */
int umbra_stat_top(const struct umbra_root *root, const struct umbra_member *m, uint64_t id,
		   struct stat *out);

/* Its user is told of a place, of a name in a real directory. */
int umbra_tell_place(struct umbra_tree *tree, struct umbra_place *place, uint64_t up,
		     struct umbra_entry *out);
int umbra_tell_volume(struct umbra_tree *tree, struct umbra_volume_dir *volume,
		      struct umbra_entry *out);
int umbra_tell_latest(struct umbra_tree *tree, struct umbra_shown *set, struct umbra_entry *out);
int umbra_tell_name(const struct umbra_visit *v, int dirfd, const char *name,
		    struct umbra_entry *out);
