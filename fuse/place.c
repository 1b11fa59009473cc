/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fuse/place.h"

#include <string.h>
#include <unistd.h>

#include "fuse/nodeid.h"
#include "fuse/shown.h"

void umbra_place_free(struct umbra_place *p)
{
	size_t i;

	if (!p)
		return;
	for (i = 0; i < p->n_children; i++)
		umbra_place_free(p->children[i]);
	free(p->children);
	free(p->name);
	free(p->acl);
	free(p);
}

static struct umbra_place *place_new(struct umbra_numbers *made, struct umbra_shown *set,
				     struct umbra_place *parent, const char *name, const char *path)
{
	struct umbra_place *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->set = set;
	p->parent = parent;
	p->name = strdup(name);
	p->id = umbra_numbers_get(
		made, umbra_number_key((const char *const[]){"place", set->set->id.s, path, NULL}));
	/* Where nothing is recorded: only who mounted. */
	p->mode = 0700;
	p->uid = geteuid();
	p->gid = getegid();
	if (!p->name || !p->id) {
		umbra_place_free(p);
		return NULL;
	}
	return p;
}

struct umbra_place *umbra_place_top(struct umbra_numbers *made, struct umbra_shown *set,
				    const char *name)
{
	return place_new(made, set, NULL, name, "/");
}

static struct umbra_place *add_child(struct umbra_numbers *made, struct umbra_place *parent,
				     const char *name, const char *path)
{
	struct umbra_place *child = umbra_place_child(parent, name), **more;

	if (child)
		return child;
	more = reallocarray(parent->children, parent->n_children + 1, sizeof(struct umbra_place *));
	if (!more)
		return NULL;
	parent->children = more;
	child = place_new(made, parent->set, parent, name, path);
	if (child)
		parent->children[parent->n_children++] = child;
	return child;
}

/* Each directory has the permissions of the first member that recorded it. */
static int protect(struct umbra_place *p, const struct umbra_above *above)
{
	int r;

	if (p->recorded)
		return 0;
	r = umbra_acl_decode(above->acl, &p->acl, &p->acl_len);
	if (r < 0) /* unreadable: it stays private */
		return r == -ENOMEM ? r : 0;
	p->recorded = true;
	p->mode = above->mode & 07777;
	p->uid = above->uid;
	p->gid = above->gid;
	return 0;
}

static int protect_way(struct umbra_place *last, size_t depth, const struct umbra_shadow *shadow)
{
	struct umbra_place *p = last;
	int r = 0;

	for (; p && r == 0; p = p->parent, depth--)
		if (depth < shadow->n_above)
			r = protect(p, &shadow->above[depth]);
	return r;
}

struct umbra_place *umbra_place_add(struct umbra_numbers *made, struct umbra_place *top,
				    const struct umbra_shadow *shadow, size_t *depth)
{
	_cleanup_free_ char *path = strdup(shadow->path);
	struct umbra_place *p = top;
	char *name, *end, last;

	*depth = 0;
	for (name = path; p && name && *name; name = end) {
		while (*name == '/')
			name++;
		end = strchrnul(name, '/');
		if (end == name)
			break;
		last = *end;
		*end = '\0';
		p = add_child(made, p, name, path);
		*end = last;
		++*depth;
	}
	if (!path || !p || (p->parent && protect_way(p->parent, *depth - 1, shadow) < 0))
		return NULL;
	return p;
}

struct umbra_place *umbra_place_child(const struct umbra_place *place, const char *name)
{
	size_t i;

	for (i = 0; i < place->n_children; i++)
		if (strcmp(place->children[i]->name, name) == 0)
			return place->children[i];
	return NULL;
}

uint64_t umbra_place_node(const struct umbra_place *place)
{
	if (!place->member)
		return place->id;
	return umbra_nodeid(UMBRA_VIEW_SET, place->member->copy.shadow->index, UMBRA_NUMBER_TOP);
}
