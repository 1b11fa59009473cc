/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "coordinator/create.h"

#include <string.h>
#include <unistd.h>

#include "common/fault.h"
#include "common/log.h"
#include "common/text.h"
#include "coordinator/daemon.h"
#include "coordinator/instant.h"
#include "coordinator/reconcile.h"

#define SECOND_US 3000000 /* to wait for the one that a set is named after */

/* One creation under way. */
struct creation {
	struct umbra_session *s;
	const struct umbra_plan_request *request;
	const char *comment;
	struct umbra_plan plan;
	struct umbra_set *set;
	struct umbra_member *members; /* one for each of set->shadows; all or none are there */
	int *origins;                 /* of the members: borrowed by them; plan.n, or NULL */
	int64_t recorded_us;          /* CLOCK_MONOTONIC when the set got its time */
	bool recorded;                /* in the catalog: has to be undone */
};

static int resolve(struct creation *c, struct umbra_error *err)
{
	int r;

	c->s->phase = "resolving";
	r = umbra_plan_make(c->s, c->request, &c->plan, err);
	return r < 0 ? r : umbra_fault_fail("create.resolved", err);
}

static int add_shadow(struct creation *c, size_t i, struct umbra_error *err)
{
	const struct umbra_plan_item *item = &c->plan.items[i];
	struct umbra_shadow *shadow = umbra_shadow_new(item->volume->path, item->provider->name);
	int r;

	if (!shadow || umbra_set_add_shadow(c->set, shadow) < 0)
		return umbra_oom(err);
	shadow->label = item->provider->label;
	/* So that a leftover can be found although its provider had no time to say where it is. */
	if (umbra_doc_set_string(shadow->data, "origin_uuid", item->volume->uuid) < 0)
		return umbra_oom(err);
	r = umbra_plan_record_above(shadow, &c->origins[i], err);
	return r < 0 ? r : umbra_plan_note_uncovered(c->s, &c->plan, shadow, err);
}

static int load_previous(struct creation *c, struct umbra_member *m, struct umbra_error *err)
{
	_cleanup_set_ struct umbra_set *set = NULL;
	size_t count, i;
	int r;

	r = umbra_catalog_load_previous(umbra_engine_catalog(c->s->engine), m->shadow->path,
					m->provider->name, &set, &count, err);
	if (r < 0)
		return r;
	if (count >= UMBRA_VOLUME_SHADOWS_MAX)
		return umbra_fail(err, UMBRA_E_NO_SPACE, EDQUOT,
				  "'%s' has %zu shadow copies, the most a volume can have: delete "
				  "some, as with 'umbra delete --oldest %s'",
				  m->shadow->path, count, UMBRA_WORD(m->shadow->path));
	for (i = 0; set && i < set->n_shadows; i++) {
		if (strcmp(set->shadows[i]->path, m->shadow->path) != 0)
			continue;
		m->previous = TAKE_PTR(set->shadows[i]);
		set->shadows[i] = set->shadows[--set->n_shadows];
	}
	return 0;
}

static int make_members(struct creation *c, struct umbra_error *err)
{
	struct umbra_member *m;
	size_t i;
	int r = 0;

	c->members = calloc(c->plan.n, sizeof(*c->members));
	if (!c->members)
		return umbra_oom(err);
	for (i = 0; r == 0 && i < c->plan.n; i++) {
		m = &c->members[i];
		*m = (struct umbra_member){
			.provider = c->plan.items[i].provider,
			.volume = c->plan.items[i].volume,
			.set = c->set,
			.shadow = c->set->shadows[i],
			.origin_fd = c->origins[i],
			.state_fd = umbra_engine_state_fd(c->s->engine),
			.state_dir = umbra_engine_state_dir(c->s->engine),
			.watch = &c->s->watch,
		};
		r = load_previous(c, m, err);
	}
	return r;
}

/* Copies are ordered by seq, which a clock cannot disturb; people go by the times in the names. */
static int warn_of_clock(struct creation *c, int64_t newest)
{
	char now[UMBRA_TOKEN_LEN + 1], newest_name[UMBRA_TOKEN_LEN + 1];

	if (newest <= c->set->time + 1)
		return 0;
	umbra_token_format(c->set->time, now);
	umbra_token_format(newest, newest_name);
	return umbra_session_warn(c->s,
				  "the clock was set back: this set is named %s although %s is "
				  "older; 'latest' is this one all the same",
				  now, newest_name);
}

static int warn_of_haste(struct creation *c)
{
	char token[UMBRA_TOKEN_LEN + 1];

	umbra_token_format(c->set->time, token);
	return umbra_session_warn(c->s,
				  "the name of this set, %s, is ahead of the clock, which was set "
				  "back: all seconds before have sets already",
				  token);
}

/* A second that another set has gives the next one; the name must not run ahead of the clock, if
 * that comes there soon: others wait for the lock. */
static int wait_for_second(struct creation *c, struct umbra_error *err)
{
	const int64_t until = umbra_now_us() + SECOND_US;
	int r = 0;

	while (r == 0 && c->set->time > umbra_now() + 1) {
		if (secure_getenv("UMBRA_TEST_NOW"))
			return 0;
		if (umbra_now_us() >= until)
			return warn_of_haste(c) < 0 ? umbra_oom(err) : 0;
		usleep(20000);
		r = umbra_watch_tick(&c->s->watch, NULL, err);
	}
	return r;
}

static int new_origins(struct creation *c)
{
	size_t i;

	c->origins = calloc(c->plan.n, sizeof(*c->origins));
	for (i = 0; c->origins && i < c->plan.n; i++)
		c->origins[i] = -1;
	return c->origins ? 0 : -ENOMEM;
}

static int record(struct creation *c, struct umbra_error *err)
{
	int64_t newest = 0;
	size_t i;
	int r = 0;

	c->set = umbra_set_new();
	if (!c->set || new_origins(c) < 0 ||
	    (c->comment && *c->comment && !(c->set->comment = strdup(c->comment))))
		return umbra_oom(err);
	for (i = 0; r == 0 && i < c->plan.n; i++)
		r = add_shadow(c, i, err);
	if (r == 0)
		r = make_members(c, err);
	c->set->state = UMBRA_SET_PREPARING;
	c->set->time = umbra_now();
	if (r == 0)
		r = umbra_catalog_newest_time(umbra_engine_catalog(c->s->engine), &newest, err);
	if (r == 0)
		r = umbra_catalog_add(umbra_engine_catalog(c->s->engine), c->set, err);
	if (r < 0)
		return r;
	c->recorded = true;
	c->recorded_us = umbra_now_us();
	if (warn_of_clock(c, newest) < 0)
		return umbra_oom(err);
	r = umbra_fault_fail("create.recorded", err);
	return r < 0 ? r : wait_for_second(c, err);
}

/* A copy that has to be looked after is looked after from its first write on. */
static bool needs_daemon(const struct creation *c)
{
	size_t i;

	for (i = 0; i < c->plan.n; i++)
		if (c->plan.items[i].provider->storage)
			return true;
	return false;
}

static int prepare(struct creation *c, struct umbra_error *err)
{
	struct umbra_member *m;
	size_t i;
	int r = needs_daemon(c) ? umbra_daemon_start(c->s->engine, err) : 0;

	c->s->phase = "preparing";
	for (i = 0; r == 0 && i < c->set->n_shadows; i++) {
		m = &c->members[i];
		r = m->provider->prepare(m, err);
		if (r == 0)
			r = umbra_fault_fail("create.prepared", err);
		r = umbra_in_member(m, r, err);
	}
	if (r == 0 && needs_daemon(c))
		r = umbra_daemon_need(c->s->engine, err);
	return r < 0 ? r : umbra_watch_tick(&c->s->watch, NULL, err);
}

static int instant(struct creation *c, struct umbra_error *err)
{
	int r;

	c->s->phase = "copying";
	r = umbra_instant(c->set, c->members, c->recorded_us, err);
	if (r > 0)
		umbra_session_warn(c->s, "umbra-guard was stopped or killed while volumes were "
					 "held; the copies are sound");
	return r < 0 ? r : 0;
}

/* What the set is follows from what its members became. */
static void judge(struct umbra_set *set)
{
	int64_t first = INT64_MAX, last = 0;
	size_t i;

	set->label = UMBRA_LABEL_APPLICATION;
	for (i = 0; i < set->n_shadows; i++) {
		if (set->shadows[i]->label < set->label)
			set->label = set->shadows[i]->label;
		if (set->shadows[i]->begin_us < first)
			first = set->shadows[i]->begin_us;
		if (set->shadows[i]->end_us > last)
			last = set->shadows[i]->end_us;
	}
	set->skew_us = set->n_shadows > 1 ? last - first : 0;
}

static int finish(struct creation *c, struct umbra_error *err)
{
	size_t i;
	int r = 0;

	c->s->phase = "finishing";
	judge(c->set);
	for (i = 0; r == 0 && i < c->set->n_shadows; i++) {
		r = umbra_member_finish(&c->members[i], err);
		if (r == 0)
			r = umbra_fault_fail("create.finished", err);
		r = umbra_in_member(&c->members[i], r, err);
	}
	return r < 0 ? r : umbra_watch_tick(&c->s->watch, NULL, err);
}

static int created(struct creation *c, struct umbra_error *err)
{
	int r;

	c->set->state = UMBRA_SET_CREATED;
	r = umbra_catalog_update(umbra_engine_catalog(c->s->engine), c->set, err);
	if (r < 0)
		c->set->state = UMBRA_SET_PREPARING;
	umbra_fault("create.created"); /* too late to fail */
	return r;
}

/* In the order of umbra-design(7), "A set, step by step"; writers' events come between these. */
static const struct step {
	const char *name;
	int (*run)(struct creation *c, struct umbra_error *err);
} steps[] = {
	{"resolve", resolve}, {"record", record}, {"prepare", prepare},
	{"instant", instant}, {"finish", finish}, {"created", created},
};

static void undo(struct creation *c, struct umbra_error *err)
{
	char token[UMBRA_TOKEN_LEN + 1];
	struct umbra_error why = {0};
	bool same;

	if (!c->recorded || umbra_undo_set(c->s, c->set, c->members, &why) == 0)
		return;
	same = err && strstr(err->text, why.text);
	umbra_token_format(c->set->time, token);
	umbra_log_warning("what is left of the unfinished set %s could not be removed%s%s%s; the "
			  "next create, delete or check tries again",
			  token, same ? ", for the same reason" : " (", same ? "" : why.text,
			  same ? "" : ")");
	if (err && err->code == UMBRA_E_INTERNAL)
		err->code = why.code;
}

static void warn_of_notes(struct creation *c)
{
	static const struct {
		const char *kind, *text;
	} kinds[] = {
		{UMBRA_NOTE_CHANGED, "changed while being read and may hold parts of two versions"},
		{UMBRA_NOTE_UNREADABLE, "could not be read: the content is not in the copy"},
		{UMBRA_NOTE_PARTIAL, "could not be kept with all attributes"},
	};
	size_t i, k, j, n;
	const json_t *note;
	const char *kind, *first;

	for (i = 0; i < c->set->n_shadows; i++) {
		for (k = 0; k < UMBRA_ARRAY_SIZE(kinds); k++) {
			n = 0;
			first = NULL;
			json_array_foreach (c->set->shadows[i]->notes, j, note) {
				kind = umbra_doc_string(note, "kind");
				if (!kind || strcmp(kind, kinds[k].kind) != 0)
					continue;
				if (n++ == 0)
					first = umbra_doc_string(note, "path");
			}
			if (n == 1)
				umbra_session_warn(c->s, "'%s' %s", first, kinds[k].text);
			else if (n > 1)
				umbra_session_warn(c->s,
						   "'%s' and %zu more in '%s' %s ('umbra show' "
						   "names them)",
						   first, n - 1, c->set->shadows[i]->path,
						   kinds[k].text);
		}
	}
}

static void free_creation(struct creation *c)
{
	size_t i;

	for (i = 0; c->members && i < c->plan.n; i++)
		umbra_shadow_free(c->members[i].previous);
	free(c->members);
	for (i = 0; c->origins && i < c->plan.n; i++)
		umbra_close(c->origins[i]);
	free(c->origins);
	umbra_set_free(c->set);
	umbra_plan_finish(&c->plan);
}

int umbra_create(struct umbra_session *s, const struct umbra_plan_request *request,
		 const char *comment, struct umbra_set **out, struct umbra_error *err)
{
	struct creation c = {.s = s, .request = request, .comment = comment};
	int64_t durations[UMBRA_ARRAY_SIZE(steps)], start;
	size_t i, k;
	int r = 0;

	for (i = 0; r == 0 && i < UMBRA_ARRAY_SIZE(steps); i++) {
		/* The last step records how long the ones before it took. */
		for (k = 0; i + 1 == UMBRA_ARRAY_SIZE(steps) && k < i; k++)
			if (umbra_set_add_step(c.set, steps[k].name, durations[k]) < 0)
				r = umbra_oom(err);
		start = umbra_now_us();
		if (r == 0)
			r = steps[i].run(&c, err);
		durations[i] = umbra_now_us() - start;
	}
	if (r < 0) {
		undo(&c, err);
	} else {
		warn_of_notes(&c);
		umbra_session_announce(s);
		*out = TAKE_PTR(c.set);
	}
	free_creation(&c);
	return r;
}
