/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Hard links among files that are restored: where the first name of each went. */
#pragma once

#include "snapshot/target.h"

/* Zero it to begin. */
struct umbra_relink {
	void *tree;
};

void umbra_relink_finish(struct umbra_relink *l);

/* Is live that first one? Also true when nothing is known. */
bool umbra_relink_agrees(const struct umbra_relink *l, const struct umbra_node *node,
			 const struct umbra_node *live);

/* name, whose full path is path, is node's first name now. Without memory it is forgotten. */
void umbra_relink_remember(struct umbra_relink *l, const struct umbra_node *node,
			   const struct umbra_target *dir, const char *name, const char *path);

/* Makes name in dir another name of the first one; old as in umbra_target_commit(). 0, or -errno
 * when the file must be made anew. */
int umbra_relink_put(const struct umbra_relink *l, const struct umbra_node *node,
		     const struct umbra_target *dir, const char *name, bool old);
