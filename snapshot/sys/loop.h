/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Loop devices that go with their last user: a descriptor, or a device-mapper table. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "common/error.h"

/* A loop device over the file fd (open for writing), LOOP_CONFIGURE, Linux 5.8. direct: without the
 * page cache, where the file allows it. *loop_fd keeps it until somebody else uses it. */
int umbra_loop_attach(int fd, bool direct, int *loop_fd, dev_t *dev, struct umbra_error *err);

/* Is it over this file, 1, or another, 0? */
int umbra_loop_is_over(dev_t dev, int fd, struct umbra_error *err);

/* The device gets the length that its file has by now. */
int umbra_loop_refresh(dev_t dev, struct umbra_error *err);
