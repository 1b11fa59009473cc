/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fuse/changes.h"

#include <string.h>

#include "fuse/nodeid.h"

void umbra_changes_finish(struct umbra_changes *changes)
{
	size_t i;

	for (i = 0; i < changes->n; i++)
		free(changes->v[i].name);
	for (i = 0; i < changes->n_gone; i++)
		umbra_shown_unref(changes->gone[i]);
	free(changes->v);
	free(changes->gone);
	*changes = (struct umbra_changes){0};
}

int umbra_changes_add(struct umbra_changes *c, uint64_t parent, uint64_t child, const char *name,
		      bool gone)
{
	struct umbra_change *more;

	if (c->n == c->room) {
		more = reallocarray(c->v, c->room ? c->room * 2 : 16, sizeof(*more));
		if (!more)
			return -ENOMEM;
		c->v = more;
		c->room = c->room ? c->room * 2 : 16;
	}
	c->v[c->n] = (struct umbra_change){parent, child, strdup(name), gone};
	return c->v[c->n].name ? (c->n++, 0) : -ENOMEM;
}

int umbra_changes_add_set(struct umbra_changes *c, struct umbra_shown *shown, bool gone)
{
	const struct umbra_member *m;
	size_t i;
	int r = umbra_changes_add(c, UMBRA_NODE_ROOT, umbra_place_node(shown->top), shown->token,
				  gone);

	if (gone)
		c->gone[c->n_gone++] = umbra_shown_ref(shown);
	for (i = 0; i < shown->n_members && r == 0; i++) {
		m = &shown->members[i];
		r = umbra_changes_add(
			c, m->volume->id,
			umbra_nodeid(UMBRA_VIEW_VOLUME, m->copy.shadow->index, UMBRA_NUMBER_TOP),
			shown->token, gone);
	}
	return r;
}
