/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The words of mount.umbra, as mount(8) gives them to its helpers: SOURCE DIR [-sfnv] [-o …]. */
#pragma once

#include "common/util.h"

struct umbra_mount_options {
	char *state;   /* as given, or NULL: the default */
	char *dir;     /* as given */
	char *kernel;  /* options for the kernel, "noexec,noatime", or NULL */
	bool others;   /* everybody may look, as far as permissions in the copies say */
	bool nonempty; /* what is in dir may be hidden */
	bool fake, foreground, verbose;
	bool help, version;
};

/* -EINVAL with UMBRA_E_USAGE. */
int umbra_mount_options_parse(int argc, char **argv, struct umbra_mount_options *out,
			      struct umbra_error *err);
void umbra_mount_options_finish(struct umbra_mount_options *o);
#define _cleanup_mount_options_ _cleanup_(umbra_mount_options_finish)
