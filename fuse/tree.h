/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The tree of all shadow copy sets as a file system, without FUSE: what ops.c asks on behalf of
 * the kernel, and unit tests ask directly. Node ids are st_ino (nodeid.h). All calls may be made
 * by several threads at once, except umbra_tree_update() and umbra_tree_close_idle() (one at a
 * time).
 *
 * Calls return 0 or a negative errno that can be given to the kernel as it is: -EIO for a copy
 * that cannot be opened, -ESTALE for one that was deleted.
 */
#pragma once

#include <sys/statvfs.h>

#include "snapshot/snapshot.h"

struct umbra_tree;

struct umbra_tree_options {
	const char *state_dir;
	bool paths;     /* reach inodes by path even where file handles work */
	size_t max_fds; /* descriptors to keep at hand; 0: by RLIMIT_NOFILE */
	/* How copies are opened; NULL: umbra_engine_open_shadow(). */
	int (*open)(void *arg, const struct umbra_shadow *shadow, struct umbra_root **out,
		    struct umbra_error *err);
	void *arg;
};

/* Reads the catalog. */
int umbra_tree_new(const struct umbra_tree_options *options, struct umbra_tree **out,
		   struct umbra_error *err);
struct umbra_tree *umbra_tree_free(struct umbra_tree *tree);
UMBRA_DEFINE_CLEANUP(struct umbra_tree *, tree, umbra_tree_free)
#define _cleanup_tree_ _cleanup_(umbra_cleanup_tree)

/* A node that its user is told of: he knows it once more, and gives that back with
 * umbra_tree_forget(). st.st_ino is the id. */
struct umbra_entry {
	uint64_t id;
	uint64_t generation;
	struct stat st;
};

int umbra_tree_lookup(struct umbra_tree *tree, uint64_t parent, const char *name,
		      struct umbra_entry *out);
void umbra_tree_forget(struct umbra_tree *tree, uint64_t id, uint64_t n);
int umbra_tree_getattr(struct umbra_tree *tree, uint64_t id, struct stat *out);
/* The length of the target, which is not terminated; cut at size. */
ssize_t umbra_tree_readlink(struct umbra_tree *tree, uint64_t id, char *out, size_t size);
int umbra_tree_statfs(struct umbra_tree *tree, uint64_t id, struct statvfs *out);

struct umbra_dirent {
	const char *name;
	uint64_t ino;
	unsigned char type; /* DT_DIR, … */
	int64_t next;       /* where a listing goes on after it */
	/* NULL when its attributes were not asked for, or would cost opening a copy, and for
	 * "." and "..". Else its user is told of it. */
	const struct umbra_entry *entry;
};

/* 0: taken; 1: no room, stop before this one (which he was then not told of). */
typedef int (*umbra_emit_fn)(void *arg, const struct umbra_dirent *entry);

/* From at (0: the beginning). */
int umbra_tree_list(struct umbra_tree *tree, uint64_t id, int64_t at, bool attributes,
		    umbra_emit_fn emit, void *arg);

/* A regular file's descriptor for reading, in use until umbra_tree_close(). */
struct umbra_file;
int umbra_tree_open(struct umbra_tree *tree, uint64_t id, struct umbra_file **out);
int umbra_file_fd(const struct umbra_file *file);
struct umbra_file *umbra_tree_close(struct umbra_file *file);

/* As getxattr(2) and listxattr(2): size 0 asks for the length. */
ssize_t umbra_tree_getxattr(struct umbra_tree *tree, uint64_t id, const char *name, void *out,
			    size_t size);
ssize_t umbra_tree_listxattr(struct umbra_tree *tree, uint64_t id, char *out, size_t size);

/* What the kernel must be told: name in parent came, went or became something else. child is
 * what went, else 0. */
typedef void (*umbra_notify_fn)(void *arg, uint64_t parent, const char *name, uint64_t child);

/*
 * Reads the catalog again. New sets can be looked up before notify is called; deleted ones can
 * not, and when this returns 0 no descriptor of theirs is open any more. -ETIMEDOUT: some
 * request still uses one after timeout_ms.
 */
int umbra_tree_update(struct umbra_tree *tree, umbra_notify_fn notify, void *arg, int timeout_ms,
		      struct umbra_error *err);

/* Closes copies that were not used for so long, and what was left of deleted ones; never at the
 * same time as umbra_tree_update(). */
void umbra_tree_close_idle(struct umbra_tree *tree, int64_t idle_us);

/* For tests and debugging. */
struct umbra_tree_usage {
	size_t inodes, fds, copies;
};
void umbra_tree_usage(struct umbra_tree *tree, struct umbra_tree_usage *out);
