/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/provider/dm/device/names.h"

#include <stdio.h>
#include <string.h>

/* Of a uuid the first 8 digits, a dash, and 4 more. */
#define AREA_HEAD 8
#define AREA_MORE 4

void umbra_device_name(const struct umbra_id *area, const char *role, struct umbra_device_name *out)
{
	snprintf(out->name, sizeof(out->name), "umbra-%.*s%.*s-%s", AREA_HEAD, area->s, AREA_MORE,
		 area->s + AREA_HEAD + 1, role);
	snprintf(out->uuid, sizeof(out->uuid), UMBRA_DEVICE_PREFIX "%s-%s", area->s, role);
}

const char *umbra_device_role(const struct umbra_id *area, const char *uuid)
{
	struct umbra_device_name all;
	size_t len;

	umbra_device_name(area, "", &all);
	len = strlen(all.uuid);
	return strncmp(uuid, all.uuid, len) == 0 ? uuid + len : NULL;
}
