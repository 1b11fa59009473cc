/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * STATE/dm/<uuid>.json: which volume has which diff area, so that it is found before anything is
 * mounted. {"version":1,"volume":{"name","uuid"},"path","area":{…}}: volume is device-mapper's name
 * and uuid; path where it was mounted when the area was made, for people; area is
 * umbra_area_record()'s; "lost", why its copies are, and "deleted", ids of copies that are gone for
 * good, only as long as the area could not be told.
 */
#pragma once

#include <sys/stat.h>

#include "common/doc.h"
#include "common/id.h"

struct umbra_dm_state {
	struct umbra_id area;
	char *name; /* of the volume's device */
	char *uuid; /* its dm uuid, "" when it has none: then its name counts */
	char *path;
	json_t *place; /* the area's record */
	char *lost;    /* why its copies are, which could not be written to the area yet; or NULL */
	json_t *deleted; /* of which the area does not know it yet; or NULL */
};

void umbra_dm_state_finish(struct umbra_dm_state *s);
#define _cleanup_dm_state_ _cleanup_(umbra_dm_state_finish)

/* -ENOENT: there is none. */
int umbra_dm_state_read(int state_fd, const char *area, struct umbra_dm_state *out,
			struct umbra_error *err);
/* Durable. -EBUSY: the state directory is frozen, and who writes there would wait for a thaw, with
 * the volume's lock. */
int umbra_dm_state_write(int state_fd, const struct umbra_dm_state *s, struct umbra_error *err);
int umbra_dm_state_remove(int state_fd, const char *area, struct umbra_error *err);

/*
 * STATE/dm/<uuid>.seen: how far, at least, the pool of an area had come (its generation). One that
 * has not is an old copy of the area, and what it says is not so any more, unless the volume is as
 * old. Overwritten in place: a number of fixed length. 0: nothing is known.
 */
uint64_t umbra_dm_state_seen(int state_fd, const char *area);
/* Durable. Never under the volume's lock: the state directory may lie on that volume. */
int umbra_dm_state_saw(int state_fd, const char *area, uint64_t generation,
		       struct umbra_error *err);

/* Of the directory that they are in: changed when there are more or fewer. -ENOENT: there are none.
 */
int umbra_dm_state_stat(int state_fd, struct stat *out);

/* Calls fn for each; what cannot be read is logged and left out. A result other than 0 ends it. */
int umbra_dm_state_each(int state_fd, int (*fn)(const struct umbra_dm_state *s, void *arg),
			void *arg, struct umbra_error *err);
