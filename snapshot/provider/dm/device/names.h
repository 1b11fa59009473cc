/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What our device-mapper devices are called. Those of one diff area have its uuid in theirs:
 * name "umbra-XXXXXXXXXXXX-ROLE" (12 digits of the uuid), dm uuid "UMBRA-<uuid of the area>-ROLE".
 */
#pragma once

#include "common/id.h"

#define UMBRA_DEVICE_NAME_MAX 64
#define UMBRA_DEVICE_UUID_MAX 80
#define UMBRA_DEVICE_PREFIX   "UMBRA-" /* of every dm uuid of ours */

struct umbra_device_name {
	char name[UMBRA_DEVICE_NAME_MAX];
	char uuid[UMBRA_DEVICE_UUID_MAX];
};

/* role: "real", "cow7", …; "" gives the prefix of all devices of the area. */
void umbra_device_name(const struct umbra_id *area, const char *role,
		       struct umbra_device_name *out);

/* The role of a device of this area, borrowed from uuid; NULL when it is another's. */
const char *umbra_device_role(const struct umbra_id *area, const char *uuid);
