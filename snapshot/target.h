/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A live directory that something is restored into. */
#pragma once

#include "snapshot/view.h"

struct umbra_target {
	int fd; /* O_RDONLY (O_PATH where we may not read); -1: not there yet (dry run) */
	char *path;
	bool made; /* by us */
};

void umbra_target_finish(struct umbra_target *t);
#define _cleanup_target_ _cleanup_(umbra_target_finish)
#define UMBRA_TARGET_NONE                                                                          \
	{                                                                                          \
		.fd = -1                                                                           \
	}

/* name below dir, or "/" with dir NULL. No link is followed. 1; 0: it is not there; negative. */
int umbra_target_open(const struct umbra_target *dir, const char *name, struct umbra_target *out,
		      struct umbra_error *err);

/* The directory that path (absolute, clean, not "/") lies in. 0; -ENOENT without a message. */
int umbra_target_walk_above(const char *path, struct umbra_target *out, struct umbra_error *err);

/* The error of not being allowed to make name. r: positive or negative errno. Returns -errno. */
int umbra_target_refused(const struct umbra_target *dir, int r, const char *name,
			 struct umbra_error *err);

/* Makes the directory, for its owner alone, and opens it. */
int umbra_target_make(const struct umbra_target *dir, const char *name, struct umbra_target *out,
		      struct umbra_error *err);

/* What lies at name: 1, 0, negative. */
int umbra_target_look(const struct umbra_target *dir, const char *name, struct umbra_node *out,
		      struct umbra_error *err);

/* A new name of ours. */
void umbra_target_temp_name(char out[32]);

/*
 * Gives tmp the name `name`. old: whether something is to be replaced; where not, what has come
 * there meanwhile is not either (-EEXIST). On failure tmp is removed.
 */
int umbra_target_commit(const struct umbra_target *dir, const char *tmp, const char *name,
			bool old);

/* All names in the directory, sorted; none when it cannot be read. */
void umbra_target_names(const struct umbra_target *dir, struct umbra_names *names);

/*
 * Tells others that we work here, and, when nobody else does, removes what killed restores left.
 * names may be NULL; else as umbra_target_names(). Errors only make it less thorough.
 */
void umbra_target_claim(const struct umbra_target *dir, struct umbra_names *names);
