/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Two devices to be held: hold_lab_fake.c has them in a file, hold_lab_dm.c real ones, with ext4
 * mounted from them. */
#pragma once

#include <stdbool.h>

extern unsigned int lab_major; /* minors: 1 and 2 */

void lab_begin(void); /* skips the test when there can be none */
void lab_end(void);

/* minor 1 or 2 */
bool lab_suspended(unsigned int minor);
/* Can it be read and written? Waits two seconds for that at most. */
bool lab_works(unsigned int minor);
void lab_suspend(unsigned int minor);
void lab_resume(unsigned int minor);
