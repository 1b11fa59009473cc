/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A directory of its own for each test, and tests that need root. */
#pragma once

#include <criterion/criterion.h>

extern char place[]; /* its absolute, real path */
extern int place_fd; /* O_DIRECTORY */

/* Made for its owner alone, in $UMBRA_TEST_DIR or /tmp, or below another directory. */
void place_begin(void);
void place_begin_below(const char *dir);

/* Removes it, whatever became of the modes in it. */
void place_end(void);

/* Criterion does not run the .fini of a test that is skipped. */
#define place_skip(...)                                                                            \
	do {                                                                                       \
		place_end();                                                                       \
		cr_skip(__VA_ARGS__);                                                              \
	} while (0)

/* why: "to mount a filesystem" */
void place_need_root(const char *why);
