/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Names on the way to the members of a set: the live layout above them. */
#pragma once

#include "fuse/numbers.h"
#include "snapshot/snapshot.h"

struct umbra_member;
struct umbra_shown;

/* A name on the way to a member; also the member's own place, when member is set. */
struct umbra_place {
	struct umbra_shown *set;
	struct umbra_place *parent;  /* NULL: the set's own directory */
	char *name;                  /* as below parent */
	uint64_t id;                 /* its node when it lies in no copy */
	struct umbra_member *member; /* whose root is here, or NULL */
	struct umbra_place **children;
	size_t n_children;
	/* Where it lies in no copy: */
	bool recorded; /* some member says what follows; if not, only who mounted may pass */
	mode_t mode;   /* permission bits */
	uid_t uid;
	gid_t gid;
	void *acl; /* system.posix_acl_access, or NULL */
	size_t acl_len;
};

/* The set's own directory, which has that name; NULL: out of memory. */
struct umbra_place *umbra_place_top(struct umbra_numbers *made, struct umbra_shown *set,
				    const char *name);
/* NULL-safe; with all that is below it. */
void umbra_place_free(struct umbra_place *place);

/* The way from the top to where the shadow copy's volume was mounted, with the permissions that it
 * has recorded. *depth: of how many names it is. NULL: out of memory. */
struct umbra_place *umbra_place_add(struct umbra_numbers *made, struct umbra_place *top,
				    const struct umbra_shadow *shadow, size_t *depth);

struct umbra_place *umbra_place_child(const struct umbra_place *place, const char *name);
/* The node of the place as its parent lists it. */
uint64_t umbra_place_node(const struct umbra_place *place);
