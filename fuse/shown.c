/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fuse/shown.h"

struct umbra_shown *umbra_shown_ref(struct umbra_shown *shown)
{
	atomic_fetch_add(&shown->refs, 1);
	return shown;
}

struct umbra_shown *umbra_shown_unref(struct umbra_shown *shown)
{
	size_t i;

	if (!shown || atomic_fetch_sub(&shown->refs, 1) != 1)
		return NULL;
	for (i = 0; i < shown->n_members; i++)
		umbra_copy_finish(&shown->members[i].copy);
	umbra_place_free(shown->top);
	free(shown->members);
	umbra_set_free(shown->set);
	free(shown);
	return NULL;
}

static void cleanup_shown(struct umbra_shown **shown)
{
	umbra_shown_unref(*shown);
}

struct umbra_member *umbra_shown_member(const struct umbra_shown *shown,
					const struct umbra_volume_dir *volume)
{
	size_t i;

	for (i = 0; i < shown->n_members; i++)
		if (shown->members[i].volume == volume)
			return &shown->members[i];
	return NULL;
}

static int add_member(struct umbra_shown_source *source, struct umbra_shown *shown,
		      const struct umbra_shadow *full)
{
	struct umbra_member *m = &shown->members[shown->n_members++];
	struct umbra_place *p;
	size_t depth;

	umbra_copy_init(&m->copy, source->copies, full);
	m->set = shown;
	m->volume = umbra_volume_dirs_add(&source->volumes, &source->made, full->path);
	p = umbra_place_add(&source->made, shown->top, full, &depth);
	if (!m->volume || !p)
		return -ENOMEM;
	m->pass = umbra_pass_of(full->above, full->n_above, full->n_above == depth);
	if (!p->member)
		p->member = m;
	return 0;
}

/* What is not needed any more once the places are made: the greater part of a record. */
static void strip(struct umbra_set *set)
{
	struct umbra_shadow *s;
	size_t i, k;

	for (i = 0; i < set->n_shadows; i++) {
		s = set->shadows[i];
		for (k = 0; k < s->n_above; k++)
			free(s->above[k].acl);
		free(s->above);
		s->above = NULL;
		s->n_above = 0;
		json_object_clear(s->data);
		json_array_clear(s->notes);
		s->brief = true;
	}
}

int umbra_shown_new(struct umbra_shown_source *source, struct umbra_set *set,
		    struct umbra_shown **out)
{
	_cleanup_(cleanup_shown) struct umbra_shown *shown = calloc(1, sizeof(*shown));
	size_t i;
	int r = 0;

	if (!shown) {
		umbra_set_free(set);
		return -ENOMEM;
	}
	atomic_init(&shown->refs, 1);
	shown->set = set;
	shown->generation = ++source->generation;
	umbra_token_format(set->time, shown->token);
	shown->latest = umbra_numbers_get(
		&source->made, umbra_number_key((const char *const[]){"latest", set->id.s, NULL}));
	shown->top = umbra_place_top(&source->made, shown, shown->token);
	shown->members = calloc(set->n_shadows + 1, sizeof(struct umbra_member));
	if (!shown->latest || !shown->top || !shown->members)
		return -ENOMEM;
	for (i = 0; i < set->n_shadows && r == 0; i++)
		r = add_member(source, shown, set->shadows[i]);
	if (r < 0)
		return r;
	strip(set);
	*out = TAKE_PTR(shown);
	return 0;
}
