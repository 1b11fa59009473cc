/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Where a diff area may be. */
#pragma once

#include <sys/types.h>

#include "common/error.h"

/*
 * Is an area there when umbra-activate.service needs it: at a start, when only the root filesystem
 * is mounted? Its record in the state directory, and it itself, when place is a file or will be one
 * (NULL: it is inside). UNSUPPORTED: it is not. Other state directories than the system's are
 * activated by who has them.
 */
int umbra_place_early(int state_fd, const char *place, struct umbra_error *err);

/* May a file in this directory be one? UNSUPPORTED: on a filesystem that moves its files' blocks
 * (btrfs, f2fs), has none (tmpfs), or is another machine's. place is for the message. */
int umbra_place_filesystem(int dirfd, const char *place, struct umbra_error *err);

/* May this file, whose blocks are written below the filesystem? Not one of XFS's realtime device:
 * its blocks are on another device than the volume. */
int umbra_place_file(int fd, const char *place, struct umbra_error *err);

/*
 * May an area on dev be that of the volume on origin? A copy has the logical blocks of the larger,
 * and a filesystem with smaller ones cannot be mounted from it.
 */
int umbra_place_blocks(dev_t dev, dev_t origin, const char *place, struct umbra_error *err);

/*
 * Does what is written to dev come to `below` at last: through partitions, device-mapper, RAID,
 * files that are loop devices (sysfs), and diff areas? 1, 0 or a negative errno. A diff area must
 * not: each first write to the volume would wait for another one.
 */
int umbra_place_lies_on(dev_t dev, dev_t below);
