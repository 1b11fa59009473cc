/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hold_lab.h"

#include <stdlib.h>

#include "common/util.h"
#include "fake_dm.h"
#include "place.h"

unsigned int lab_major = FAKE_DM_MAJOR;

void lab_begin(void)
{
	_cleanup_free_ char *path = umbra_asprintf("%s/dm", place);

	setenv("UMBRA_TEST_DM", path, 1);
	fake_dm_add(1, "lab-a", "LAB-a");
	fake_dm_add(2, "lab-b", ""); /* as dmsetup makes them */
}

void lab_end(void)
{
}

bool lab_suspended(unsigned int minor)
{
	return fake_dm()->devices[minor].suspended;
}

bool lab_works(unsigned int minor)
{
	return !lab_suspended(minor);
}

void lab_suspend(unsigned int minor)
{
	fake_dm()->devices[minor].suspended = 1;
}

void lab_resume(unsigned int minor)
{
	fake_dm()->devices[minor].suspended = 0;
}
