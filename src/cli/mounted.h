/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "snapshot/snapshot.h"

/*
 * Refuses to bring path (absolute) back from set (full) where the volume that it was on is not
 * mounted now: it would come to lie in the directory underneath, and be hidden by the next mount.
 */
int umbra_cli_check_mounted(const struct umbra_set *set, const char *path, struct umbra_error *err);
