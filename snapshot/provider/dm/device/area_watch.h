/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * For a process that looks at the same areas again and again (umbrad): a file that is open keeps
 * its filesystem from being unmounted, so that of an area inside its volume is compared with its
 * record (umbra_area_open()) once. From then on it is watched, which keeps nothing mounted, and
 * compared again when it is not that file of that mounted filesystem any more, or was changed: only
 * what can be changed can be moved, and becoming so changes the time of its inode.
 *
 * Who mounts a filesystem may unmount it at once. So one that was just mounted is left alone for a
 * fifth of a second; as long the area is as if its volume were not mounted.
 */
#pragma once

#include "snapshot/provider/dm/device/area.h"

/* From now on this process does it so. Readable when a file that is watched is touched; others may
 * watch with it, too. -1: there is none, and files are opened every time. */
int umbra_area_alarm(void);
/* Reads what there is. */
void umbra_area_alarm_read(void);

/* Something was mounted or unmounted. */
void umbra_area_mounts_changed(void);

/* Was it left alone for that when it was opened? */
bool umbra_area_too_soon(const struct umbra_area *a);
