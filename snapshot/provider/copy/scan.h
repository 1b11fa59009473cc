/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "snapshot/provider.h"

/* scan() of provider copy. */
int umbra_copy_scan(int state_fd, const char *state_dir, umbra_scan_fn fn, void *arg,
		    struct umbra_error *err);
