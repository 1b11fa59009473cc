/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Device-mapper for tests of those that hold and release, in place of snapshot/sys/dm_hold.c: the
 * devices are in the file $UMBRA_TEST_DM, which all processes of a test have mapped.
 */
#pragma once

#include "snapshot/sys/dm_hold.h"

#define FAKE_DM_MAJOR 240
#define FAKE_DM_MAX   8

struct fake_dm {
	struct fake_dm_device {
		struct umbra_dm_device known; /* known.name empty: not there */
		int suspended;
		int resumed;         /* how often */
		int order;           /* the how-many-th resume of all */
		int stuck;           /* suspending it ends with a signal, or never */
		int unresumable;     /* -EIO */
		_Atomic int blocked; /* resuming it takes until this is 0 */
	} devices[FAKE_DM_MAX];      /* by minor */
	int resumes;
};

/* Makes the file, or maps it. */
struct fake_dm *fake_dm(void);
void fake_dm_add(unsigned int minor, const char *name, const char *uuid);
