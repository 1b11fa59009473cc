/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Provider dm: what its files share. */
#pragma once

#include "snapshot/provider.h"
#include "snapshot/provider/dm/volume/protected.h"

/* provider.c: UNSUPPORTED where part of the filesystem is on a device that no copy would have */
int umbra_dm_check_whole(const struct umbra_volume *volume, struct umbra_error *err);

/* create.c */
int umbra_dm_prepare(struct umbra_member *m, struct umbra_error *err);
int umbra_dm_lies_on(const struct umbra_member *m, const struct umbra_member *below,
		     struct umbra_error *err);
int umbra_dm_hold_member(struct umbra_member *m, struct umbra_error *err);
int umbra_dm_commit_member(struct umbra_member *m, struct umbra_error *err);
int umbra_dm_release_member(struct umbra_member *m, struct umbra_error *err);
int umbra_dm_finish(struct umbra_member *m, struct umbra_error *err);
int umbra_dm_abort(struct umbra_member *m, struct umbra_error *err);

/* remove.c */
int umbra_dm_remove_shadow(int state_fd, const struct umbra_shadow *shadow,
			   struct umbra_watch *watch, struct umbra_error *err);
/* read.c */
int umbra_dm_open_shadow(int state_fd, const struct umbra_shadow *shadow, struct umbra_root **out,
			 struct umbra_error *err);

/* usage.c */
int umbra_dm_usage(int state_fd, const struct umbra_shadow *shadow, int64_t *bytes,
		   struct umbra_error *err);

/* scan.c */
int umbra_dm_scan(int state_fd, const char *state_dir, umbra_scan_fn fn, void *arg,
		  struct umbra_error *err);
int umbra_dm_discard(int state_fd, const char *state_dir, const char *id, struct umbra_watch *watch,
		     struct umbra_error *err);

/* revert.c */
extern const struct umbra_revert_ops umbra_dm_revert_ops;

/* keep.c */
int umbra_dm_keep(int state_fd, struct umbra_error *err); /* snapshot/storage.h */

/* storage.c */
extern const struct umbra_storage_ops umbra_dm_storage;
/* The volume's diff area; where there is none yet one is made in the volume: 1. */
int umbra_dm_protect(struct umbra_member *m, struct umbra_protected **out, struct umbra_error *err);
