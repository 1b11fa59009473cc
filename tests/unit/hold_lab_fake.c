/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hold_lab.h"

#include <stdlib.h>

#include "common/util.h"
#include "fake_dm.h"
#include "place.h"

unsigned int lab_major = FAKE_DM_MAJOR, lab_minors[2] = {1, 2};

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

bool lab_suspended(size_t i)
{
	return fake_dm()->devices[lab_minors[i]].suspended;
}

bool lab_works(size_t i)
{
	return !lab_suspended(i);
}

void lab_suspend(size_t i)
{
	fake_dm()->devices[lab_minors[i]].suspended = 1;
}

void lab_resume(size_t i)
{
	fake_dm()->devices[lab_minors[i]].suspended = 0;
}

void lab_stick(size_t i)
{
	fake_dm()->devices[lab_minors[i]].stuck = 1;
}

void lab_two_storeys(size_t i)
{
	(void)i;
}

void lab_block(size_t i)
{
	fake_dm()->devices[lab_minors[i]].blocked = 1;
}

void lab_go_on(void)
{
	fake_dm()->devices[lab_minors[0]].blocked = 0;
	fake_dm()->devices[lab_minors[1]].blocked = 0;
}

bool lab_owns(pid_t pid)
{
	(void)pid;
	return false;
}
