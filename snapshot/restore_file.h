/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One thing that is not a directory, and attributes: the lower half of restore.c. */
#pragma once

#include "snapshot/restore.h"
#include "snapshot/target.h"

/* 0, or -ECANCELED. */
int umbra_restore_stopped(struct umbra_restore *r, struct umbra_error *err);

/* what: UMBRA_ATTRS_*. What could not be kept is counted in r. */
int umbra_restore_attrs(struct umbra_restore *r, const struct umbra_node *node, int fd,
			unsigned int what, const char *path, struct umbra_error *err);

/*
 * Makes the file whole under a temporary name, then gives it its own. path is dir and name, for
 * messages; old: something is replaced.
 */
int umbra_restore_put(struct umbra_restore *r, const struct umbra_node *node,
		      const struct umbra_target *dir, const char *name, const char *path, bool old,
		      struct umbra_error *err);
