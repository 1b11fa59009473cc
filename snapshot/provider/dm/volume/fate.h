/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Whether a copy can be read, and why not, for all who tell people. */
#pragma once

#include "snapshot/provider.h"
#include "snapshot/provider/dm/volume/protected.h"

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
/* LOST: the area can never be used again. Not because copies in it are: one that is made now would
 * not be. */
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
