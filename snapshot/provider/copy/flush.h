/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "snapshot/provider.h"

/*
 * syncfs() of the filesystem of fd: all that was written to it is durable. It may take long and
 * cannot be interrupted; watch gets its ticks meanwhile, and a wish to stop is answered at once
 * with -ECANCELED. progress: what the ticks say; may be NULL.
 */
int umbra_flush(int fd, struct umbra_watch *watch, const struct umbra_progress *progress,
		struct umbra_error *err);

/* The same in the background, to have less to wait for later. NULL: it could not be started. */
struct umbra_flush *umbra_flush_start(int fd);
bool umbra_flush_running(struct umbra_flush *flush);
/* Does not wait for it. Takes NULL, returns NULL. */
struct umbra_flush *umbra_flush_forget(struct umbra_flush *flush);
