/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "coordinator/gather.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "coordinator/report.h"
#include "snapshot/document.h"
#include "snapshot/forgotten.h"

static bool has_shadow(const struct umbra_set *set, const char *id)
{
	size_t i;

	for (i = 0; i < set->n_shadows; i++)
		if (strcmp(set->shadows[i]->id.s, id) == 0)
			return true;
	return false;
}

int umbra_gathering_add(struct umbra_gathering *g, struct umbra_set *set, size_t members)
{
	_cleanup_set_ struct umbra_set *owned = set;
	struct umbra_set **more;
	size_t *counts;

	more = reallocarray(g->list.sets, g->list.n + 1, sizeof(struct umbra_set *));
	if (!more)
		return -ENOMEM;
	g->list.sets = more;
	counts = reallocarray(g->members, g->list.n + 1, sizeof(*counts));
	if (!counts)
		return -ENOMEM;
	g->members = counts;
	g->members[g->list.n] = members;
	g->list.sets[g->list.n++] = TAKE_PTR(owned);
	return 0;
}

/* Takes the one member of found over into the set of the same id, or found as a whole. */
static int merge(struct umbra_gathering *g, struct umbra_set *found, size_t members,
		 const char *where)
{
	_cleanup_set_ struct umbra_set *owned = found;
	size_t i;

	for (i = 0; i < g->list.n; i++) {
		if (strcmp(g->list.sets[i]->id.s, found->id.s) != 0)
			continue;
		if (has_shadow(g->list.sets[i], found->shadows[0]->id.s))
			return umbra_report(g->problems,
					    "'%s' is a second record of shadow copy '%s'", where,
					    found->shadows[0]->id.s);
		found->n_shadows = 0;
		return umbra_set_add_shadow(g->list.sets[i], found->shadows[0]);
	}
	return umbra_gathering_add(g, TAKE_PTR(owned), members);
}

/* Takes forgotten, also on failure. */
static int add_rubbish(struct umbra_gathering *g, const struct umbra_found *found,
		       struct umbra_set *forgotten)
{
	struct umbra_rubbish *more, one = {.provider = g->provider, .forgotten = forgotten};

	memcpy(one.id.s, found->id, sizeof(one.id.s));
	more = reallocarray(g->rubbish, g->n_rubbish + 1, sizeof(*more));
	if (more)
		g->rubbish = more;
	one.where = strdup(found->where);
	if (!more || !one.where) {
		umbra_set_free(forgotten);
		free(one.where);
		return -ENOMEM;
	}
	g->rubbish[g->n_rubbish++] = one;
	return 0;
}

static int gather_copy(struct umbra_gathering *g, const struct umbra_found *found)
{
	const struct umbra_set *old = umbra_set_of_shadow(&g->old->list, found->id);
	_cleanup_set_ struct umbra_set *set = NULL;
	struct umbra_error why = {0};
	size_t members;
	int r;

	if (old && old->state != UMBRA_SET_CREATED) /* carried over as it is */
		return 0;
	r = umbra_shadow_record_parse(found->record, &set, NULL, &members, &why);
	if (r == -ENOMEM)
		return r;
	if (r < 0)
		return umbra_report(g->problems, "'%s' is left out: %s", found->where, why.text);
	return umbra_forgotten_has(g->state_fd, found->id)
		       ? add_rubbish(g, found, TAKE_PTR(set))
		       : merge(g, TAKE_PTR(set), members, found->where);
}

static int gather_leftover(struct umbra_gathering *g, const struct umbra_found *found)
{
	const struct umbra_set *old = umbra_set_of_shadow(&g->old->list, found->id);
	struct umbra_id *more;

	if (!old)
		return add_rubbish(g, found, NULL);
	if (old->state != UMBRA_SET_CREATED)
		return 0;
	more = reallocarray(g->unrecorded, g->n_unrecorded + 1, sizeof(*more));
	if (!more)
		return -ENOMEM;
	g->unrecorded = more;
	memcpy(more[g->n_unrecorded++].s, found->id, sizeof(more->s));
	return umbra_report(g->problems,
			    "'%s' is a shadow copy of '%s' and has lost its record, so that it "
			    "cannot be shown: take out of it what is needed, and delete its set",
			    found->where, old->shadows[0]->path);
}

bool umbra_found_is_moved(const struct umbra_found *found, int state_fd)
{
	_cleanup_free_ char *owner = NULL, *mark = NULL;
	struct stat ours, named;

	if (found->kind != UMBRA_FOUND_FOREIGN || !found->here ||
	    umbra_doc_get_path(found->record, "state_dir", &owner) < 0)
		return false;
	if (fstat(state_fd, &ours) == 0 && stat(owner, &named) == 0 &&
	    ours.st_dev == named.st_dev && ours.st_ino == named.st_ino)
		return true;
	mark = umbra_asprintf("%s/" UMBRA_STATE_MARK, owner);
	return mark && access(mark, F_OK) < 0 && (errno == ENOENT || errno == ENOTDIR);
}

/* Is it ours by the catalog, or because its state directory is where we are now? */
static bool is_ours(const struct umbra_gathering *g, const struct umbra_found *found)
{
	return found->record && (umbra_set_of_shadow(&g->old->list, found->id) ||
				 umbra_found_is_moved(found, g->state_fd));
}

static int gather(void *arg, const struct umbra_found *found)
{
	struct umbra_gathering *g = arg;

	switch (found->kind) {
	case UMBRA_FOUND_COPY:
		return gather_copy(g, found);
	case UMBRA_FOUND_LEFTOVER:
		return gather_leftover(g, found);
	case UMBRA_FOUND_FOREIGN:
		if (is_ours(g, found))
			return gather_copy(g, found);
		break;
	case UMBRA_FOUND_STRANGE:
		break;
	}
	return umbra_report(g->problems, "'%s' is left out, and left alone: %s", found->where,
			    found->why);
}

static int by_seq(const void *a, const void *b)
{
	const struct umbra_set *x = *(struct umbra_set *const *)a;
	const struct umbra_set *y = *(struct umbra_set *const *)b;

	if (x->seq != y->seq)
		return x->seq < y->seq ? -1 : 1;
	return x->time < y->time ? -1 : x->time > y->time;
}

static int name_incomplete(struct umbra_gathering *g)
{
	char token[UMBRA_TOKEN_LEN + 1];
	size_t i;
	int r = 0;

	for (i = 0; r == 0 && i < g->list.n; i++) {
		if (g->list.sets[i]->n_shadows == g->members[i])
			continue;
		umbra_token_format(g->list.sets[i]->time, token);
		r = umbra_report(g->problems, "set %s: only %zu of its %zu shadow copies %s found",
				 token, g->list.sets[i]->n_shadows, g->members[i],
				 g->list.sets[i]->n_shadows == 1 ? "was" : "were");
	}
	return r;
}

int umbra_gather(struct umbra_session *s, struct umbra_gathering *g, struct umbra_error *err)
{
	const struct umbra_provider *const *p;
	size_t n, i;
	int r = 0;

	p = umbra_providers(&n);
	g->state_fd = umbra_engine_state_fd(s->engine);
	for (i = 0; r == 0 && i < n; i++) {
		struct umbra_error why = {0};

		g->provider = p[i];
		r = p[i]->scan(g->state_fd, umbra_engine_state_dir(s->engine), gather, g, &why);
		if (r < 0)
			/* A catalog without a provider's copies would lose them from sight. */
			return umbra_fail(err, why.code, r, "provider '%s': %s", p[i]->name,
					  why.text[0] ? why.text : strerror(-r));
	}
	r = umbra_carry_over(s, g, err);
	if (r < 0)
		return r;
	if (name_incomplete(g) < 0)
		return umbra_oom(err);
	if (g->list.n > 1)
		qsort(g->list.sets, g->list.n, sizeof(struct umbra_set *), by_seq);
	return 0;
}

void umbra_gathering_finish(struct umbra_gathering *g)
{
	free(g->unrecorded);
	umbra_set_list_finish(&g->list);
	free(g->members);
	while (g->n_rubbish > 0) {
		umbra_set_free(g->rubbish[--g->n_rubbish].forgotten);
		free(g->rubbish[g->n_rubbish].where);
	}
	free(g->rubbish);
}
