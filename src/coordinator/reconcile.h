/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What killed processes left half-made is undone, what they left half-deleted is deleted. */
#pragma once

#include "coordinator/session.h"

/*
 * For a session that has the lock. A set that cannot be cleaned up now (its filesystem is not
 * mounted, say) stays in the catalog for the next start and is a warning, not a failure.
 * repaired: array of sentences to add to, or NULL.
 */
int umbra_reconcile(struct umbra_session *s, json_t *repaired, struct umbra_error *err);

/* Undoes the set (abort() of every member, catalog). members: the live ones, or NULL for a
 * leftover. On failure the set stays PREPARING in the catalog. */
int umbra_undo_set(struct umbra_session *s, const struct umbra_set *set,
		   struct umbra_member *members, struct umbra_error *err);

/* Changes that only make room must not fail for want of it: runs them again with the reserve. */
int umbra_mark_deleting(struct umbra_session *s, const struct umbra_set *set,
			struct umbra_error *err);

/* The same with sets of which nothing is left; ids: an array. */
int umbra_mark_gone(struct umbra_session *s, const json_t *ids, struct umbra_error *err);

/* What there is of a member of a set that is PREPARING (abort()) or is to be deleted (remove()). */
int umbra_clear_shadow(struct umbra_session *s, const struct umbra_set *set,
		       struct umbra_shadow *shadow, struct umbra_error *err);

/* Out of the catalog; of a set that keeps others, one that was cleared. */
int umbra_drop_set(struct umbra_session *s, const struct umbra_set *set, struct umbra_error *err);
int umbra_drop_shadow(struct umbra_session *s, const struct umbra_shadow *shadow,
		      struct umbra_error *err);

/* Does r say that what keeps a copy is gone, or destroyed? Others may be right again later. */
bool umbra_is_gone(int r);

/* What to add to the reason r why a set cannot be removed now; free it. NULL: memory. */
char *umbra_forget_advice(const struct umbra_set *set, int r);

/* remove() of every member of a set that is DELETING and known to all mounts; then the catalog. */
int umbra_remove_set(struct umbra_session *s, const struct umbra_set *set, struct umbra_error *err);
