/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Diff areas on behalf of a requester: which provider, which volume, and the report. */
#pragma once

#include "coordinator/session.h"

/*
 * request: {"verb":"list"|"add"|"resize"|"remove","path":…[,"place":…]["size":N|"percent":N]
 * ["force":B]};
 * path may be missing from list. The result gets "areas", an array of reports (snapshot/storage.h),
 * and of remove "deleted", [{"set","timestamp"},…]: the sets that went with the area. The session
 * has begun, but for list, which needs no more than the engine.
 */
int umbra_storage_serve(struct umbra_session *s, const json_t *request, json_t *result,
			struct umbra_error *err);

/* Changes of storage take the lock; looking does not. */
bool umbra_storage_changes(const json_t *request);

/* Before the lock is taken: -EBUSY when the request would change something on a filesystem that is
 * frozen: the volume's, or that of the diff area or of where it is to be. */
int umbra_storage_refuse_frozen(const json_t *request, struct umbra_error *err);

/* Has the volume that is mounted at path, but not now, a diff area? 1 or 0. Negative: mounting it
 * is not what it needs (-ENODEV: it is not there, -EBUSY: reverted only in part), with what is. */
int umbra_storage_of_unmounted(const struct umbra_session *s, const char *path,
			       struct umbra_error *err);
