/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The third way to release what is held, when its holder and its guards cannot: reads the files of
 * held.h and resumes their devices. For whoever comes next: the next umbra, `umbra check --thaw`,
 * a service that has ended.
 */
#pragma once

#include <stdbool.h>

#include "common/error.h"

/* Told of each thing as a sentence. problem: it could not be put right. */
typedef void (*umbra_thaw_fn)(void *arg, bool problem, const char *sentence);

/*
 * Releases every hold whose holder and guards are gone, or that is over its time; one that goes on
 * as it should is left alone. Touches no held filesystem and no state directory, and does not wait
 * for a device whose resume waits for a disk: that is a problem, and a process of its own stays at
 * it. How many devices were resumed; -EPERM: only root can.
 */
int umbra_thaw(umbra_thaw_fn tell, void *arg, struct umbra_error *err);
