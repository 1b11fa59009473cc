/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What udev is told about devices of ours. For files in snapshot/sys alone. */
#pragma once

#include <libdevmapper.h>

/* Links to it, but no look at what is on it: a copy has the same UUIDs as its origin. */
#define UMBRA_DM_UDEV_FLAGS                                                                        \
	(DM_UDEV_DISABLE_SUBSYSTEM_RULES_FLAG | DM_UDEV_DISABLE_DISK_RULES_FLAG |                  \
	 DM_UDEV_DISABLE_OTHER_RULES_FLAG)
