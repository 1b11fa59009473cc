/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "coordinator/reconcile.h"

#include <string.h>

#include "common/fault.h"
#include "snapshot/conditions.h"
#include "snapshot/forgotten.h"
#include "snapshot/reserve.h"

static int no_provider(const struct umbra_shadow *shadow, struct umbra_error *err)
{
	return umbra_fail(
		err, UMBRA_E_UNSUPPORTED, EOPNOTSUPP,
		"the shadow copy of '%s' was made by provider '%s', which this umbra does "
		"not have",
		shadow->path, shadow->provider);
}

static int abort_member(struct umbra_session *s, const struct umbra_set *set,
			struct umbra_shadow *shadow, struct umbra_error *err)
{
	struct umbra_member m = {
		.provider = umbra_provider_find(shadow->provider),
		.set = set,
		.shadow = shadow,
		.origin_fd = -1,
		.state_fd = umbra_engine_state_fd(s->engine),
		.state_dir = umbra_engine_state_dir(s->engine),
		.watch = &s->watch,
	};

	return m.provider ? m.provider->abort(&m, err) : no_provider(shadow, err);
}

static bool more_room(struct umbra_session *s, int r)
{
	return r == -ENOSPC && umbra_reserve_spend(umbra_engine_state_fd(s->engine)) > 0;
}

int umbra_drop_set(struct umbra_session *s, const struct umbra_set *set, struct umbra_error *err)
{
	struct umbra_catalog *catalog = umbra_engine_catalog(s->engine);
	int r = umbra_catalog_remove(catalog, &set->id, err);

	if (more_room(s, r))
		r = umbra_catalog_remove(catalog, &set->id, err);
	umbra_fault("set.forgotten"); /* too late to fail */
	return r;
}

int umbra_drop_shadow(struct umbra_session *s, const struct umbra_shadow *shadow,
		      struct umbra_error *err)
{
	struct umbra_catalog *catalog = umbra_engine_catalog(s->engine);
	int r = umbra_catalog_remove_shadow(catalog, &shadow->id, err);

	return more_room(s, r) ? umbra_catalog_remove_shadow(catalog, &shadow->id, err) : r;
}

int umbra_mark_deleting(struct umbra_session *s, const struct umbra_set *set,
			struct umbra_error *err)
{
	struct umbra_catalog *catalog = umbra_engine_catalog(s->engine);
	int r = umbra_catalog_set_state(catalog, &set->id, UMBRA_SET_DELETING, err);

	return more_room(s, r) ? umbra_catalog_set_state(catalog, &set->id, UMBRA_SET_DELETING, err)
			       : r;
}

int umbra_undo_set(struct umbra_session *s, const struct umbra_set *set,
		   struct umbra_member *members, struct umbra_error *err)
{
	bool undoing = s->undoing;
	int r = 0, one;
	size_t i;

	s->undoing = true;
	s->phase = "undoing";
	for (i = set->n_shadows; i-- > 0;) {
		one = members ? members[i].provider->abort(&members[i], r ? NULL : err)
			      : umbra_clear_shadow(s, set, set->shadows[i], r ? NULL : err);
		if (one == 0)
			one = umbra_fault_fail("undo.aborted", r ? NULL : err);
		if (one < 0 && r == 0)
			r = one;
	}
	if (r == 0)
		r = umbra_drop_set(s, set, err);
	s->undoing = undoing;
	return r;
}

int umbra_clear_shadow(struct umbra_session *s, const struct umbra_set *set,
		       struct umbra_shadow *shadow, struct umbra_error *err)
{
	const struct umbra_provider *p = umbra_provider_find(shadow->provider);
	int state_fd = umbra_engine_state_fd(s->engine), r;

	if (set->state == UMBRA_SET_PREPARING)
		r = abort_member(s, set, shadow, err);
	else
		r = p ? p->remove(state_fd, shadow, &s->watch, err) : no_provider(shadow, err);
	if (r == 0) {
		umbra_forgotten_drop(state_fd, shadow->id.s);
		umbra_conditions_drop(state_fd, shadow->id.s);
	}
	return r;
}

static int remove_one(struct umbra_session *s, const struct umbra_set *set,
		      struct umbra_shadow *shadow, struct umbra_error *err)
{
	char token[UMBRA_TOKEN_LEN + 1];
	int r = umbra_clear_shadow(s, set, shadow, err);

	if (r == 0)
		r = umbra_fault_fail("delete.removed", err);
	umbra_token_format(set->time, token);
	return r < 0 ? umbra_wrap(err, r, "deleting the shadow copy of '%s' in set %s",
				  shadow->path, token)
		     : 0;
}

static void also(struct umbra_error *err, const struct umbra_error *more)
{
	const struct umbra_error first = *err;

	umbra_fail(err, first.code, first.errnum, "%s; and %s", first.text, more->text);
}

/* One that cannot be deleted now does not keep the others. */
int umbra_remove_set(struct umbra_session *s, const struct umbra_set *set, struct umbra_error *err)
{
	struct umbra_error first = {0};
	size_t i;
	int r = 0, one;

	s->phase = "deleting";
	for (i = 0; r != -ECANCELED && i < set->n_shadows; i++) {
		struct umbra_error why = {0};

		one = remove_one(s, set, set->shadows[i], &why);
		if (one < 0 && (r == 0 || one == -ECANCELED)) {
			first = why;
			r = one;
		} else if (one < 0) {
			also(&first, &why);
		}
	}
	return r < 0 ? umbra_fail(err, first.code, r, "%s", first.text)
		     : umbra_drop_set(s, set, err);
}

int umbra_mark_gone(struct umbra_session *s, const json_t *ids, struct umbra_error *err)
{
	const json_t *id;
	int r = 0;
	size_t i;

	json_array_foreach (ids, i, id) {
		_cleanup_set_ struct umbra_set *set = NULL;

		if (r == 0)
			r = umbra_catalog_load_one(umbra_engine_catalog(s->engine),
						   json_string_value(id), &set, err);
		if (r == 0)
			r = umbra_mark_deleting(s, set, err);
	}
	return r;
}

bool umbra_is_gone(int r)
{
	return r == -ENODEV || r == -EBADMSG || r == -EUCLEAN;
}

char *umbra_forget_advice(const struct umbra_set *set, int r)
{
	char token[UMBRA_TOKEN_LEN + 1];

	umbra_token_format(set->time, token);
	return umbra_is_gone(r)
		       ? umbra_asprintf("; or, if it is gone for good, 'umbra delete --forget "
					"%s'",
					token)
		       : strdup("");
}

static int reconcile_one(struct umbra_session *s, const struct umbra_set *set, json_t *repaired,
			 struct umbra_error *err)
{
	bool preparing = set->state == UMBRA_SET_PREPARING;
	char token[UMBRA_TOKEN_LEN + 1];
	_cleanup_free_ char *advice = NULL;
	struct umbra_error why = {0};
	json_t *text;
	int r;

	umbra_token_format(set->time, token);
	r = preparing ? umbra_undo_set(s, set, NULL, &why) : umbra_remove_set(s, set, &why);
	if (r == -ECANCELED) {
		*err = why;
		return r;
	}
	if (r < 0) {
		advice = umbra_forget_advice(set, r);
		return umbra_session_warn(
			s, "what is left of the %s set %s cannot be removed now: %s%s",
			preparing ? "unfinished" : "deleted", token, why.text,
			advice ? advice : "");
	}
	if (!repaired)
		return 0;
	text = json_sprintf("the %s set %s was removed", preparing ? "unfinished" : "half-deleted",
			    token);
	return json_array_append_new(repaired, text) < 0 ? umbra_oom(err) : 0;
}

/* Diff areas that were being resized. */
static int reconcile_areas(struct umbra_session *s, json_t *repaired, struct umbra_error *err)
{
	const struct umbra_provider *const *p;
	struct umbra_error why = {0};
	size_t n, i;
	int r = 0;

	p = umbra_providers(&n);
	for (i = 0; r >= 0 && i < n; i++) {
		if (!p[i]->storage || !p[i]->storage->reconcile)
			continue;
		r = p[i]->storage->reconcile(umbra_engine_state_fd(s->engine), &why);
		if (r < 0)
			r = umbra_session_warn(s, "%s", why.text);
		else if (r > 0 && repaired &&
			 json_array_append_new(repaired,
					       json_string("a change of the size of a diff area "
							   "was finished, or undone")) < 0)
			r = umbra_oom(err);
	}
	return r < 0 ? r : 0;
}

int umbra_reconcile(struct umbra_session *s, json_t *repaired, struct umbra_error *err)
{
	_cleanup_set_list_ struct umbra_set_list list = {0};
	bool deleting = false;
	size_t i;
	int r;

	r = reconcile_areas(s, repaired, err);
	if (r == 0)
		r = umbra_catalog_load_unfinished(umbra_engine_catalog(s->engine), &list, err);
	if (r < 0 || list.n == 0)
		return r;
	for (i = 0; i < list.n; i++)
		deleting = deleting || list.sets[i]->state == UMBRA_SET_DELETING;
	if (deleting) /* whoever marked them may have died before the mounts knew */
		umbra_session_announce(s);
	for (i = 0; r == 0 && i < list.n; i++)
		r = reconcile_one(s, list.sets[i], repaired, err);
	return r;
}
