/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Do two regular files have the same data? */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>

/*
 * Reads both, but for holes that both have. 1: the same; 0: not; or a negative errno, and then
 * *failed is the descriptor that could not be read. stop (may be NULL): -ECANCELED once it is true.
 */
int umbra_same_data(int a, int b, const atomic_bool *stop, int *failed);

/*
 * Has a file of the filesystem that fd lies on other times whenever it has other data? Not in
 * memory, where nothing tells of writing through a mapping, nor in images, whose files have
 * whatever times and inode numbers they were made with: the next image may have the same ones. Nor
 * in an overlay, where nobody can say what lies below.
 */
bool umbra_times_tell(int fd);
