/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Where trees are mounted, as `umbra mount` and `umbra umount` see it. */
#pragma once

#include <libmount/libmount.h>

#include "common/error.h"

/* /run/umbra/shadows for root, $XDG_RUNTIME_DIR/umbra/shadows for others. Free it. */
int umbra_mountdir_default(char **out, struct umbra_error *err);

/* The table of mounts; mnt_unref_table() it. */
int umbra_mountdir_table(struct libmnt_table **out, struct umbra_error *err);
/* What is mounted on path, topmost, or NULL. */
struct libmnt_fs *umbra_mountdir_find(struct libmnt_table *tb, const char *path);
