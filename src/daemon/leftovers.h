/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Releases what a holder and guards that are all gone hold, umbra-guard(8). For who comes often:
 * what waits for a disk is not tried every time. */
void umbra_release_leftovers(void);
