/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What an administrator may have set on a block device's queue (read-ahead, largest request, …),
 * and what the kernel forgets whenever the device's table is replaced.
 */
#pragma once

#include <sys/types.h>

#include "common/doc.h"

/* A document {"read_ahead_kb":"4096",…} of what the device has now; the caller puts it. */
int umbra_queue_get(dev_t dev, json_t **out, struct umbra_error *err);

/* Sets what differs. What the kernel does not take is logged: it is no reason to fail. */
void umbra_queue_set(dev_t dev, const json_t *settings);
