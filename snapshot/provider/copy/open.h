/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Opens a finished copy for readers. Where this process may, through a mount of its own, so that
 * nothing of the copy is changed by being read, not even the access time of a symbolic link; what
 * is mounted over a part of the store is not seen then either.
 */
#pragma once

#include "snapshot/root.h"
#include "snapshot/set.h"

int umbra_copy_store_read(int state_fd, const struct umbra_shadow *shadow, struct umbra_root **out,
			  struct umbra_error *err);
