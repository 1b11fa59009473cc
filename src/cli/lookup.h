/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What commands that look for paths in all sets begin with. */
#pragma once

#include "cli/command.h"
#include "snapshot/view.h"

struct umbra_lookup {
	struct umbra_engine *engine;
	struct umbra_set_list sets; /* brief */
	struct umbra_opener opener; /* of their copies */
};

/* Zero it before. Also raises the limit of descriptors: every copy that is open takes some. */
int umbra_lookup_begin(struct umbra_lookup *l, const struct umbra_cli *cli,
		       struct umbra_error *err);
void umbra_lookup_finish(struct umbra_lookup *l);
#define _cleanup_lookup_ _cleanup_(umbra_lookup_finish)

/* An umbra_warn_fn: a copy that cannot be read is a warning. */
void umbra_lookup_warn(void *arg, const struct umbra_error *why);
