/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The list of what is shown becomes another one. */
#include <string.h>

#include "common/log.h"
#include "fuse/layout.h"
#include "fuse/nodeid.h"

static int by_id(const void *a, const void *b)
{
	const struct umbra_shown *const *x = a, *const *y = b;

	return strcmp((*x)->set->id.s, (*y)->set->id.s);
}

static int by_time(const void *a, const void *b)
{
	const struct umbra_shown *const *x = a, *const *y = b;

	return ((*x)->set->time > (*y)->set->time) - ((*x)->set->time < (*y)->set->time);
}

static void copy_sorted(struct umbra_shown **to, struct umbra_shown *const *from, size_t n,
			int (*order)(const void *, const void *))
{
	if (n == 0)
		return;
	memcpy(to, from, n * sizeof(struct umbra_shown *));
	qsort(to, n, sizeof(struct umbra_shown *), order);
}

/* The next layout while it is made. */
struct next {
	struct umbra_shown **sets, **by_time, **old; /* old: those shown now, by id */
	size_t n;
	bool *stays;  /* for each of old */
	size_t *live; /* members of each volume */
};

static void next_finish(struct next *next)
{
	size_t i;

	for (i = 0; i < next->n; i++)
		umbra_shown_unref(next->sets[i]);
	free(next->sets);
	free(next->by_time);
	free(next->old);
	free(next->stays);
	free(next->live);
}

static struct umbra_shown **find_old(const struct umbra_layout *l, const struct next *next,
				     const struct umbra_set *set)
{
	struct umbra_shown key = {.set = (struct umbra_set *)set}, *k = &key;

	return l->n_sets ? bsearch(&k, next->old, l->n_sets, sizeof(k), by_id) : NULL;
}

static int make_new(struct umbra_layout *l, struct umbra_set **from, umbra_load_fn load, void *arg,
		    struct umbra_shown **out, struct umbra_error *err)
{
	struct umbra_set *full = NULL;
	size_t i;
	int r;

	for (i = 0; i < (*from)->n_shadows && !(*from)->shadows[i]->brief; i++)
		;
	if (i == (*from)->n_shadows) {
		full = TAKE_PTR(*from);
	} else {
		r = load(arg, (*from)->id.s, &full, err);
		if (r < 0)
			return r;
	}
	r = umbra_shown_new(&l->source, full, out);
	return r < 0 ? umbra_oom(err) : 0;
}

static int fill_next(struct umbra_layout *l, struct umbra_set_list *list, umbra_load_fn load,
		     void *arg, struct next *next, struct umbra_error *err)
{
	struct umbra_shown **old;
	size_t i;
	int r;

	for (i = 0; i < list->n; i++) {
		old = find_old(l, next, list->sets[i]);
		if (old) {
			next->stays[old - next->old] = true;
			next->sets[next->n++] = umbra_shown_ref(*old);
			continue;
		}
		r = make_new(l, &list->sets[i], load, arg, &next->sets[next->n], err);
		if (r == 0)
			next->n++;
		else if (r != -ENOENT)
			return r;
	}
	return 0;
}

static int prepare(struct umbra_layout *l, size_t n, struct next *next)
{
	next->sets = calloc(n + 1, sizeof(struct umbra_shown *));
	next->by_time = calloc(n + 1, sizeof(struct umbra_shown *));
	next->old = calloc(l->n_sets + 1, sizeof(struct umbra_shown *));
	next->stays = calloc(l->n_sets + 1, sizeof(bool));
	if (!next->sets || !next->by_time || !next->old || !next->stays)
		return -ENOMEM;
	copy_sorted(next->old, l->sets, l->n_sets, by_id);
	return 0;
}

/* Only volumes that come or go are told: what is told loses all that the kernel knows of it. Never
 * as deleted: a volume can come back, and in a directory that was the kernel finds nothing more. */
static int changes_of_volumes(const struct umbra_layout *l, const struct next *next,
			      struct umbra_changes *c)
{
	const struct umbra_volume_dirs *volumes = &l->source.volumes;
	const struct umbra_volume_dir *v;
	size_t i;
	int r = 0;

	for (i = 0; i < volumes->n && r == 0; i++) {
		v = volumes->v[i];
		if ((v->live > 0) != (next->live[i] > 0))
			r = umbra_changes_add(c, UMBRA_NODE_BY_VOLUME, 0, v->name,
					      next->live[i] == 0);
	}
	return r;
}

static int all_changes(const struct umbra_layout *l, const struct next *next,
		       struct umbra_changes *c)
{
	size_t i;
	int r = 0;

	c->gone = calloc(l->n_sets + 1, sizeof(struct umbra_shown *));
	if (!c->gone)
		return -ENOMEM;
	for (i = 0; i < next->n && r == 0; i++)
		if (!find_old(l, next, next->sets[i]->set))
			r = umbra_changes_add_set(c, next->sets[i], false);
	for (i = 0; i < l->n_sets && r == 0; i++)
		if (!next->stays[i])
			r = umbra_changes_add_set(c, next->old[i], true);
	if (r == 0)
		r = changes_of_volumes(l, next, c);
	if (r == 0 && c->n > 0)
		r = umbra_changes_add(c, UMBRA_NODE_ROOT, 0, "latest", false);
	return r;
}

static void swap(struct umbra_layout *l, struct next *next)
{
	struct umbra_shown **sets = l->sets, **times = l->by_time;
	bool first = !l->sets;
	size_t n = l->n_sets;

	copy_sorted(next->by_time, next->sets, next->n, by_time);
	pthread_rwlock_wrlock(&l->lock);
	l->sets = next->sets;
	l->by_time = next->by_time;
	l->n_sets = next->n;
	umbra_volume_dirs_show(&l->source.volumes, next->live);
	if (!first)
		l->changed = umbra_now();
	else if (l->n_sets > 0)
		l->changed = l->sets[l->n_sets - 1]->set->time;
	pthread_rwlock_unlock(&l->lock);
	next->sets = sets;
	next->by_time = times;
	next->n = n;
}

int umbra_layout_update(struct umbra_layout *l, struct umbra_set_list *list, umbra_load_fn load,
			void *arg, struct umbra_changes *changes, struct umbra_error *err)
{
	_cleanup_(next_finish) struct next next = {0};
	size_t i, k;
	int r = prepare(l, list->n, &next);

	if (r < 0)
		return umbra_oom(err);
	r = fill_next(l, list, load, arg, &next, err);
	if (r < 0)
		return r;
	next.live = umbra_volume_dirs_count(&l->source.volumes, next.sets, next.n);
	if (!next.live || all_changes(l, &next, changes) < 0) {
		umbra_changes_finish(changes);
		return umbra_oom(err);
	}
	if (changes->n == 0 && l->sets)
		return 0;
	swap(l, &next);
	for (i = 0; i < changes->n_gone; i++)
		for (k = 0; k < changes->gone[i]->n_members; k++)
			umbra_copy_kill(&changes->gone[i]->members[k].copy);
	return 0;
}
