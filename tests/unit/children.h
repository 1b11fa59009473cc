/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Processes that a test started, or that are its own because their parents are gone. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

/* From here on orphans come to us. */
void children_adopt(void);

/* Kills those that are not spared, and waits for them; how many there were. Again: theirs. */
int children_end(bool (*spared)(pid_t pid));

/* Has it ended, by then? */
bool child_has_ended(pid_t pid, int limit_ms);
