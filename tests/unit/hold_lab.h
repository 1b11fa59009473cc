/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Two devices to be held, 0 and 1: hold_lab_fake.c has them in a file, tests/vm/hold_lab_dm.c real
 * ones. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

extern unsigned int lab_major, lab_minors[2];

void lab_begin(void); /* skips the test when there can be none */
void lab_end(void);

bool lab_suspended(size_t i);
/* Can it be read and written? Waits a few seconds for that. */
bool lab_works(size_t i);
void lab_suspend(size_t i);
void lab_resume(size_t i);
/* From now on suspending it ends with a signal or never. */
void lab_stick(size_t i);
/* One that lab_block() can be used on. */
void lab_two_storeys(size_t i);
/* It is suspended, and resuming it takes until lab_go_on(), whatever signal comes. */
void lab_block(size_t i);
#ifdef HOLD_LAB_REAL
/* From now on suspending it takes until lab_go_on(), whatever signal comes. */
void lab_hang(size_t i);
#endif
void lab_go_on(void);
/* A child of this process that is the lab's. */
bool lab_owns(pid_t pid);
