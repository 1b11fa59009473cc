/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * I/O to a suspended device-mapper device, and to a filesystem on it, waits in the kernel until
 * the device is resumed, and cannot be killed. So whoever is about to do some asks before.
 */
#pragma once

#include <sys/types.h>

#include "common/error.h"

/*
 * -EBUSY, with what to do, where this device is suspended and still is after limit_ms, which is
 * for those who are done with it soon, as a creation of ours is. 0: it is not, or is none of
 * device-mapper's.
 */
int umbra_refuse_suspended(dev_t dev, int limit_ms, struct umbra_error *err);
