/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Who keeps a mount busy. */
#pragma once

#include <stdbool.h>

/*
 * Processes that have a file, their directory or root below path, as "vim (pid 12), bash (pid
 * 7)", at most four; NULL when none is seen (or memory is short). Free it. Nothing below path is
 * touched: names of links in /proc are enough.
 */
char *umbra_users_of(const char *path);

/* The same for every path of which is() says so. */
char *umbra_users_where(bool (*is)(const void *arg, const char *path), const void *arg);
