/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "snapshot/provider.h"

/*
 * Deletes everything below the directory fd, on all processors, also where permission bits are
 * in the way and can be changed; ticks go to watch. store: its name in messages. When it fails
 * or the process is killed, what is left can be deleted by calling it again.
 */
int umbra_remover_run(int fd, const char *store, struct umbra_watch *watch,
		      struct umbra_error *err);
