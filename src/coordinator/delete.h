/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "coordinator/session.h"

/*
 * Deletes sets: all are marked in the catalog, mounted trees let go of them, then the copies go.
 * Stopped or killed half-way, the rest is deleted by the next start. An id that is not there is
 * an error before anything is done.
 */
int umbra_delete(struct umbra_session *s, const char *const *ids, size_t n,
		 struct umbra_error *err);
