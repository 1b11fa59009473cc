/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What this process depends on may be held, or full, when it is needed: its memory stays in memory,
 * it is spared when there is none left, and it is not idle although who started it was. Logs when
 * it cannot. Children have to call it for themselves. */
void umbra_lock_memory(void);
