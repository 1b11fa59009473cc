/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "coordinator/check.h"

#include <string.h>

#include "coordinator/daemon.h"
#include "coordinator/gather.h"
#include "coordinator/reconcile.h"
#include "coordinator/report.h"
#include "snapshot/conditions.h"
#include "snapshot/forgotten.h"

/* Whoever keeps it knows that it cannot be read. Of what will be readable again more is said of the
 * diff area that it is in. */
static int report_condition(const struct umbra_set *set, const struct umbra_shadow *shadow,
			    const char *token, json_t *problems)
{
	_cleanup_free_ char *lost = NULL;
	char term[UMBRA_TERM_MAX];

	if (shadow->condition == UMBRA_CONDITION_LOST) {
		lost = umbra_set_lost_text(set, shadow);
		return lost ? umbra_report(problems, "set %s: %s", token, lost) : -ENOMEM;
	}
	return umbra_report(problems, "set %s: the shadow copy of '%s' cannot be read now: %s",
			    token, shadow->path, umbra_condition_term(shadow->why, term));
}

static int check_shadow(struct umbra_session *s, const struct umbra_set *set,
			const struct umbra_shadow *shadow, json_t *problems,
			struct umbra_error *err)
{
	char token[UMBRA_TOKEN_LEN + 1];
	struct umbra_root *root = NULL;
	struct umbra_error why = {0};

	umbra_token_format(set->time, token);
	if (shadow->condition > UMBRA_CONDITION_REVERTING)
		return report_condition(set, shadow, token, problems) < 0 ? umbra_oom(err) : 0;
	if (umbra_engine_open_shadow(s->engine, shadow, &root, &why) == 0) {
		umbra_root_close(root);
		return 0;
	}
	return umbra_report(problems, "%s", why.text) < 0 ? umbra_oom(err) : 0;
}

/* For scan(): what the catalog does not know. */
struct unknown {
	const struct umbra_set_list *known;
	json_t *problems;
	int state_fd;
};

static int look_at_copy(const struct unknown *u, const struct umbra_found *found)
{
	if (umbra_forgotten_has(u->state_fd, found->id))
		return umbra_report(u->problems,
				    "'%s' holds a shadow copy of a set that was forgotten while it "
				    "was out of reach: 'umbra check --rebuild' removes it",
				    found->where);
	if (found->lost)
		return umbra_report(u->problems,
				    "'%s' holds a lost shadow copy that the catalog does not know: "
				    "'umbra check --rebuild' takes it in, to be deleted",
				    found->where);
	return umbra_report(u->problems,
			    "'%s' holds a shadow copy that the catalog does not know: 'umbra check "
			    "--rebuild' takes it in",
			    found->where);
}

static int look(void *arg, const struct umbra_found *found)
{
	const struct unknown *u = arg;
	const struct umbra_set *set = umbra_set_of_shadow(u->known, found->id);

	switch (found->kind) {
	case UMBRA_FOUND_COPY:
		return set ? 0 : look_at_copy(u, found);
	case UMBRA_FOUND_LEFTOVER:
		if (!set)
			return umbra_report(u->problems,
					    "'%s' is what a killed creation or deletion left: "
					    "'umbra check --rebuild' removes it",
					    found->where);
		if (set->state != UMBRA_SET_CREATED)
			return 0; /* reconcile warned of it */
		return umbra_report(u->problems,
				    "'%s', a shadow copy of '%s', has lost its record '%s': "
				    "without the catalog it could not be known again",
				    found->where, set->shadows[0]->path, UMBRA_RECORD_NAME);
	case UMBRA_FOUND_FOREIGN:
		if (set)
			return 0;
		if (umbra_found_is_moved(found, u->state_fd))
			return look_at_copy(u, found);
		break;
	case UMBRA_FOUND_STRANGE:
		if (set && found->lost)
			return 0; /* said of its set */
		break;
	}
	return umbra_report(u->problems, "'%s' is left alone: %s", found->where, found->why);
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
			r = umbra_report(problems, "provider '%s': %s", p[i]->name, why.text);
	}
	return r < 0 ? umbra_oom(err) : 0;
}

static bool is_wrong(const char *state)
{
	static const char *const states[] = {"reverting", "inactive", "missing", "lost", "unknown"};
	size_t i;

	for (i = 0; i < UMBRA_ARRAY_SIZE(states); i++)
		if (strcmp(state, states[i]) == 0)
			return true;
	return false;
}

/* Said of the area, once: what goes for all that is in it. */
static int report_area(const json_t *area, json_t *problems)
{
	_cleanup_free_ char *volume = NULL;
	const char *state = umbra_doc_string(area, "state"), *why = umbra_doc_string(area, "why");
	const char *problem = umbra_doc_string(area, "problem");
	int r = 0;

	if (!state || umbra_doc_get_path(area, "volume", &volume) < 0)
		return 0;
	if (is_wrong(state))
		r = umbra_report(problems, "the diff area of '%s' is %s: %s", volume, state,
				 why ? why : "?");
	return r < 0 || !problem
		       ? r
		       : umbra_report(problems, "the diff area of '%s': %s", volume, problem);
}

/* Without umbrad, as when it was killed with its second, writers may have to wait for ever. */
static int check_daemon(struct umbra_session *s, const json_t *areas, json_t *problems,
			json_t *repaired)
{
	struct umbra_error why = {0};

	if (!umbra_daemon_is_needed(areas) || umbra_daemon_at_work(s->engine))
		return 0;
	if (umbra_daemon_need(s->engine, &why) < 0)
		return umbra_report(problems, "%s", why.text);
	return umbra_report(repaired, "umbrad, without which nothing looks after the diff areas, "
				      "was not at work and was started");
}

int umbra_check_areas(struct umbra_session *s, json_t *problems, json_t *repaired,
		      struct umbra_error *err)
{
	_cleanup_json_ json_t *areas = json_array();
	const struct umbra_provider *const *p;
	struct umbra_error why = {0};
	const json_t *area;
	size_t n, i;
	int r = areas ? 0 : -ENOMEM;

	p = umbra_providers(&n);
	for (i = 0; r == 0 && i < n; i++)
		if (p[i]->storage &&
		    p[i]->storage->list(umbra_engine_state_fd(s->engine),
					umbra_engine_state_dir(s->engine), areas, &why) < 0)
			r = umbra_report(problems, "%s", why.text);
	json_array_foreach (areas, i, area)
		if (r == 0)
			r = report_area(area, problems);
	if (r == 0)
		r = check_daemon(s, areas, problems, repaired);
	return r < 0 ? umbra_oom(err) : 0;
}

/* What was given up is as good as deleted. */
static int find_conditions(struct umbra_session *s, json_t *problems, struct umbra_error *err)
{
	_cleanup_json_ json_t *gone = json_array();
	struct umbra_error why = {0};
	bool changed;
	int r;

	if (!gone)
		return umbra_oom(err);
	r = umbra_conditions_ask(s->engine, &changed, gone, &why);
	if (r < 0)
		r = umbra_report(problems, "%s", why.text);
	return r < 0 ? r : umbra_mark_gone(s, gone, err);
}

int umbra_check(struct umbra_session *s, json_t *problems, json_t *repaired, size_t *sets,
		struct umbra_error *err)
{
	_cleanup_set_list_ struct umbra_set_list list = {0};
	struct unknown unknown = {&list, problems, umbra_engine_state_fd(s->engine)};
	struct umbra_catalog *catalog = umbra_engine_catalog(s->engine);
	size_t i, k, created = 0;
	int r;

	s->phase = "checking";
	r = umbra_catalog_verify(catalog, err);
	if (r == 0)
		r = find_conditions(s, problems, err);
	if (r == 0)
		r = umbra_reconcile(s, repaired, err);
	umbra_session_announce(
		s); /* whoever changed something may have died before the mounts knew */
	if (r == 0)
		r = umbra_catalog_load(catalog, UMBRA_LOAD_FULL, &list, err);
	if (r == 0)
		r = umbra_conditions_show(unknown.state_fd, list.sets, list.n, err);
	if (r == 0)
		r = umbra_check_areas(s, problems, repaired, err);
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
		r = scan_all(s, look, &unknown, problems, err);
	*sets = created;
	return r;
}
