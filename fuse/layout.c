/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fuse/layout.h"

#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "fuse/nodeid.h"
#include "fuse/pass.h"

void umbra_layout_init(struct umbra_layout *l, struct umbra_copies *copies)
{
	*l = (struct umbra_layout){.copies = copies};
	umbra_numbers_init(&l->made);
	pthread_rwlock_init(&l->lock, NULL);
}

void umbra_layout_finish(struct umbra_layout *l)
{
	size_t i;

	for (i = 0; i < l->n_sets; i++)
		umbra_shown_unref(l->sets[i]);
	for (i = 0; i < l->n_volumes; i++) {
		free(l->volumes[i]->name);
		free(l->volumes[i]);
	}
	free(l->sets);
	free(l->by_time);
	free(l->volumes);
	pthread_rwlock_destroy(&l->lock);
	umbra_numbers_finish(&l->made);
}

static void place_free(struct umbra_place *p)
{
	size_t i;

	if (!p)
		return;
	for (i = 0; i < p->n_children; i++)
		place_free(p->children[i]);
	free(p->children);
	free(p->name);
	free(p->acl);
	free(p);
}

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
	place_free(shown->top);
	free(shown->members);
	umbra_set_free(shown->set);
	free(shown);
	return NULL;
}

static void cleanup_shown(struct umbra_shown **shown)
{
	umbra_shown_unref(*shown);
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

struct umbra_member *umbra_shown_member(const struct umbra_shown *shown,
					const struct umbra_volume_dir *volume)
{
	size_t i;

	for (i = 0; i < shown->n_members; i++)
		if (shown->members[i].volume == volume)
			return &shown->members[i];
	return NULL;
}

/* Building a set. */

static struct umbra_place *place_new(struct umbra_layout *l, struct umbra_shown *shown,
				     struct umbra_place *parent, const char *name, const char *path)
{
	struct umbra_place *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->set = shown;
	p->parent = parent;
	p->name = strdup(name);
	p->id = umbra_numbers_get(&l->made, umbra_number_key((const char *const[]){
						    "place", shown->set->id.s, path, NULL}));
	/* Where nothing is recorded: only who mounted. */
	p->mode = 0700;
	p->uid = geteuid();
	p->gid = getegid();
	if (!p->name || !p->id) {
		place_free(p);
		return NULL;
	}
	return p;
}

static struct umbra_place *add_child(struct umbra_layout *l, struct umbra_place *parent,
				     const char *name, const char *path)
{
	struct umbra_place *child = umbra_place_child(parent, name), **more;

	if (child)
		return child;
	more = reallocarray(parent->children, parent->n_children + 1, sizeof(struct umbra_place *));
	if (!more)
		return NULL;
	parent->children = more;
	child = place_new(l, parent->set, parent, name, path);
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

/* The places of one member, from the set's own directory down. */
static int add_member(struct umbra_layout *l, struct umbra_shown *shown, struct umbra_member *m,
		      const struct umbra_shadow *full)
{
	_cleanup_free_ char *path = strdup(full->path);
	struct umbra_place *p = shown->top;
	char *name, *end;
	size_t depth = 0;

	if (!path)
		return -ENOMEM;
	for (name = path; *name; name = end) {
		while (*name == '/')
			name++;
		end = strchrnul(name, '/');
		if (end == name)
			break;
		if (*end) {
			*end = '\0';
			p = add_child(l, p, name, path);
			*end = '/';
		} else {
			p = add_child(l, p, name, path);
		}
		if (!p)
			return -ENOMEM;
		depth++;
	}
	m->pass = umbra_pass_of(full->above, full->n_above, full->n_above == depth);
	if (!p->member)
		p->member = m;
	return p->parent ? protect_way(p->parent, depth - 1, full) : 0;
}

static int volume_dir(struct umbra_layout *l, const char *path, struct umbra_volume_dir **out)
{
	_cleanup_free_ char *name = umbra_volume_name(path);
	struct umbra_volume_dir *v, **more;
	size_t i;

	if (!name)
		return -ENOMEM;
	for (i = 0; i < l->n_volumes; i++) {
		if (strcmp(l->volumes[i]->name, name) == 0) {
			*out = l->volumes[i];
			return 0;
		}
	}
	v = calloc(1, sizeof(*v));
	if (!v)
		return -ENOMEM;
	v->id = umbra_numbers_get(&l->made,
				  umbra_number_key((const char *const[]){"volume", name, NULL}));
	pthread_rwlock_wrlock(&l->lock);
	more = reallocarray(l->volumes, l->n_volumes + 1, sizeof(struct umbra_volume_dir *));
	if (more)
		l->volumes = more;
	if (!more || !v->id) {
		pthread_rwlock_unlock(&l->lock);
		free(v);
		return -ENOMEM;
	}
	v->name = TAKE_PTR(name);
	v->position = l->n_volumes;
	l->volumes[l->n_volumes++] = v;
	pthread_rwlock_unlock(&l->lock);
	*out = v;
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

/* Takes set. */
static int shown_new(struct umbra_layout *l, struct umbra_set *set, struct umbra_shown **out)
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
	shown->generation = ++l->generation;
	umbra_token_format(set->time, shown->token);
	shown->latest = umbra_numbers_get(
		&l->made, umbra_number_key((const char *const[]){"latest", set->id.s, NULL}));
	shown->top = place_new(l, shown, NULL, shown->token, "/");
	shown->members = calloc(set->n_shadows + 1, sizeof(struct umbra_member));
	if (!shown->latest || !shown->top || !shown->members)
		return -ENOMEM;
	for (i = 0; i < set->n_shadows && r == 0; i++) {
		umbra_copy_init(&shown->members[i].copy, l->copies, set->shadows[i]);
		shown->members[i].set = shown;
		shown->n_members++;
		r = volume_dir(l, set->shadows[i]->path, &shown->members[i].volume);
		if (r == 0)
			r = add_member(l, shown, &shown->members[i], set->shadows[i]);
	}
	if (r < 0)
		return r;
	strip(set);
	*out = TAKE_PTR(shown);
	return 0;
}

/* Looking. */

static struct umbra_shown *ref_or_null(struct umbra_shown *shown)
{
	return shown ? umbra_shown_ref(shown) : NULL;
}

struct umbra_shown *umbra_layout_set(struct umbra_layout *l, const char *token)
{
	struct umbra_shown *shown = NULL;
	size_t low = 0, high, mid;
	int64_t time;

	if (umbra_token_parse(token, &time) < 0)
		return NULL;
	pthread_rwlock_rdlock(&l->lock);
	for (high = l->n_sets; low < high;) {
		mid = low + (high - low) / 2;
		if (l->by_time[mid]->set->time < time)
			low = mid + 1;
		else
			high = mid;
	}
	if (low < l->n_sets && l->by_time[low]->set->time == time)
		shown = umbra_shown_ref(l->by_time[low]);
	pthread_rwlock_unlock(&l->lock);
	return shown;
}

struct umbra_shown *umbra_layout_latest(struct umbra_layout *l)
{
	struct umbra_shown *shown;

	pthread_rwlock_rdlock(&l->lock);
	shown = ref_or_null(l->n_sets ? l->sets[l->n_sets - 1] : NULL);
	pthread_rwlock_unlock(&l->lock);
	return shown;
}

struct umbra_shown *umbra_layout_after(struct umbra_layout *l, int64_t seq)
{
	struct umbra_shown *shown;
	size_t low = 0, high, mid;

	pthread_rwlock_rdlock(&l->lock);
	for (high = l->n_sets; low < high;) {
		mid = low + (high - low) / 2;
		if (l->sets[mid]->set->seq <= seq)
			low = mid + 1;
		else
			high = mid;
	}
	shown = ref_or_null(low < l->n_sets ? l->sets[low] : NULL);
	pthread_rwlock_unlock(&l->lock);
	return shown;
}

struct umbra_volume_dir *umbra_layout_volume_at(struct umbra_layout *l, size_t position)
{
	struct umbra_volume_dir *v = NULL;

	pthread_rwlock_rdlock(&l->lock);
	while (position < l->n_volumes && l->volumes[position]->live == 0)
		position++;
	if (position < l->n_volumes)
		v = l->volumes[position];
	pthread_rwlock_unlock(&l->lock);
	return v;
}

struct umbra_volume_dir *umbra_layout_volume(struct umbra_layout *l, const char *name)
{
	struct umbra_volume_dir *v = NULL;
	size_t i;

	pthread_rwlock_rdlock(&l->lock);
	for (i = 0; i < l->n_volumes && !v; i++)
		if (l->volumes[i]->live > 0 && strcmp(l->volumes[i]->name, name) == 0)
			v = l->volumes[i];
	pthread_rwlock_unlock(&l->lock);
	return v;
}

int64_t umbra_layout_changed(struct umbra_layout *l)
{
	int64_t changed;

	pthread_rwlock_rdlock(&l->lock);
	changed = l->changed;
	pthread_rwlock_unlock(&l->lock);
	return changed;
}

/* Changing. */

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

static int change(struct umbra_changes *c, uint64_t parent, uint64_t child, const char *name,
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
	bool *stays; /* for each of old */
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
	r = shown_new(l, full, out);
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

/* What to tell of one set. */
static int changes_of(struct umbra_changes *c, const struct umbra_shown *shown, bool gone)
{
	const struct umbra_member *m;
	size_t i;
	int r = change(c, UMBRA_NODE_ROOT, umbra_place_node(shown->top), shown->token, gone);

	for (i = 0; i < shown->n_members && r == 0; i++) {
		m = &shown->members[i];
		r = change(c, m->volume->id,
			   umbra_nodeid(UMBRA_VIEW_VOLUME, m->copy.shadow->index, UMBRA_NUMBER_TOP),
			   shown->token, gone);
	}
	return r;
}

static void count_live(struct umbra_shown **sets, size_t n, size_t *live)
{
	size_t i, k;

	for (i = 0; i < n; i++)
		for (k = 0; k < sets[i]->n_members; k++)
			live[sets[i]->members[k].volume->position]++;
}

/* Only volumes that come or go are told: what is told loses all that the kernel knows of it. Never
 * as deleted: a volume can come back, and in a directory that was the kernel finds nothing more. */
static int changes_of_volumes(struct umbra_layout *l, const struct next *next,
			      struct umbra_changes *c)
{
	_cleanup_free_ size_t *live = calloc(l->n_volumes + 1, sizeof(*live));
	struct umbra_volume_dir *v;
	size_t i;
	int r = live ? 0 : -ENOMEM;

	if (r == 0)
		count_live(next->sets, next->n, live);
	for (i = 0; i < l->n_volumes && r == 0; i++) {
		v = l->volumes[i];
		if ((v->live > 0) != (live[i] > 0))
			r = change(c, UMBRA_NODE_BY_VOLUME, 0, v->name, live[i] == 0);
	}
	return r;
}

static int all_changes(struct umbra_layout *l, const struct next *next, struct umbra_changes *c)
{
	size_t i;
	int r = 0;

	c->gone = calloc(l->n_sets + 1, sizeof(struct umbra_shown *));
	if (!c->gone)
		return -ENOMEM;
	for (i = 0; i < next->n && r == 0; i++)
		if (!find_old(l, next, next->sets[i]->set))
			r = changes_of(c, next->sets[i], false);
	for (i = 0; i < l->n_sets && r == 0; i++) {
		if (next->stays[i])
			continue;
		c->gone[c->n_gone++] = umbra_shown_ref(next->old[i]);
		r = changes_of(c, next->old[i], true);
	}
	if (r == 0)
		r = changes_of_volumes(l, next, c);
	if (r == 0 && c->n > 0)
		r = change(c, UMBRA_NODE_ROOT, 0, "latest", false);
	return r;
}

static void recount(struct umbra_layout *l)
{
	size_t i, k;

	for (i = 0; i < l->n_volumes; i++)
		l->volumes[i]->live = 0;
	for (i = 0; i < l->n_sets; i++)
		for (k = 0; k < l->sets[i]->n_members; k++)
			l->sets[i]->members[k].volume->live++;
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
	recount(l);
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
	if (all_changes(l, &next, changes) < 0) {
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
