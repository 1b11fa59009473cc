/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A btrfs filesystem of a test's own, in a mount namespace of its own: whatever happens to the
 * test, mounts and loop devices go with its process.
 *
 * DIR/top	the top level, with subvolume "@"
 * DIR/at	"@" alone
 */
#pragma once

#include "lab.h"
#include "snapshot/provider.h"

extern const struct umbra_provider umbra_provider_btrfs;

/* As fixtures: skips the test with the reason where this cannot be had. */
void lab_begin(void);
void lab_end(void);

/* A set as the coordinator makes it, with provider btrfs alone and no catalog. */
struct lab_set {
	struct umbra_set *set;
	struct umbra_volume_list volumes;
	struct umbra_member *members;
};

/* All of these must succeed. state: the state directory that records name. */
void lab_resolve(const char *path, struct umbra_volume_list *out);
struct lab_set *lab_prepare(const char *path, const char *state);
void lab_commit(struct lab_set *s);
void lab_finish(struct lab_set *s);
struct lab_set *lab_create(const char *path); /* all of it, state "/state" */
struct lab_set *lab_free(struct lab_set *s);  /* memory only */

/* The member at this path (lab_path()), which must be there. */
struct umbra_shadow *lab_shadow(const struct lab_set *s, const char *path);
