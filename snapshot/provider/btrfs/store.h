/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where provider btrfs keeps its copies: in the top level of the copied filesystem itself.
 *
 * TOP/.umbra/			0700 root
 * TOP/.umbra/SHADOW/		one copy; flock()ed while it is made; has an attribute that says
 * whose TOP/.umbra/SHADOW/root	the read-only snapshot
 * TOP/.umbra/SHADOW/shadow.json	its record; a copy without one is unfinished
 *
 * The top level is reached through a detached mount, so that nothing of it shows in users' trees
 * and it does not matter which subvolume they have mounted. A filesystem that nobody has mounted
 * is never mounted by umbra.
 */
#pragma once

#include "common/util.h"
#include "snapshot/sys/btrfs.h"
#include "snapshot/sys/mountfd.h"

#define UMBRA_BTRFS_STORE ".umbra"
#define UMBRA_BTRFS_ROOT  "root"

/* One mount of one filesystem, shared by all users in this process. */
struct umbra_btrfs_store {
	struct umbra_btrfs_filesystem fs;
	enum umbra_mountfd_mode mode;
	char device[UMBRA_BTRFS_PATH_MAX]; /* that it was mounted by: a hint for people */
	char *seen_at;                     /* a directory on it that people can name, or NULL */
	int mount_fd;
	int top_fd;
	struct umbra_id synced;         /* the last set that umbra_btrfs_store_sync() was for */
	unsigned int users;             /* this and next: under the lock in store.c */
	struct umbra_btrfs_store *next; /* on the list of open stores */
};

/* The store of the mounted filesystem that fd lies on. */
int umbra_btrfs_store_at(int fd, enum umbra_mountfd_mode mode, struct umbra_btrfs_store **out,
			 struct umbra_error *err);

/*
 * The store of the filesystem with this uuid, if it is mounted. -ENODEV: it is not. Names for
 * the message, may be NULL: its label, and a device it was on.
 */
int umbra_btrfs_store_find(const char *uuid, const char *label, const char *device,
			   enum umbra_mountfd_mode mode, struct umbra_btrfs_store **out,
			   struct umbra_error *err);

struct umbra_btrfs_store *umbra_btrfs_store_unref(struct umbra_btrfs_store *store);
UMBRA_DEFINE_CLEANUP(struct umbra_btrfs_store *, btrfs_store, umbra_btrfs_store_unref)
#define _cleanup_btrfs_store_ _cleanup_(umbra_cleanup_btrfs_store)

/* Calls fn with the store of every mounted btrfs filesystem, once each. One that cannot be
 * reached is logged and left out. A result of fn other than 0 ends it and is returned. */
int umbra_btrfs_store_each(enum umbra_mountfd_mode mode,
			   int (*fn)(struct umbra_btrfs_store *store, void *arg,
				     struct umbra_error *err),
			   void *arg, struct umbra_error *err);

/* Writes out what is dirty, once a set, if it is much: it makes the snapshots that follow short. */
int umbra_btrfs_store_sync(struct umbra_btrfs_store *store, const struct umbra_id *set,
			   struct umbra_error *err);

/* -EBUSY: the filesystem is frozen, so that whatever changes it would not return. */
int umbra_btrfs_store_thawed(const struct umbra_btrfs_store *store, int limit_ms,
			     struct umbra_error *err);

/* The store's directory. 1: there is none. */
int umbra_btrfs_store_dir(const struct umbra_btrfs_store *store, int *fd_out,
			  struct umbra_error *err);

/*
 * The directory of a copy, made if it is missing, and the store's with it. A descriptor: until it
 * is closed the copy is in use. owner: the state directory whose it is.
 */
int umbra_btrfs_store_make(const struct umbra_btrfs_store *store, const struct umbra_id *shadow,
			   const char *owner, struct umbra_error *err);

enum umbra_btrfs_claim {
	UMBRA_BTRFS_OURS,    /* what has no record there is a leftover of ours */
	UMBRA_BTRFS_OTHERS,  /* another state directory's, or being made at the moment */
	UMBRA_BTRFS_UNKNOWN, /* it does not say whose: an older umbra made it */
};

/* Whose is the directory of a copy (dir)? Locked until dir is closed, unless it is OTHERS. */
enum umbra_btrfs_claim umbra_btrfs_store_claim(int dir, const char *owner);

/* Removes the store's directory when it is empty. */
void umbra_btrfs_store_tidy(const struct umbra_btrfs_store *store);

/* "btrfs filesystem UUID ('label', on /dev/sdb)" */
char *umbra_btrfs_store_title(const char *uuid, const char *label, const char *device);
