/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Where the volumes of shadow copies are now, as far as their providers know it better than the
 * path that they had. */
#pragma once

#include "snapshot/snapshot.h"

/* Zero but for the state directory. What was asked last is kept: the next is mostly of the same. */
struct umbra_located {
	int state_fd;
	const char *volume; /* borrowed from the shadow that was asked for */
	int r;
	dev_t device;
};

/* The device of a copy's volume: 1; 0, known by its path only; -ENODEV: it is not there. */
int umbra_located_device(struct umbra_located *l, const struct umbra_shadow *shadow, dev_t *out);

/* The sets that a command is about which is given a PATH. */
struct umbra_scope {
	const char *path; /* borrowed; NULL: all sets */
	bool whole;       /* a whole volume is mounted there, from */
	dev_t device;
	struct umbra_located located;
};
void umbra_scope_init(struct umbra_scope *scope, int state_fd, const char *path);
/* Is it a block copy of the volume that is mounted there as a whole? */
bool umbra_scope_is_of(struct umbra_scope *scope, const struct umbra_shadow *shadow);
/* Does the set cover path? Block copies have the whole of their volume, so where that is mounted at
 * path they do, too, when they were made by another path, as that of a directory of it. */
bool umbra_scope_has(struct umbra_scope *scope, const struct umbra_set *set);

/* For who finds no copy of path: by which path copies of the volume that it lies on are known, if
 * there are any. NULL: by none. Borrowed from the list. */
const char *umbra_located_otherwise(int state_fd, const struct umbra_set_list *sets,
				    const char *path);
