/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Notices that the catalog was changed by somebody who did not announce it, or was killed before
 * (inotify(7)). For one thread.
 */
#pragma once

#include <stdbool.h>

/* A descriptor to poll for reading, or -errno. */
int umbra_notice_open(int state_fd);

/* Takes what there is to read. May the catalog have changed? */
bool umbra_notice_take(int fd);
