/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "coordinator/forget.h"

#include "common/fault.h"
#include "coordinator/reconcile.h"
#include "snapshot/forgotten.h"

static int load(struct umbra_session *s, const char *id, struct umbra_set **out,
		struct umbra_error *err)
{
	_cleanup_set_ struct umbra_set *set = NULL;
	char token[UMBRA_TOKEN_LEN + 1];
	int r = umbra_catalog_load_one(umbra_engine_catalog(s->engine), id, &set, err);

	if (r < 0)
		return r;
	if (set->state == UMBRA_SET_CREATED) {
		umbra_token_format(set->time, token);
		return umbra_fail(err, UMBRA_E_UNSUPPORTED, EINVAL,
				  "set %s was not deleted yet, and only what cannot be deleted can "
				  "be forgotten",
				  token);
	}
	*out = TAKE_PTR(set);
	return 0;
}

static int note(struct umbra_session *s, const struct umbra_set *set,
		const struct umbra_shadow *shadow, const char *why, struct umbra_error *err)
{
	int r = umbra_forgotten_add(umbra_engine_state_fd(s->engine),
				    umbra_engine_state_dir(s->engine), set, shadow, err);
	char token[UMBRA_TOKEN_LEN + 1];

	if (r < 0)
		return r;
	umbra_token_format(set->time, token);
	r = umbra_session_warn(
		s,
		"the shadow copy of '%s' in set %s is forgotten, not deleted (%s); if it ever "
		"comes back, 'umbra check' names it",
		shadow->path, token, why);
	return r < 0 ? umbra_oom(err) : 0;
}

/* *left: how many copies are still there. */
static int forget_one(struct umbra_session *s, const struct umbra_set *set, size_t *left,
		      struct umbra_error *err)
{
	size_t i;
	int r;

	for (i = 0; i < set->n_shadows; i++) {
		struct umbra_error why = {0};

		r = umbra_clear_shadow(s, set, set->shadows[i], &why);
		if (r == 0)
			continue;
		/* What is frozen, read-only or failing may be there again tomorrow. */
		if (!umbra_is_gone(r))
			return umbra_fail(err, why.code, r, "%s", why.text);
		r = note(s, set, set->shadows[i], why.text, err);
		if (r == 0)
			r = umbra_fault_fail("forget.noted", err);
		if (r < 0)
			return r;
		(*left)++;
	}
	return umbra_drop_set(s, set, err);
}

int umbra_forget(struct umbra_session *s, const char *const *ids, size_t n, json_t *forgotten,
		 struct umbra_error *err)
{
	_cleanup_set_list_ struct umbra_set_list list = {.sets = calloc(n, sizeof(*list.sets))};
	size_t i, left;
	int r = 0;

	if (!list.sets)
		return umbra_oom(err);
	for (; r == 0 && list.n < n; list.n += r == 0)
		r = load(s, ids[list.n], &list.sets[list.n], err);
	if (r == 0)
		umbra_session_announce(s); /* whoever marked them may have died before */
	s->phase = "deleting";
	for (i = 0; r == 0 && i < n; i++) {
		left = 0;
		r = forget_one(s, list.sets[i], &left, err);
		if (r == 0 && left > 0 &&
		    json_array_append_new(forgotten, json_string(list.sets[i]->id.s)) < 0)
			r = umbra_oom(err);
	}
	return r;
}
