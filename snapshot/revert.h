/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reverting: a whole volume, unmounted, becomes again what it was in one of its shadow copies. A
 * part of the contract of providers (provider.h) for those that work on block devices.
 *
 *	begin -> run -> end		all copies stay as they are, but those that were given up
 *
 * begin() checks everything, takes the volume for itself, and marks it, durably: from then on it is
 * something between two states, and is not mounted by mistake. run() takes as long as there is to
 *be written, and may be stopped or killed anywhere; begin() and run() again go on, and with another
 *copy revert to that one. Until run() is done the provider makes no copy of the volume and does not
 *let go of the copy.
 *
 * All of it needs root.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/error.h"
#include "common/id.h"

struct umbra_shadow;
struct umbra_watch;

struct umbra_revert_request {
	int state_fd;
	const struct umbra_shadow *shadow; /* full */
	bool unmount;                      /* where it is mounted, if nobody uses it */
	struct umbra_watch *watch;         /* may be NULL */

	/* Set by begin() when it fails with -ENOSPC: these copies, newer than the one asked for,
	 * could not be kept; when all of them are deleted nothing has to be. The caller frees it.
	 */
	struct umbra_id *newer;
	size_t n_newer;
};

/* One under way: the beginning of the provider's own. */
struct umbra_revert {
	char *device;         /* the volume's, to mount it again */
	bool resumed;         /* an earlier one had not come to its end */
	uint64_t bytes;       /* written so far */
	uint64_t bytes_total; /* that are looked at */
};

struct umbra_revert_ops {
	/* Is this a copy of the volume on this block device? 1 or 0. */
	int (*on_device)(int state_fd, const struct umbra_shadow *shadow, dev_t device,
			 struct umbra_error *err);

	/*
	 * -EBUSY: it is mounted, or in use otherwise. -ENOSPC: see newer. UNSUPPORTED: going back
	 * would lose what the provider keeps in the volume. After a failure nothing has changed,
	 * but that the volume may be unmounted.
	 */
	int (*begin)(struct umbra_revert_request *request, struct umbra_revert **out,
		     struct umbra_error *err);
	/* Durable on return, and whoever reads the volume sees it. -ECANCELED: stopped. */
	int (*run)(struct umbra_revert *revert, struct umbra_error *err);
	/* Lets go of the volume; after begin(), whatever run() said. */
	void (*end)(struct umbra_revert *revert);

	/* Is the copy's volume being reverted to it, by somebody, or by nobody any more? 1 or 0; 0
	 * too when the copy is lost. */
	int (*under_way)(int state_fd, const struct umbra_shadow *shadow, struct umbra_error *err);
};
