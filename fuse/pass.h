/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Permissions of what lay above a volume, from its record. */
#pragma once

#include "snapshot/snapshot.h"

/* Who may pass what lay above a volume; its copy below by-volume is not more open than that. */
struct umbra_pass {
	enum {
		UMBRA_PASS_ALL,    /* everybody */
		UMBRA_PASS_CLASS,  /* as mode & mask says where owner and group are these */
		UMBRA_PASS_NOBODY, /* cannot be said with a mode: who mounted, and root */
	} kind;
	uid_t uid;
	gid_t gid;
	mode_t mask;
};

/* Who passes all directories above a volume. complete: all of them are recorded. */
struct umbra_pass umbra_pass_of(const struct umbra_above *above, size_t n, bool complete);

/* Hex to bytes: 0 and *out (free it), or NULL where hex is NULL; -EBADMSG, -ENOMEM. */
int umbra_acl_decode(const char *hex, void **out, size_t *len);
