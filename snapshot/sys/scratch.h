/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A block device in memory: a loop device over memory without a name. It goes with its last user:
 * this descriptor, or a device-mapper device whose table names it.
 */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "common/error.h"

struct umbra_scratch {
	int memory; /* write the content here, before umbra_scratch_attach() */
	int fd;     /* of the device, -1 before */
	dev_t dev;
};

/* bytes: a multiple of 512. */
int umbra_scratch_make(struct umbra_scratch *s, uint64_t bytes, struct umbra_error *err);
int umbra_scratch_attach(struct umbra_scratch *s, struct umbra_error *err);
void umbra_scratch_finish(struct umbra_scratch *s);
#define _cleanup_scratch_ _cleanup_(umbra_scratch_finish)
#define UMBRA_SCRATCH_NONE                                                                         \
	(struct umbra_scratch)                                                                     \
	{                                                                                          \
		.memory = -1, .fd = -1                                                             \
	}
