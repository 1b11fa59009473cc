/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Volumes: what a path lies on, by libmount and libblkid. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "common/error.h"
#include "common/util.h"

/* Strings are owned, absolute paths of bytes; NULL where unknown. */
struct umbra_volume {
	char *path;   /* the root of what is copied: a directory, a subvolume, a mount point */
	char *mount;  /* the mount point that path lies on */
	char *fstype; /* "ext4", "btrfs", … */
	char *source; /* "/dev/mapper/vg-home", … */
	char *root;   /* which directory of the filesystem is mounted at mount: "/", "/@home" */
	char *uuid;   /* of the filesystem */
	dev_t dev;    /* st_dev of path */
	bool read_only;
};

struct umbra_volume *umbra_volume_free(struct umbra_volume *v);
UMBRA_DEFINE_CLEANUP(struct umbra_volume *, volume, umbra_volume_free)
#define _cleanup_volume_ _cleanup_(umbra_cleanup_volume)

struct umbra_volume *umbra_volume_dup(const struct umbra_volume *v, const char *path);

/*
 * What the directory path lies on; volume->path is its real path. Refused with a reason:
 * a path that does not exist or is not a directory, pseudo and FUSE filesystems.
 */
int umbra_volume_resolve(const char *path, struct umbra_volume **out, struct umbra_error *err);

/* Is a whole filesystem mounted at path (absolute), not only a directory of it? Its device, of
 * which nothing is read, so that one that is held keeps nobody waiting. */
bool umbra_volume_whole_at(const char *path, dev_t *device);

struct umbra_volume_list {
	struct umbra_volume **v;
	size_t n;
};
void umbra_volume_list_finish(struct umbra_volume_list *list);
#define _cleanup_volume_list_ _cleanup_(umbra_volume_list_finish)

/* Takes v, also on failure. */
int umbra_volume_list_add(struct umbra_volume_list *list, struct umbra_volume *v);

/* Every mounted filesystem that could be copied (no pseudo, no FUSE), in mount order. */
int umbra_volume_list_mounted(struct umbra_volume_list *out, struct umbra_error *err);

/*
 * Mount points strictly below path, of any kind, visible ones only, sorted. usable says whether
 * umbra_volume_resolve() would take it.
 */
struct umbra_mount_below {
	char *path;
	char *fstype;
	char *source; /* or NULL */
	bool usable;
};
int umbra_volume_mounts_below(const char *path, struct umbra_mount_below **out, size_t *n,
			      struct umbra_error *err);
void umbra_mounts_below_free(struct umbra_mount_below *m, size_t n);

/* "/srv/da-ta" -> "srv-da\x2dta", "/" -> "-": as systemd-escape --path; one name for one path.
 * A result over 200 bytes is cut and ends in a hash of the path. The caller frees; NULL: memory. */
char *umbra_volume_name(const char *path);
