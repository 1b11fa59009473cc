/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* After a start of the machine: volumes with block copies get their layer back. */
#pragma once

#include "coordinator/session.h"

/* wait_s: negative: what is not there is left out. As umbra_coordinator_activate(): "areas" and
 * "lost" into result. The session needs no lock. */
int umbra_activate(struct umbra_session *s, bool early, int wait_s, json_t *result,
		   struct umbra_error *err);
