/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>

/*
 * Do both files (open for reading) consist of exactly the same blocks of one filesystem? Then
 * their data is the same, and nothing needs to be read. false also means: not known.
 */
bool umbra_extents_same(int fd_a, int fd_b);
