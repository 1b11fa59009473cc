/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What XFS says of itself. */
#pragma once

/* What an XFS has on another device than its own, "its log" or "a realtime section"; NULL: nothing,
 * or fd is on another filesystem. */
const char *umbra_xfs_elsewhere(int fd);
