/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Writers that wait at a wall (store_device.h), seen by the kernel alone: no lock is taken, no file
 * and no disk is touched. So it works where whoever should have made room for them is stopped, or
 * waits itself.
 */
#pragma once

#include "snapshot/storage.h"

/* umbra_storage_ops.let_go */
int umbra_walls_let_go(int limit_ms, struct umbra_error *err);

/* umbra_storage_ops.leave */
int umbra_walls_leave(int state_fd, struct umbra_error *err);
