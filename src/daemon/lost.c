/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/lost.h"

#include <string.h>

#include "common/log.h"
#include "coordinator/client.h"
#include "snapshot/engine.h"

struct umbra_lost {
	char *state_dir;
	struct umbra_id *ids;
	size_t n;
};

struct umbra_lost *umbra_lost_new(const char *state_dir)
{
	struct umbra_lost *l = calloc(1, sizeof(*l));

	if (l && !(l->state_dir = strdup(state_dir)))
		return umbra_lost_free(l);
	return l;
}

struct umbra_lost *umbra_lost_free(struct umbra_lost *l)
{
	if (l) {
		free(l->state_dir);
		free(l->ids);
		free(l);
	}
	return NULL;
}

void umbra_lost_add(struct umbra_lost *l, const struct umbra_id *shadow, const char *why)
{
	struct umbra_id *ids = reallocarray(l->ids, l->n + 1, sizeof(*ids));

	umbra_log_warning("shadow copy %s is gone: %s", shadow->s, why);
	if (!ids)
		return; /* the copy says so itself when it is opened */
	l->ids = ids;
	ids[l->n++] = *shadow;
}

static bool is_lost(const struct umbra_lost *l, const char *id)
{
	size_t i;

	for (i = 0; i < l->n; i++)
		if (strcmp(l->ids[i].s, id) == 0)
			return true;
	return false;
}

/* Has the set lost all its copies? */
static bool all_lost(const struct umbra_lost *l, const struct umbra_set *set)
{
	size_t i;

	for (i = 0; i < set->n_shadows; i++)
		if (!is_lost(l, set->shadows[i]->id.s))
			return false;
	return true;
}

static int delete_sets(const struct umbra_lost *l, const struct umbra_id *sets, size_t n,
		       struct umbra_error *err)
{
	_cleanup_coordinator_ struct umbra_coordinator *c = NULL;
	_cleanup_json_ json_t *warnings = NULL;
	int r;

	if (n == 0)
		return 0;
	r = umbra_coordinator_connect(l->state_dir, &c, err);
	return r < 0 ? r : umbra_coordinator_delete(c, sets, n, 0, NULL, &warnings, err);
}

static int settle(const struct umbra_lost *l, struct umbra_error *err)
{
	_cleanup_engine_ struct umbra_engine *e = NULL;
	_cleanup_set_list_ struct umbra_set_list list = {0};
	_cleanup_free_ struct umbra_id *sets = NULL;
	size_t i, n = 0;
	int r = umbra_engine_open(l->state_dir, UMBRA_CATALOG_READ, &e, err);

	if (r == 0)
		r = umbra_engine_sets(e, UMBRA_LOAD_BRIEF, &list, err);
	if (r < 0)
		return r;
	sets = calloc(list.n + 1, sizeof(*sets));
	if (!sets)
		return umbra_oom(err);
	for (i = 0; i < list.n; i++)
		if (all_lost(l, list.sets[i]))
			sets[n++] = list.sets[i]->id;
	return delete_sets(l, sets, n, err);
}

size_t umbra_lost_settle(struct umbra_lost *l)
{
	struct umbra_error err = {0};
	int r = l->n ? settle(l, &err) : 0;

	if (r == 0)
		l->n = 0;
	else if (r != -EBUSY)
		umbra_log_warning("forgetting lost sets: %s", err.text);
	return l->n;
}
