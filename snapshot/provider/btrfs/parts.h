/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The functions of provider btrfs (provider.c has the table) and what they share. */
#pragma once

#include "snapshot/provider.h"
#include "snapshot/provider/btrfs/store.h"

/* members.c: which subvolumes a set is made of */
int umbra_btrfs_resolve(const struct umbra_volume *asked, struct umbra_volume_list *out,
			struct umbra_error *err);

/* The subvolume that holds volume->path: its root directory as mounted, and a descriptor. */
int umbra_btrfs_root_of(const struct umbra_volume *volume, char **path, int *fd_out,
			struct umbra_error *err);

/* Notes the subvolumes nested in the member's volume (fd) that the set has not: read-only
 * snapshots, covered ones, and those that were made between resolve() and the transaction
 * instant. */
int umbra_btrfs_note_uncovered(const struct umbra_member *m, int fd, uint64_t instant,
			       struct umbra_error *err);

/* create.c */
int umbra_btrfs_prepare(struct umbra_member *m, struct umbra_error *err);
int umbra_btrfs_commit_member(struct umbra_member *m, struct umbra_error *err);
int umbra_btrfs_finish(struct umbra_member *m, struct umbra_error *err);
int umbra_btrfs_abort(struct umbra_member *m, struct umbra_error *err);

/* remove.c */
int umbra_btrfs_remove(int state_fd, const struct umbra_shadow *shadow, struct umbra_watch *watch,
		       struct umbra_error *err);

/* Removes whatever there is of a copy, durably; nothing is fine. Its record goes first. Refuses a
 * snapshot that is not the one with this uuid (NULL: any). */
int umbra_btrfs_delete_copy(const struct umbra_btrfs_store *store, const struct umbra_id *shadow,
			    const char *uuid, struct umbra_error *err);

/* For a leftover of which nothing but its record in the catalog may be known. */
int umbra_btrfs_delete_leftover(const struct umbra_shadow *shadow, struct umbra_error *err);

/* read.c */
int umbra_btrfs_open(int state_fd, const struct umbra_shadow *shadow, struct umbra_root **out,
		     struct umbra_error *err);

/* scan.c */
int umbra_btrfs_scan(int state_fd, const char *state_dir, umbra_scan_fn fn, void *arg,
		     struct umbra_error *err);
int umbra_btrfs_discard(int state_fd, const char *state_dir, const char *id,
			struct umbra_watch *watch, struct umbra_error *err);

/* record.c: shadow->volume is "btrfs:FILESYSTEM/SUBVOLUME" (uuids); shadow->data has more. */
struct umbra_btrfs_record {
	char *filesystem;     /* uuid */
	char *label, *device; /* hints for people, may be NULL */
	const char *snapshot; /* uuid, NULL before commit; borrowed from shadow->data */
	uint64_t origin_id;   /* 0: not known */
};

/* Before the snapshot exists. */
int umbra_btrfs_record_origin(struct umbra_shadow *shadow, const struct umbra_btrfs_store *store,
			      const struct umbra_btrfs_subvolume *origin, struct umbra_error *err);
int umbra_btrfs_record_snapshot(struct umbra_shadow *shadow,
				const struct umbra_btrfs_subvolume *snapshot,
				struct umbra_error *err);

/* 0; 1: it does not say which filesystem. */
int umbra_btrfs_record_get(const struct umbra_shadow *shadow, struct umbra_btrfs_record *out,
			   struct umbra_error *err);
void umbra_btrfs_record_finish(struct umbra_btrfs_record *rec);
#define _cleanup_btrfs_record_ _cleanup_(umbra_btrfs_record_finish)
