/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reverting whole volumes on behalf of a requester. */
#pragma once

#include "coordinator/session.h"

/*
 * request: {"path":…,"set":ID[,"force":B][,"unmount":B]}; path is a volume of the set, as the set
 * has it, or its block device. The session has begun; its lock is given back while the volume is
 * written. Puts path, bytes, resumed and given_up (ids of sets) into result.
 */
int umbra_revert_serve(struct umbra_session *s, const json_t *request, json_t *result,
		       struct umbra_error *err);

/* May the set be deleted? -EBUSY: a volume is being reverted to a copy of it. */
int umbra_revert_permits(struct umbra_session *s, const struct umbra_set *set,
			 struct umbra_error *err);
