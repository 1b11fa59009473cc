/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A tree seen by live paths: one set, its members stitched together where their volumes were, or
 * the live system itself. What versions, diff and restore read through. No symbolic link is ever
 * followed, and nothing depends on the length of a path. For one thread.
 */
#pragma once

#include "snapshot/engine.h"

/* How copies are opened: by an engine, or by something else in tests. An error names the set. */
struct umbra_opener {
	int (*open)(void *arg, const struct umbra_shadow *shadow, struct umbra_root **out,
		    struct umbra_error *err);
	void *arg;
	const char *state_dir; /* hidden in the live tree; may be NULL */
};

/* Borrows e. */
struct umbra_opener umbra_engine_opener(struct umbra_engine *e);

struct umbra_view;

/* Borrows set. Members are opened when they are needed. NULL: out of memory. */
struct umbra_view *umbra_view_of_set(const struct umbra_opener *opener,
				     const struct umbra_set *set);
struct umbra_view *umbra_view_live(const struct umbra_opener *opener);
struct umbra_view *umbra_view_free(struct umbra_view *view);
UMBRA_DEFINE_CLEANUP(struct umbra_view *, view, umbra_view_free)
#define _cleanup_view_ _cleanup_(umbra_cleanup_view)

/* NULL for the live tree. */
const struct umbra_set *umbra_view_set(const struct umbra_view *view);

/* Is path the root of one of the set's members? Never in the live tree. */
bool umbra_view_is_member(const struct umbra_view *view, const char *path);

/* One file of any type. Valid as long as its view. */
struct umbra_node {
	int fd;         /* O_PATH; -1: none */
	struct stat st; /* as the origin had it */
	dev_t dev;      /* where its data lies: the same dev and ino is the same data */
	uint64_t ino;
	bool mount;                    /* live tree: something is mounted here */
	const struct umbra_root *root; /* NULL: live */
};

void umbra_node_finish(struct umbra_node *node);
#define _cleanup_node_ _cleanup_(umbra_node_finish)
#define UMBRA_NODE_NONE                                                                            \
	{                                                                                          \
		.fd = -1                                                                           \
	}

/* 1: *out is what lies at path (absolute, clean). 0: nothing does, or no member covers it. */
int umbra_view_find(struct umbra_view *view, const char *path, struct umbra_node *out,
		    struct umbra_error *err);

/* The same one level below dir; path is the child's. */
int umbra_view_child(struct umbra_view *view, const struct umbra_node *dir, const char *path,
		     const char *name, struct umbra_node *out, struct umbra_error *err);

/* The names in a directory, sorted by bytes, without umbra's own store. */
struct umbra_names {
	char **names;
	size_t n;
};
void umbra_names_finish(struct umbra_names *names);
#define _cleanup_names_ _cleanup_(umbra_names_finish)
int umbra_view_names(const struct umbra_view *view, const struct umbra_node *dir, const char *path,
		     struct umbra_names *out, struct umbra_error *err);

/* The name in it that is umbra's own store and is not shown; NULL: none, or not a copy's root. */
const char *umbra_node_hidden(const struct umbra_node *dir);

/* A regular file whose content could not be read when the copy was made: it is not in the copy. */
bool umbra_node_is_unreadable(const struct umbra_node *node);

/* Is it a directory of a copy that could not be listed when the copy was made, so that it is empty?
 */
bool umbra_node_is_unlisted(const struct umbra_node *node);
/* The error for it: path in the view's set. Returns -EACCES. */
int umbra_view_unreadable(const struct umbra_view *view, const char *path, struct umbra_error *err);

/* Opens a regular file or directory for reading. A descriptor, or -errno (also when the content
 * is known not to be in the copy). */
int umbra_node_open(const struct umbra_node *node, int flags);

/* The target of a symbolic link; the caller frees *out. 0 or -errno. */
int umbra_node_readlink(const struct umbra_node *node, char **out);

/* "file", "directory", "symlink", "fifo", "socket", "char-device", "block-device". */
const char *umbra_type_name(mode_t mode);

/* Directories below each other that diff and restore go down; who needs more names one further
 * down. Keeps the stack, and the descriptors open at once, within what every system has. */
#define UMBRA_DEPTH_MAX 2000
int umbra_view_too_deep(const char *path, struct umbra_error *err);

/* dir + "/" + name; NULL: out of memory. */
char *umbra_path_join(const char *dir, const char *name);
