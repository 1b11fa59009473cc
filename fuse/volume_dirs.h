/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The volumes that sets have: one directory each. Safe for several threads. */
#pragma once

#include <pthread.h>
#include <stddef.h>

#include "fuse/numbers.h"

struct umbra_shown;

struct umbra_volume_dir {
	char *name;
	uint64_t id;
	size_t position; /* in the list: never changes */
	size_t live;     /* shown members; guarded by the list's lock */
};

struct umbra_volume_dirs {
	pthread_rwlock_t lock;       /* guards what follows */
	struct umbra_volume_dir **v; /* never taken away */
	size_t n;
};

void umbra_volume_dirs_init(struct umbra_volume_dirs *dirs);
void umbra_volume_dirs_finish(struct umbra_volume_dirs *dirs);

/* That of the volume at this path, made when there is none; NULL: out of memory. One caller at a
 * time. */
struct umbra_volume_dir *umbra_volume_dirs_add(struct umbra_volume_dirs *dirs,
					       struct umbra_numbers *made, const char *path);

/* One that some shown set has, or NULL. Valid as long as the list. */
struct umbra_volume_dir *umbra_volume_dirs_find(struct umbra_volume_dirs *dirs, const char *name);
/* The first such at this position or later. */
struct umbra_volume_dir *umbra_volume_dirs_at(struct umbra_volume_dirs *dirs, size_t position);

/* How many members each has in these sets, by position; free it. NULL: out of memory. */
size_t *umbra_volume_dirs_count(const struct umbra_volume_dirs *dirs,
				struct umbra_shown *const *sets, size_t n);
/* These are shown now, each so often. */
void umbra_volume_dirs_show(struct umbra_volume_dirs *dirs, const size_t *live);
