/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which blocks of its device a mounted filesystem does not use (FS_IOC_GETFSMAP: ext4, XFS). */
#pragma once

#include <stdint.h>

typedef void (*umbra_unused_fn)(void *arg, uint64_t at, uint64_t length);

/* Calls fn for each range, in bytes, within length bytes from `from` on, that the filesystem of fd
 * says is free. What it says nothing of may be in use. A negative errno when it cannot say. */
int umbra_unused_each(int fd, uint64_t from, uint64_t length, umbra_unused_fn fn, void *arg);
