/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * btrfs as the rest of umbra sees it: libbtrfsutil and a few ioctls behind plain types. Nothing
 * here knows shadow copies. Descriptors are ordinary ones (not O_PATH) unless said otherwise.
 * Functions return 0 or -errno.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/id.h"

#define UMBRA_BTRFS_TOP_ID    5 /* the subvolume that every other one is nested in */
#define UMBRA_BTRFS_LABEL_MAX 256
#define UMBRA_BTRFS_PATH_MAX  1024

struct umbra_btrfs_filesystem {
	struct umbra_id uuid;
	char label[UMBRA_BTRFS_LABEL_MAX]; /* bytes; "" when it has none */
	uint64_t last_device;              /* highest device id */
};

struct umbra_btrfs_subvolume {
	uint64_t id;
	uint64_t born; /* the transaction that made it */
	struct umbra_id uuid;
	bool is_snapshot;
	bool read_only;
};

/* Any descriptor, O_PATH too: does it lie on btrfs? is it the root directory of a subvolume? */
bool umbra_btrfs_is(int fd);
bool umbra_btrfs_is_subvolume(int fd);

/* May this process ask for what only CAP_SYS_ADMIN of the first user namespace may? */
int umbra_btrfs_privileged(int fd);

int umbra_btrfs_filesystem(int fd, struct umbra_btrfs_filesystem *out);

/* The path of device *id, or of the next one after it that is not missing; *id is set to it.
 * Start with 1. -ENODEV: there are no more. */
int umbra_btrfs_device(int fd, const struct umbra_btrfs_filesystem *fs, uint64_t *id,
		       char path[UMBRA_BTRFS_PATH_MAX]);

/* The subvolume that fd lies in. */
int umbra_btrfs_subvolume(int fd, struct umbra_btrfs_subvolume *out);

/* Its path below the filesystem's top level, without leading slash. The caller frees *out. */
int umbra_btrfs_subvolume_path(int fd, char **out);

struct umbra_btrfs_nested {
	struct umbra_btrfs_subvolume subvolume;
	char *path; /* below the subvolume that was asked about */
};

struct umbra_btrfs_nested_list {
	struct umbra_btrfs_nested *v;
	size_t n;
};

/* All subvolumes nested in the one that fd lies in, at any depth, sorted so that everything
 * below a directory follows it. */
int umbra_btrfs_nested(int fd, struct umbra_btrfs_nested_list *out);
void umbra_btrfs_nested_finish(struct umbra_btrfs_nested_list *list);
#define _cleanup_btrfs_nested_ _cleanup_(umbra_btrfs_nested_finish)

/*
 * Makes a read-only snapshot of the subvolume source, named name in the directory dir: one ioctl,
 * no allocation. It commits a transaction, so everything made before on that filesystem is
 * durable with it. On a frozen filesystem it does not return.
 */
int umbra_btrfs_snapshot(int source, int dir, const char *name);

/* -ENOTEMPTY: there are subvolumes nested in it. Not durable before umbra_btrfs_commit(). */
int umbra_btrfs_delete(int dir, const char *name);

/* Makes all that was done to directories and subvolumes durable, without writing file data. */
int umbra_btrfs_commit(int fd);
