/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What fsync() and syncfs() are called with: both are replaced in the whole test program. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

void sync_spy_reset(void);
/* How often fsync() was called since then. */
size_t sync_spy_fsyncs(void);
/* Was the last fsync() one of path? */
bool sync_spy_last_is(const char *path);
/* Was syncfs() called for the filesystem that path lies on? */
bool sync_spy_wrote_out(const char *path);
