/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "coordinator/check.h"

#include <string.h>

#include "coordinator/reconcile.h"
#include "snapshot/document.h"

static int say(json_t *list, json_t *sentence, struct umbra_error *err)
{
	return json_array_append_new(list, sentence) < 0 ? umbra_oom(err) : 0;
}

static int check_shadow(struct umbra_session *s, const struct umbra_set *set,
			const struct umbra_shadow *shadow, json_t *problems,
			struct umbra_error *err)
{
	char token[UMBRA_TOKEN_LEN + 1];
	struct umbra_root *root = NULL;
	struct umbra_error why = {0};

	if (umbra_engine_open_shadow(s->engine, shadow, &root, &why) == 0) {
		umbra_root_close(root);
		return 0;
	}
	umbra_token_format(set->time, token);
	return say(problems, json_sprintf("set %s: %s", token, why.text), err);
}

/* For scan(): copies that the catalog does not know. */
struct unknown {
	const struct umbra_set_list *known;
	json_t *problems;
	struct umbra_error *err;
};

static bool is_known(const struct umbra_set_list *list, const char *id)
{
	size_t i, k;

	for (i = 0; i < list->n; i++)
		for (k = 0; k < list->sets[i]->n_shadows; k++)
			if (strcmp(list->sets[i]->shadows[k]->id.s, id) == 0)
				return true;
	return false;
}

static int find_unknown(void *arg, const json_t *record, const char *where)
{
	const char *id = umbra_doc_string(json_object_get(record, "shadow"), "shadow");
	struct unknown *u = arg;
	struct umbra_error shown; /* makes the path printable */

	if (id && is_known(u->known, id))
		return 0;
	umbra_fail(
		&shown, UMBRA_E_DAMAGED, 0,
		"'%s' holds a shadow copy that the catalog does not know: 'umbra check --rebuild' "
		"takes it in",
		where);
	return say(u->problems, json_string(shown.text), u->err);
}

static int scan_all(struct umbra_session *s, umbra_scan_fn fn, void *arg, json_t *problems,
		    struct umbra_error *err)
{
	const struct umbra_provider *const *p;
	size_t n, i;
	int r = 0;

	p = umbra_providers(&n);
	for (i = 0; r == 0 && i < n; i++) {
		struct umbra_error why = {0};

		r = p[i]->scan(umbra_engine_state_fd(s->engine), umbra_engine_state_dir(s->engine),
			       fn, arg, &why);
		if (r < 0 && r != -ENOMEM && why.text[0])
			r = say(problems, json_sprintf("provider '%s': %s", p[i]->name, why.text),
				err);
	}
	return r < 0 ? umbra_oom(err) : 0;
}

int umbra_check(struct umbra_session *s, json_t *problems, json_t *repaired, size_t *sets,
		struct umbra_error *err)
{
	_cleanup_set_list_ struct umbra_set_list list = {0};
	struct unknown unknown = {&list, problems, err};
	struct umbra_catalog *catalog = umbra_engine_catalog(s->engine);
	size_t i, k, created = 0;
	int r;

	s->phase = "checking";
	r = umbra_catalog_verify(catalog, err);
	if (r == 0)
		r = umbra_reconcile(s, repaired, err);
	umbra_session_announce(
		s); /* whoever changed something may have died before the mounts knew */
	if (r == 0)
		r = umbra_catalog_load(catalog, UMBRA_LOAD_FULL, &list, err);
	for (i = 0; r == 0 && i < list.n; i++) {
		if (list.sets[i]->state != UMBRA_SET_CREATED)
			continue; /* reconcile warned of it */
		created++;
		for (k = 0; r == 0 && k < list.sets[i]->n_shadows; k++)
			r = check_shadow(s, list.sets[i], list.sets[i]->shadows[k], problems, err);
		if (r == 0)
			r = umbra_watch_tick(&s->watch, NULL, err);
	}
	if (r == 0)
		r = scan_all(s, find_unknown, &unknown, problems, err);
	*sets = created;
	return r;
}
