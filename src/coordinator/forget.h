/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "coordinator/session.h"

/*
 * Gives up sets that could not be undone or deleted: what still can be is, the rest is noted as
 * forgotten (snapshot/forgotten.h) and said in a warning. A set that nobody tried to delete is
 * refused, before anything is done. forgotten: array to which the ids of those sets are added of
 * which something is left.
 */
int umbra_forget(struct umbra_session *s, const char *const *ids, size_t n, json_t *forgotten,
		 struct umbra_error *err);
