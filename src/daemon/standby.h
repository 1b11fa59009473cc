/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A second umbrad beside the one at work. Writers may be waiting for that one, so
 *
 * - when it dies the second takes its place, with everything that it had open, at once;
 * - when it makes no step it is killed, and then the same; sooner when writers wait;
 * - when writers have waited for so long that there is no time for anything better, the second lets
 *   them go on (umbra_storage_ops.let_go): so also when somebody else keeps the lock of the volume,
 *   or the first cannot be killed because it waits for the very volume that waits for it;
 * - when it makes no step for two seconds the second releases what others left held, as the first
 *   may be waiting for that.
 *
 * The first sees to it that there is a second, and that it is not stopped. When one of them is
 * killed while the other is stopped, that one goes on by itself (awake.h). The second calls itself
 * umbra-standby, so that who kills the first by name leaves it alone.
 */
#pragma once

#include <stdint.h>

#include "common/util.h"

struct umbra_standby;

/* NULL: no memory. */
struct umbra_standby *umbra_standby_new(void);
/* Ends the second. */
struct umbra_standby *umbra_standby_free(struct umbra_standby *s);

/* The first is not stuck. */
void umbra_standby_step(struct umbra_standby *s);

/* Starts one when there is none. Returns twice: in the first at once; in the second when it has
 * taken the first one's place. Whoever calls has nothing open that must not be open twice. */
void umbra_standby_keep(struct umbra_standby *s);
