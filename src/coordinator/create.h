/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The creation of a set, step by step (umbra-design(7)). A table of steps runs in order; each is
 * timed; when one fails everything done so far is undone and the set is gone: all or nothing.
 */
#pragma once

#include "coordinator/plan.h"

/* *out: the CREATED set, full. */
int umbra_create(struct umbra_session *s, const struct umbra_plan_request *request,
		 const char *comment, struct umbra_set **out, struct umbra_error *err);
