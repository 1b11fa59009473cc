/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* May a tree be mounted here? */
#pragma once

#include <sys/types.h>

#include "common/util.h"

/*
 * Looks at a directory before a tree of state_dir (absolute, real) is mounted on it. Refused,
 * with the reason: what does not exist, is no directory, is a mount point already, lies in or
 * above the state directory or in another tree, has mounts below it, and what has files, unless
 * nonempty says that they may be hidden. The place of an
 * automount is mounted on, and not looked into. A tree there whose daemon has died is taken
 * away first. *real: the directory without symbolic links; free it.
 */
int umbra_mountpoint_check(const char *dir, const char *state_dir, bool nonempty, char **real,
			   struct umbra_error *err);

/* The device number of what is mounted on path, on top, without a look at it. 0: nothing, or not
 * known. */
dev_t umbra_mountpoint_device(const char *path);

/* Is all there that mounting with FUSE needs? */
int umbra_mountpoint_fuse(struct umbra_error *err);
