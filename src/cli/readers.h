/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Who reads shadow copy sets through mounted trees. */
#pragma once

#include "snapshot/snapshot.h"

/*
 * Processes that have something open in one of the sets, or stand in it, where a tree of state_dir
 * is mounted: as umbra_users_of(). An ordinary user sees their own processes only. Free it.
 */
char *umbra_readers_of(const char *state_dir, const struct umbra_set *const *sets, size_t n);
