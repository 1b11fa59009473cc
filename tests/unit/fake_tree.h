/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A tree over a real catalog whose copies are plain directories. */
#pragma once

#include "fuse/tree.h"
#include "place.h"

/* Its state directory lies in the place. */
void fake_tree_begin(void);
void fake_tree_end(void);
const char *fake_tree_state(void);

/* How its copies behave when they are opened; set before or while the tree is used. */
struct fake_tree {
	bool no_handles;
	const char *hidden;
	uint64_t unreadable;       /* this inode number's content is not in the copy */
	bool broken;               /* opening fails */
	unsigned int open_ms;      /* how long opening takes */
	unsigned int opened, open; /* how often; how many are now */
};
extern struct fake_tree fake_tree;

/* paths: "/srv", "/srv/data", …, NULL. Each above is 0755 root. State CREATED. Borrowed until
 * fake_tree_end(). */
struct umbra_set *fake_tree_set(int64_t time, ...) __attribute__((sentinel));
/* One member, with seq and index of that set, which was removed: as after a rebuild. */
struct umbra_set *fake_tree_set_like(const struct umbra_set *removed, int64_t time,
				     const char *path);
/* Writes a set again that was changed. */
void fake_tree_update_set(struct umbra_set *set);
/* Marks it DELETING, or takes it out of the catalog. */
void fake_tree_mark(struct umbra_set *set);
void fake_tree_remove(struct umbra_set *set);

/* sh -c in the directory of a copy; must succeed. */
void fake_tree_run(const struct umbra_set *set, size_t member, const char *command);

/* Skips the test where this user cannot open by file handle. */
void fake_tree_need_handles(void);

struct umbra_tree *fake_tree_new(bool paths, size_t max_fds);

/* Looks up a path of names below the root, "" for the root itself; all of them stay told. */
int fake_tree_walk(struct umbra_tree *tree, const char *path, struct umbra_entry *out);

/* "name name …", in the order of the listing, read in answers of so many entries each. */
char *fake_tree_names(struct umbra_tree *tree, uint64_t id, size_t at_once);
