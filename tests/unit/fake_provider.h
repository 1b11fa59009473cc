/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The one provider of the coordinator's tests: STATE/fake/ID/ with a file "data" and the record.
 * It notes every call in STATE/calls and can be told to fail, die or dawdle at any of them.
 */
#pragma once

#include <stdbool.h>

/* In the environment, of umbrad too: copies have to be looked after. */
#define FAKE_STORAGE "FAKE_STORAGE"

enum fake_call {
	FAKE_NONE,
	FAKE_PREPARE,
	FAKE_HOLD,
	FAKE_COMMIT,
	FAKE_RELEASE,
	FAKE_FINISH,
	FAKE_ABORT,
	FAKE_REMOVE,
	FAKE_OPEN,
	FAKE_DISCARD,
	FAKE_CALLS,
};

/* Set before the coordinator is started: it is a child of ours. */
extern struct fake_plan {
	enum fake_call fail; /* -EIO, or errnum, from this call … */
	int errnum;
	enum fake_call die;       /* SIGKILL before this call does anything … */
	enum fake_call die_after; /* … or after it has done its work */
	enum fake_call dawdle;    /* wait for the requester to give up, at most 3 s */
	const char *only;         /* … for the volume whose path ends so; NULL: any */
	/* hold() suspends a device each, the first for the volume whose path ends in "a". 0: none.
	 */
	unsigned int major, minors[2];
	bool leaves_child; /* hold() forks one that keeps open what the coordinator has */
	const char *upper; /* volumes whose path ends so lie on all others; NULL: none does */
} fake_plan;
