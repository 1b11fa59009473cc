/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A walk over a directory tree by several threads: depth first, work shared by directory and by
 * batches of a directory's items, in memory that depends on the depth and on the largest
 * directories, not on the number of objects, and with a bounded number of descriptors whatever
 * the depth. What is done with each directory is the user's (struct umbra_walk_ops); everything
 * is reached relative to the parent directory's descriptors.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "common/error.h"

struct umbra_walk;

/* First member of the user's own struct for a directory. */
struct umbra_walk_dir {
	struct umbra_walk_dir *parent; /* NULL: the root */
	char *name;                    /* in parent; owned */
	unsigned int depth;

	/* Set by enter(): how much there is to do. */
	size_t items;   /* handed to items() in batches */
	size_t subdirs; /* handed to child() one by one */

	/* The walk's, under its lock. */
	size_t next_item, next_subdir;
	unsigned int refs;            /* itself until left, its children, users */
	unsigned int pending;         /* batches and children under way, 1 while on the stack */
	unsigned int pins;            /* descriptors are in use */
	bool open;                    /* descriptors are open */
	struct umbra_walk_dir *below; /* on the stack */
	struct umbra_walk_dir *newer, *older; /* among the open ones */
	struct umbra_walk_dir *prev, *next;   /* among all */
};

/* All calls may come from any thread, for different directories at once; a negative result ends
 * the walk with it. */
struct umbra_walk_ops {
	unsigned int fds; /* descriptors that one open directory has */

	/* Makes the struct for subdirectory i of parent (calloc; name set). NULL: no memory. */
	struct umbra_walk_dir *(*child)(struct umbra_walk *walk, struct umbra_walk_dir *parent,
					size_t i);

	/* First visit, parent's descriptors open (none for the root): opens dir's own and lists
	 * it. UMBRA_WALK_SKIP: there is nothing to walk and no descriptor is open. */
	int (*enter)(struct umbra_walk *walk, struct umbra_walk_dir *dir, struct umbra_error *err);

	/* Does items [from, to) of dir, descriptors open. */
	int (*items)(struct umbra_walk *walk, struct umbra_walk_dir *dir, size_t from, size_t to,
		     struct umbra_error *err);

	/* Everything below is done; dir's and its parent's descriptors are open. */
	int (*leave)(struct umbra_walk *walk, struct umbra_walk_dir *dir, struct umbra_error *err);

	/* Opens dir's descriptors again, parent's are open. Closes them. */
	int (*open)(struct umbra_walk *walk, struct umbra_walk_dir *dir, struct umbra_error *err);
	void (*shut)(struct umbra_walk_dir *dir);

	/* Frees what is the user's in dir, and dir. */
	void (*free)(struct umbra_walk_dir *dir);
};

#define UMBRA_WALK_SKIP    1
#define UMBRA_WALK_BATCH   64
#define UMBRA_WALK_TICK_MS 100

struct umbra_walk {
	const struct umbra_walk_ops *ops;

	/* Called in the thread that called umbra_walk_run(), every UMBRA_WALK_TICK_MS. */
	int (*tick)(struct umbra_walk *walk, struct umbra_error *err);

	atomic_bool stop; /* somebody failed: give up soon */

	pthread_mutex_t lock;
	pthread_cond_t more;     /* the stack is not empty, or it is over */
	pthread_cond_t finished; /* a thread ended */
	struct umbra_walk_dir *stack;
	struct umbra_walk_dir *newest, *oldest; /* open ones */
	struct umbra_walk_dir *all;
	size_t n_open, max_open;
	unsigned int threads; /* still running */
	bool over;            /* the root was left */
	int result;
	struct umbra_error err;
};

/*
 * Walks from root, whose struct the walk takes over; root's descriptors stay open during all of
 * it. Blocks until the walk is over and nothing is open any more. 0 or what failed first.
 */
int umbra_walk_run(struct umbra_walk *walk, struct umbra_walk_dir *root, struct umbra_error *err);

/*
 * Opens dir's descriptors if they are not, and keeps them open until umbra_walk_unpin(). The
 * caller must know that dir lives: it holds a reference or a pin below.
 */
int umbra_walk_pin(struct umbra_walk *walk, struct umbra_walk_dir *dir, struct umbra_error *err);
void umbra_walk_unpin(struct umbra_walk *walk, struct umbra_walk_dir *dir);

/* Keeps the struct (and those above it) beyond leave(). */
void umbra_walk_ref(struct umbra_walk *walk, struct umbra_walk_dir *dir);
void umbra_walk_unref(struct umbra_walk *walk, struct umbra_walk_dir *dir);
