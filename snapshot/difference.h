/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What was added, removed and changed between two views of one path. */
#pragma once

#include "snapshot/compare.h"

enum umbra_change { UMBRA_ADDED, UMBRA_REMOVED, UMBRA_CHANGED };

struct umbra_difference {
	struct umbra_view *from, *to;
	enum umbra_compare_how how;
	/*
	 * Called for each difference, in order of names, a directory before what is in it. old or
	 * new is NULL for what was added or removed; differs is the sum of UMBRA_DIFFERS_*, 0 then.
	 * Negative ends the walk with it.
	 */
	int (*change)(struct umbra_difference *d, enum umbra_change change, const char *path,
		      const struct umbra_node *old, const struct umbra_node *new, int differs,
		      struct umbra_error *err);
	/* Something could not be compared; the walk goes on. May be NULL. */
	void (*warn)(struct umbra_difference *d, const struct umbra_error *why);
	size_t failed; /* how often warn was, or would have been, called */

	unsigned int depth; /* private; zero at first */
	struct umbra_error why;
};

/*
 * Compares all at and below path, not beyond mounts of the live system that the set on the other
 * side does not cover. 1: path is on at least one side. 0: on none.
 */
int umbra_difference_walk(struct umbra_difference *d, const char *path, struct umbra_error *err);

/* "added", "removed", "changed" */
const char *umbra_change_name(enum umbra_change change);
