/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A set as the tree shows it. It never changes. */
#pragma once

#include <stdatomic.h>

#include "fuse/copy.h"
#include "fuse/pass.h"
#include "fuse/place.h"
#include "fuse/volume_dirs.h"

struct umbra_member {
	struct umbra_copy copy;
	struct umbra_shown *set;
	struct umbra_volume_dir *volume;
	struct umbra_pass pass;
};

struct umbra_shown {
	atomic_uint refs;
	struct umbra_set *set; /* brief */
	char token[UMBRA_TOKEN_LEN + 1];
	uint32_t generation; /* no other one of this mount has it: ids can come back */
	uint64_t latest;     /* the node of "latest" while it names this set */
	struct umbra_member *members;
	size_t n_members;
	struct umbra_place *top;
};

/* What sets are made with. */
struct umbra_shown_source {
	struct umbra_copies *copies; /* borrowed */
	struct umbra_numbers made;
	struct umbra_volume_dirs volumes;
	uint32_t generation; /* the last one given */
};

/* Takes a full set. -ENOMEM. One caller at a time. */
int umbra_shown_new(struct umbra_shown_source *source, struct umbra_set *set,
		    struct umbra_shown **out);
struct umbra_shown *umbra_shown_ref(struct umbra_shown *shown);
/* NULL-safe; returns NULL. */
struct umbra_shown *umbra_shown_unref(struct umbra_shown *shown);

struct umbra_member *umbra_shown_member(const struct umbra_shown *shown,
					const struct umbra_volume_dir *volume);
