/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Deleting must work on a full filesystem, and the catalog needs a little room to record a
 * deletion: STATE/reserve keeps it. It is spent when a write finds no space, and made again by
 * the next change once there is room.
 */
#pragma once

#define UMBRA_RESERVE_NAME "reserve"
#define UMBRA_RESERVE_SIZE (1U << 20)

/* Makes the reserve if it is missing or short. A full filesystem is no error: there is none then.
 */
void umbra_reserve_make(int state_fd);

/* Gives its room back. 1 when there was some, 0 when not. */
int umbra_reserve_spend(int state_fd);
