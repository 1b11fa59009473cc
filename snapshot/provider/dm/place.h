/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Where a diff area may be. */
#pragma once

#include <sys/types.h>

#include "common/error.h"

/* May a file in this directory be one? UNSUPPORTED: on a filesystem that moves its files' blocks
 * (btrfs, f2fs), has none (tmpfs), or is another machine's. place is for the message. */
int umbra_place_filesystem(int dirfd, const char *place, struct umbra_error *err);

/* May this file, whose blocks are written below the filesystem? Not one of XFS's realtime device:
 * its blocks are on another device than the volume. */
int umbra_place_file(int fd, const char *place, struct umbra_error *err);

/*
 * Does what is written to dev come to `below` at last: through partitions, device-mapper, RAID, and
 * files that are loop devices (sysfs)? 1, 0 or a negative errno. A diff area must not: each first
 * write to the volume would wait for another one.
 */
int umbra_place_lies_on(dev_t dev, dev_t below);
