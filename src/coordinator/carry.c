/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What only the old catalog knows: sets that wait to be undone or deleted, copies on filesystems
 * that are not mounted, how long the steps took.
 */
#include <string.h>

#include "coordinator/gather.h"
#include "coordinator/report.h"

static struct umbra_set *found_set(const struct umbra_gathering *g, const struct umbra_set *old)
{
	size_t i;

	for (i = 0; i < g->list.n; i++)
		if (strcmp(g->list.sets[i]->id.s, old->id.s) == 0)
			return g->list.sets[i];
	return NULL;
}

/* Is the copy perhaps still there, where nobody can look now? */
static bool out_of_reach(struct umbra_session *s, const struct umbra_shadow *shadow,
			 struct umbra_error *why)
{
	struct umbra_root *root = NULL;
	int r = umbra_engine_open_shadow(s->engine, shadow, &root, why);

	umbra_root_close(root);
	return r == -ENODEV || r == -EOPNOTSUPP;
}

/* It is there, but only the old catalog knows what it is. */
static bool unrecorded(const struct umbra_gathering *g, const struct umbra_shadow *shadow,
		       struct umbra_error *why)
{
	size_t i;

	for (i = 0; i < g->n_unrecorded; i++)
		if (strcmp(g->unrecorded[i].s, shadow->id.s) == 0) {
			umbra_fail(why, UMBRA_E_DAMAGED, EUCLEAN, "a copy has lost its record");
			return true;
		}
	return false;
}

/* Only those members of old stay that providers could not tell of. *why: why, of one of them. */
static void keep_untold(struct umbra_session *s, const struct umbra_gathering *g,
			struct umbra_set *old, struct umbra_error *why)
{
	size_t i;

	for (i = old->n_shadows; i-- > 0;) {
		struct umbra_error one = {0};

		if (!umbra_set_of_shadow(&g->list, old->shadows[i]->id.s) &&
		    (unrecorded(g, old->shadows[i], &one) ||
		     out_of_reach(s, old->shadows[i], &one))) {
			*why = one;
			continue;
		}
		umbra_shadow_free(old->shadows[i]);
		old->shadows[i] = old->shadows[--old->n_shadows];
	}
}

static void move_steps(struct umbra_set *from, struct umbra_set *to)
{
	if (to->n_steps > 0)
		return;
	free(to->steps);
	to->steps = TAKE_PTR(from->steps);
	to->n_steps = from->n_steps;
	from->n_steps = 0;
}

static int name_lost(struct umbra_gathering *g, const char *token, const char *path)
{
	return umbra_report(
		g->problems,
		"set %s of '%s' was in the old catalog, but no copy of it was found: it "
		"is left out",
		token, path);
}

/* A set that was finished. */
static int carry_created(struct umbra_session *s, struct umbra_gathering *g, struct umbra_set **old)
{
	struct umbra_set *set = *old, *found = found_set(g, set);
	_cleanup_free_ char *path = strdup(set->shadows[0]->path);
	size_t members = set->n_shadows;
	char token[UMBRA_TOKEN_LEN + 1];
	struct umbra_error why = {0};
	int r;

	if (!path)
		return -ENOMEM;
	if (found)
		move_steps(set, found);
	if (found && found->n_shadows == members)
		return 0;
	umbra_token_format(set->time, token);
	keep_untold(s, g, set, &why);
	if (set->n_shadows == 0)
		return found ? 0 : name_lost(g, token, path);
	r = umbra_report(g->problems, "set %s stays in the catalog as it was: %s", token, why.text);
	if (r == 0 && !found) {
		*old = NULL;
		return umbra_gathering_add(g, set, members);
	}
	while (r == 0 && set->n_shadows > 0)
		r = umbra_set_add_shadow(found, set->shadows[--set->n_shadows]);
	return r;
}

int umbra_carry_over(struct umbra_session *s, struct umbra_gathering *g, struct umbra_error *err)
{
	struct umbra_set **sets = g->old->list.sets, *set;
	size_t i;
	int r = 0;

	for (i = 0; r == 0 && i < g->old->list.n; i++) {
		set = sets[i];
		if (set->state == UMBRA_SET_CREATED) {
			r = carry_created(s, g, &sets[i]);
		} else {
			sets[i] = NULL;
			r = umbra_gathering_add(g, set, set->n_shadows);
		}
	}
	return r < 0 ? umbra_oom(err) : 0;
}
