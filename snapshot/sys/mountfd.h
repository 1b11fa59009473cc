/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Detached mounts: a filesystem that is mounted for this process alone and is in no mount table
 * (fsopen(2), fsconfig(2), fsmount(2); Linux 5.2). Always nosuid and nodev. It is there as long
 * as one of its descriptors is open.
 */
#pragma once

#include "common/error.h"

struct umbra_mount_option {
	const char *key;   /* NULL ends a list */
	const char *value; /* NULL: a flag */
};

enum umbra_mountfd_mode { UMBRA_MOUNTFD_READ, UMBRA_MOUNTFD_WRITE };

/* Has the kernel the mount API and this filesystem, and may this process use them? */
int umbra_mountfd_available(const char *fstype, struct umbra_error *err);

/*
 * *mount_fd: the mount (O_PATH). *root_fd: its root, an ordinary descriptor, as
 * open_by_handle_at(2) needs one. The superblock is always asked for read-only: one that is
 * already mounted somewhere stays exactly as it is, and mode decides about this mount alone.
 */
int umbra_mountfd_open(const char *fstype, const char *source,
		       const struct umbra_mount_option *options, enum umbra_mountfd_mode mode,
		       int *mount_fd, int *root_fd, struct umbra_error *err);

/*
 * The tree below directory fd once more, as a mount of its own: read-only, nosuid, nodev, and
 * reading changes no access times (open_tree(2), mount_setattr(2); Linux 5.12). What is mounted in
 * the tree is not in it. 0; 1: not for this process, on this kernel, or of this directory; or, out
 * of descriptors or memory, a negative errno.
 */
int umbra_mountfd_clone(int fd, int *mount_fd, int *root_fd);
