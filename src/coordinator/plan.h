/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Step 1 of a set: from what the requester named to the volumes and their providers. */
#pragma once

#include "coordinator/session.h"

struct umbra_plan {
	struct umbra_plan_item {
		struct umbra_volume *volume;
		const struct umbra_provider *provider;
	} * items; /* sorted by path; no path twice */
	size_t n;
};

void umbra_plan_finish(struct umbra_plan *plan);
#define _cleanup_plan_ _cleanup_(umbra_plan_finish)

struct umbra_plan_request {
	const char *const *paths; /* absolute */
	size_t n_paths;
	const char *provider; /* NULL: the best for each */
	bool recursive;
};

/* Volumes that are left out on purpose are named as warnings of the session. */
int umbra_plan_make(struct umbra_session *s, const struct umbra_plan_request *request,
		    struct umbra_plan *out, struct umbra_error *err);

/* Mounts below the volume that no item covers become notes of shadow and a warning. */
int umbra_plan_note_uncovered(struct umbra_session *s, const struct umbra_plan *plan,
			      struct umbra_shadow *shadow, struct umbra_error *err);

/*
 * Goes from "/" to shadow->path, which has no links, and fills in shadow->above from the
 * directories on the way. *fd_out (O_PATH): where that led. Only what is reached through it lies
 * below what was recorded: who owns a directory on the way can put another one there at any time.
 */
int umbra_plan_record_above(struct umbra_shadow *shadow, int *fd_out, struct umbra_error *err);
