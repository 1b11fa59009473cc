/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Named points at which tests break a program: where it may be killed, stopped, delayed or made to
 * fail, so that a test can go through every one of them.
 *
 *	UMBRA_TEST_FAULT=NAME:ACTION[:COUNT][,…]
 *	UMBRA_TEST_FAULT=list		prints the names of all points of this program and ends
 *
 * ACTION is kill (SIGKILL), stop (SIGSTOP), fail (-EIO) or delay (one second); COUNT says the
 * how-many-th time that the point is passed (1). A name that this program does not have is another
 * program's: the variable goes to all that a test starts.
 *
 * Points are one comparison while the variable is not set. They may stand in a hold: nothing here
 * allocates or opens anything.
 */
#pragma once

#include <stdbool.h>

#include "common/error.h"

/* Reads the variable (again, in a new process). Ends the program when it cannot be understood. */
void umbra_fault_init(void);

/* 0, or -EIO when this point is to fail. name is a string literal, OBJECT.STEP. */
#define umbra_fault(name)                                                                          \
	({                                                                                         \
		static const char *const _fault __attribute__((section("umbra_faults"), used)) =   \
			name;                                                                      \
		umbra_faults_set ? umbra_fault_pass(_fault) : 0;                                   \
	})

/* As above, with err filled in. */
#define umbra_fault_fail(name, err)                                                                \
	(umbra_fault(name) < 0 ? umbra_fail(err, UMBRA_E_IO, EIO,                                  \
					    "told to fail at '%s' (UMBRA_TEST_FAULT)", name)       \
			       : 0)

/* The macros' own. */
extern bool umbra_faults_set;
int umbra_fault_pass(const char *name);
