/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Shadow copies as the tree uses them: opened when something below them is first wanted, shared
 * by all threads, closed when nobody has wanted anything for a while. Inodes stay valid over
 * that: they remember how to be reached, not descriptors.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>

#include "fuse/fds.h"
#include "fuse/numbers.h"
#include "fuse/streams.h"
#include "snapshot/snapshot.h"

/* Opens a copy; what umbra_engine_open_shadow() does, and tests replace. */
typedef int (*umbra_open_shadow_fn)(void *arg, const struct umbra_shadow *shadow,
				    struct umbra_root **out, struct umbra_error *err);

/* All copies of one tree: which are open, and how many may be. */
struct umbra_copies {
	umbra_open_shadow_fn open;
	void *arg;
	struct umbra_fds *fds; /* of things in copies; borrowed, as is the next */
	struct umbra_streams *streams;
	bool paths;           /* do as if no handles worked */
	size_t max;           /* open ones; more only while they are in use */
	pthread_mutex_t lock; /* guards what follows; taken after a copy's lock */
	struct umbra_copy *opened;
	size_t n_opened;
};

struct umbra_copy {
	struct umbra_copies *all;
	const struct umbra_shadow *shadow; /* borrowed */
	struct umbra_numbers numbers;

	pthread_mutex_t lock; /* guards what follows; held while the copy is being opened */
	pthread_cond_t unused;
	struct umbra_root *root;
	unsigned int users;
	bool dead, complained;
	int64_t used_us;
	uint64_t dev;    /* st_dev of the root directory, while open */
	bool subvolumes; /* btrfs: may show places of nested subvolumes */
	bool handles;
	struct umbra_copy *next, **at; /* in all->opened, under all->lock */
};

void umbra_copies_init(struct umbra_copies *all);
void umbra_copies_finish(struct umbra_copies *all);

/* Closes what nobody has used for this long. */
void umbra_copies_close_idle(struct umbra_copies *all, int64_t idle_us);
size_t umbra_copies_opened(struct umbra_copies *all);

void umbra_copy_init(struct umbra_copy *copy, struct umbra_copies *all,
		     const struct umbra_shadow *shadow);
void umbra_copy_finish(struct umbra_copy *copy);

/*
 * From here to umbra_copy_leave() the copy stays open. -EIO: it cannot be opened (why is logged,
 * once); -ESTALE: it is being deleted.
 */
int umbra_copy_enter(struct umbra_copy *copy, const struct umbra_root **out);
void umbra_copy_leave(struct umbra_copy *copy);

/* From here on umbra_copy_enter() fails. */
void umbra_copy_kill(struct umbra_copy *copy);

/* Waits until nobody uses a killed copy and closes all descriptors of it. -ETIMEDOUT. */
int umbra_copy_drain(struct umbra_copy *copy, int timeout_ms);

/*
 * The number of an inode of the copy: its own where that is unique, else one of ours. parent and
 * name tell places of nested subvolumes apart, which all have one inode number. 0: no memory.
 * Only while the copy is entered.
 */
uint64_t umbra_copy_number(struct umbra_copy *copy, const struct stat *st, uint64_t parent,
			   const char *name);

/* Is this the empty directory that btrfs shows in place of a nested subvolume? (Its device need
 * not be that of the copy.) */
bool umbra_copy_is_place(const struct umbra_copy *copy, const struct stat *st);
