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
/* Deletes a copy from the pool; 0 too when it is not there. Takes the layer out with the last. */
int umbra_dm_forget(struct umbra_protected *p, const struct umbra_id *id, struct umbra_error *err);
/* The same for good: where nothing may be written to the area now its record keeps it, so that
 * nobody is told of the copy again. */
int umbra_dm_delete(int state_fd, struct umbra_protected *p, const struct umbra_id *id,
		    struct umbra_error *err);
/* What the area's record s keeps of that goes out of the pool, and out of the record when the area
 * knows it. Before the pool is settled only where the area is certain. */
int umbra_dm_drop_deleted(int state_fd, struct umbra_protected *p, struct umbra_dm_state *s,
			  struct umbra_error *err);

/* The protected volume that a shadow copy is of; by its record, or, when that says nothing (a
 * leftover), by the pools. -ENOENT: in none. */
int umbra_dm_find(int state_fd, const struct umbra_shadow *shadow, struct umbra_protected **out,
		  struct umbra_error *err);

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

/* record.c: what a shadow copy's record says, and its slot in the area */
int umbra_dm_record_origin(struct umbra_member *m, const struct umbra_protected *p,
			   struct umbra_error *err);
int umbra_dm_record_write(struct umbra_protected *p, const struct umbra_pool *pool,
			  const struct umbra_member *m, struct umbra_error *err);

/* The same with a document of any length that fits; without a flush. */
int umbra_dm_record_put(struct umbra_protected *p, const struct umbra_pool_copy *copy,
			const json_t *doc, struct umbra_error *err);
int umbra_dm_record_read(const struct umbra_protected *p, const struct umbra_pool_copy *copy,
			 json_t **out, struct umbra_error *err);

/* fate.c */
/* Terms that reasons begin with. */
#define UMBRA_DM_AREA_DAMAGED "diff area damaged"
#define UMBRA_DM_AREA_REMOVED "diff area removed"

/* "term: why", cut to what there is room for. */
void umbra_dm_reason(char out[UMBRA_ERROR_MAX], const char *term, const char *why);

/* Keeps, where the lost copies of the pool are, why they are, for those of which it is not known
 * yet. Only to be told: a failure is none. */
void umbra_dm_lost_note(struct umbra_protected *p, const char *why);

/* What state is a copy, or a whole area, in, and why: all that people are told of it. */
struct umbra_dm_condition {
	enum umbra_condition kind;
	char why[UMBRA_ERROR_MAX]; /* as in a shadow (set.h); GOOD: "" */
};
/* The copy is KEPT or LOST. */
void umbra_dm_condition_of_copy(const struct umbra_protected *p, const struct umbra_pool_copy *copy,
				struct umbra_dm_condition *out);
/* Never LOST: a copy that is made now would not be. */
void umbra_dm_condition_of_area(const struct umbra_protected *p, struct umbra_dm_condition *out);
/* Of an area, and all in it, that could not be opened: opening it said r and cause. r, when that
 * says nothing about it. */
int umbra_dm_condition_of_closed(int state_fd, const char *area, int r,
				 const struct umbra_error *cause, struct umbra_dm_condition *out);
/* For who wants to use a copy that may be LOST: 0, or -EIO. */
int umbra_dm_refuse_lost(const struct umbra_protected *p, const struct umbra_pool_copy *copy,
			 struct umbra_error *err);
/* For who wants to use a volume that is reverted only in part: -EBUSY, with what to do. */
int umbra_dm_refuse_reverting(const struct umbra_protected *p, struct umbra_error *err);
int umbra_dm_fates(int state_fd, struct umbra_fate *fates, size_t n, struct umbra_error *err);

/* revert.c */
extern const struct umbra_revert_ops umbra_dm_revert_ops;

/* keep.c */
int umbra_dm_keep(int state_fd, struct umbra_error *err); /* snapshot/storage.h */

/* storage.c */
extern const struct umbra_storage_ops umbra_dm_storage;
/* The volume's diff area; where there is none yet one is made in the volume: 1. */
int umbra_dm_protect(struct umbra_member *m, struct umbra_protected **out, struct umbra_error *err);
/* All free segments to the live store. */
int umbra_dm_grant_all(struct umbra_protected *p, struct umbra_error *err);
