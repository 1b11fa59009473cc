/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Permissions of what lay above a volume, from its record. */
#pragma once

#include "fuse/layout.h"

/* Who passes all directories above a volume. complete: all of them are recorded. */
struct umbra_pass umbra_pass_of(const struct umbra_above *above, size_t n, bool complete);

/* Hex to bytes: 0 and *out (free it), or NULL where hex is NULL; -EBADMSG, -ENOMEM. */
int umbra_acl_decode(const char *hex, void **out, size_t *len);
