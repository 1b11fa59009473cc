/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What umbra_layout_update() did. */
#pragma once

#include "fuse/shown.h"

/* One thing that came or went. */
struct umbra_change {
	uint64_t parent, child;
	char *name;
	bool gone;
};

struct umbra_changes {
	struct umbra_change *v;
	size_t n, room;
	struct umbra_shown **gone; /* with references; not shown any more */
	size_t n_gone;
};
void umbra_changes_finish(struct umbra_changes *changes);

/* -ENOMEM, as the next. */
int umbra_changes_add(struct umbra_changes *changes, uint64_t parent, uint64_t child,
		      const char *name, bool gone);
/* The set and its members; one that is gone has to have room in changes->gone. */
int umbra_changes_add_set(struct umbra_changes *changes, struct umbra_shown *shown, bool gone);
