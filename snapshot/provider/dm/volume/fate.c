/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Can a copy be read, and why not: the one answer that list, show, storage, activate and check
 * have. Of what is lost the reason is kept in the copy's record, in the diff area: whoever finds
 * out may be the one that the filesystem of the state directory waits for.
 */
#include <string.h>

#include "common/text.h"
#include "snapshot/provider/dm/volume/fate.h"
#include "snapshot/provider/dm/volume/record.h"
#include "snapshot/provider/dm/volume/stamp.h"

#define MEMBER "lost"

/* --- the reason --- */

void umbra_dm_reason(char out[UMBRA_ERROR_MAX], const char *term, const char *why)
{
	struct umbra_error text;

	umbra_fail(&text, UMBRA_E_DAMAGED, 0, "%s: %s", term, why);
	snprintf(out, UMBRA_ERROR_MAX, "%s", text.text);
}

/* One that was lost while it was made has no record, and what lies there may be that of a copy
 * that had its place before. */
static bool is_own(const json_t *doc, const struct umbra_pool_copy *copy)
{
	const char *id = umbra_doc_string(json_object_get(doc, "shadow"), "shadow");

	return id && strcmp(id, copy->id.s) == 0;
}

static int note_one(struct umbra_protected *p, const struct umbra_pool_copy *copy, const char *why)
{
	_cleanup_json_ json_t *doc = NULL;
	int r = umbra_dm_record_read(p, copy, &doc, NULL);

	if (r == -EBADMSG || (r == 0 && !is_own(doc, copy))) {
		json_decref(doc);
		doc = json_pack("{s:{s:s}}", "shadow", "shadow", copy->id.s);
		r = doc ? 0 : -ENOMEM;
	}
	if (r < 0 || umbra_doc_string(doc, MEMBER))
		return r;
	return umbra_doc_set_string(doc, MEMBER, why) < 0 ? -ENOMEM
							  : umbra_dm_record_put(p, copy, doc, NULL);
}

void umbra_dm_lost_note(struct umbra_protected *p, const char *why)
{
	uint32_t i;

	snprintf(p->why, sizeof(p->why), "%s", why);
	if (p->adrift)
		return;
	for (i = 0; i < p->pool->n_copies; i++)
		if (p->pool->copies[i].state == UMBRA_POOL_LOST)
			note_one(p, &p->pool->copies[i], why);
	umbra_area_flush(p->area, NULL);
}

static const char *lost_why(const struct umbra_protected *p, const struct umbra_pool_copy *copy,
			    char out[UMBRA_ERROR_MAX])
{
	_cleanup_json_ json_t *doc = NULL;
	const char *why = NULL;

	if (!p->adrift || !*p->why)
		if (umbra_dm_record_read(p, copy, &doc, NULL) == 0 && is_own(doc, copy))
			why = umbra_doc_string(doc, MEMBER);
	if (!why)
		why = p->why;
	snprintf(out, UMBRA_ERROR_MAX, "%s",
		 why && *why ? why
			     : "not collected: the volume was, or may have been, written without "
			       "umbra's layer, or its diff area was full, or failed");
	return out;
}

int umbra_dm_refuse_lost(const struct umbra_protected *p, const struct umbra_pool_copy *copy,
			 struct umbra_error *err)
{
	char why[UMBRA_ERROR_MAX];

	if (copy->state != UMBRA_POOL_LOST)
		return 0;
	return umbra_fail(err, UMBRA_E_DAMAGED, EIO, "it is lost: %s", lost_why(p, copy, why));
}

/* --- what can be read --- */

int umbra_dm_refuse_reverting(const struct umbra_protected *p, struct umbra_error *err)
{
	const struct umbra_pool_copy *to = umbra_pool_reverting(p->pool);
	char set[UMBRA_TOKEN_LEN + 1];

	if (!to)
		return 0;
	if (to->state == UMBRA_POOL_LOST)
		return umbra_fail(
			err, UMBRA_E_BUSY, EBUSY,
			"'%s' was reverted only in part to its copy in set %s, which is "
			"lost: restore the volume from elsewhere, and then delete that set",
			p->path, umbra_dm_set_of(p, to, set));
	return umbra_fail(err, UMBRA_E_BUSY, EBUSY,
			  "'%s' is reverted only in part, and not to be used: unmount it, if it is "
			  "mounted, and 'umbra revert %s --from %s' goes on with it",
			  p->path, UMBRA_WORD(p->path), umbra_dm_set_of(p, to, set));
}

static void set_condition(struct umbra_dm_condition *out, enum umbra_condition kind,
			  const char *term, const char *why)
{
	out->kind = kind;
	umbra_dm_reason(out->why, term, why);
}

static void add_advice(const char *area, char why[UMBRA_ERROR_MAX])
{
	size_t len = strlen(why);

	snprintf(why + len, UMBRA_ERROR_MAX - len,
		 " ('umbra storage remove --force %s' gives it up)", area);
}

void umbra_dm_condition_of_area(const struct umbra_protected *p, struct umbra_dm_condition *out)
{
	struct umbra_error err = {0};

	*out = (struct umbra_dm_condition){.kind = UMBRA_CONDITION_GOOD};
	if (umbra_dm_refuse_reverting(p, &err) < 0)
		set_condition(out, UMBRA_CONDITION_REVERTING, "half reverted", err.text);
	else if (umbra_protected_awake(p, &err) < 0)
		set_condition(out, UMBRA_CONDITION_INACTIVE, "not activated", err.text);
	else if (umbra_stamp_refuse_other(p, &err) == -EBADMSG) {
		set_condition(out, UMBRA_CONDITION_LOST, UMBRA_DM_AREA_UNUSABLE, err.text);
		add_advice(p->kernel.area.s, out->why);
	}
}

void umbra_dm_condition_of_copy(const struct umbra_protected *p, const struct umbra_pool_copy *copy,
				struct umbra_dm_condition *out)
{
	struct umbra_error err = {0};

	*out = (struct umbra_dm_condition){.kind = UMBRA_CONDITION_GOOD};
	if (copy->state == UMBRA_POOL_LOST) {
		out->kind = UMBRA_CONDITION_LOST;
		lost_why(p, copy, out->why);
	} else if (copy->reverting) {
		umbra_dm_condition_of_area(p, out);
	} else if (umbra_protected_awake(p, &err) < 0) {
		set_condition(out, UMBRA_CONDITION_INACTIVE, "not activated", err.text);
	}
}

/* Its disk, or the filesystem of its file, may be there again. */
static bool is_elsewhere(const struct umbra_dm_state *s, int r)
{
	return r == -EXDEV || (r == -ENOENT && s->place && !umbra_area_record_inside(s->place));
}

int umbra_dm_condition_of_closed(int state_fd, const char *area, int r,
				 const struct umbra_error *cause, struct umbra_dm_condition *out)
{
	_cleanup_dm_state_ struct umbra_dm_state s = {0};
	bool noted = umbra_dm_state_read(state_fd, area, &s, NULL) == 0 && s.lost;

	if (!noted && r == -ENODEV) { /* which says what can be done */
		set_condition(out, UMBRA_CONDITION_MISSING, "volume missing", cause->text);
		return 0;
	}
	if (!noted && !umbra_protected_out_of_reach(r))
		return r;
	if (noted) {
		out->kind = UMBRA_CONDITION_LOST;
		snprintf(out->why, sizeof(out->why), "%s", s.lost);
	} else if (is_elsewhere(&s, r)) {
		set_condition(out, UMBRA_CONDITION_MISSING, "diff area missing", cause->text);
	} else {
		set_condition(out, UMBRA_CONDITION_LOST, UMBRA_DM_AREA_UNUSABLE, cause->text);
	}
	add_advice(area, out->why);
	return 0;
}

/* --- what became of copies --- */

static int set_fate(struct umbra_fate *fate, enum umbra_fate_kind kind,
		    const struct umbra_dm_condition *is)
{
	fate->kind = kind;
	fate->condition = is->kind;
	fate->why = is->kind == UMBRA_CONDITION_GOOD ? NULL : strdup(is->why);
	return is->kind == UMBRA_CONDITION_GOOD || fate->why ? 0 : -ENOMEM;
}

static int judge_copy(const struct umbra_protected *p, bool old, struct umbra_fate *fate)
{
	uint32_t i = umbra_pool_find(p->pool, &fate->shadow->id);
	struct umbra_dm_condition is;

	if (i == p->pool->n_copies && old) {
		set_condition(&is, UMBRA_CONDITION_MISSING, "old volume",
			      "where its volume was is that as it was before the copy was made: a "
			      "disk that was made from it, or a backup");
		return set_fate(fate, UMBRA_FATE_KEPT, &is);
	}
	if (i == p->pool->n_copies || p->pool->copies[i].state == UMBRA_POOL_HIDDEN) {
		set_condition(&is, UMBRA_CONDITION_LOST, "given up",
			      "its diff area was full, and it was the oldest in it");
		return set_fate(fate, UMBRA_FATE_GONE, &is);
	}
	umbra_dm_condition_of_copy(p, &p->pool->copies[i], &is);
	return set_fate(fate, UMBRA_FATE_KEPT, &is);
}

/* Missing may come back: not what was lost before. The pool says it, but cannot be read. */
static int judge_unseen(enum umbra_fate_kind kind, const struct umbra_dm_condition *is,
			struct umbra_fate *fate)
{
	const struct umbra_shadow *shadow = fate->shadow;
	struct umbra_dm_condition noted = {.kind = UMBRA_CONDITION_LOST};

	if (is->kind != UMBRA_CONDITION_MISSING || shadow->condition != UMBRA_CONDITION_LOST)
		return set_fate(fate, kind, is);
	snprintf(noted.why, sizeof(noted.why), "%s", shadow->why);
	return set_fate(fate, kind, &noted);
}

/* n copies of one area. */
static int judge_area(int state_fd, const char *area, struct umbra_fate *fates, size_t n,
		      struct umbra_error *err)
{
	_cleanup_protected_ struct umbra_protected *p = NULL;
	enum umbra_fate_kind kind = UMBRA_FATE_KEPT; /* where it cannot be opened */
	struct umbra_dm_condition is = {0};
	_cleanup_dm_state_ struct umbra_dm_state s = {0};
	struct umbra_error why = {0};
	bool removed, old;
	size_t i;
	int r = umbra_dm_state_read(state_fd, area, &s, &why);

	removed = r == -ENOENT;
	if (r == 0)
		r = umbra_protected_open_area(state_fd, area, UMBRA_PROTECTED_WAIT_MS, &p, &why);
	if (removed) {
		kind = UMBRA_FATE_GONE;
		set_condition(&is, UMBRA_CONDITION_LOST, UMBRA_DM_AREA_REMOVED,
			      "'umbra storage remove' gave it up, with the copies in it");
	} else if (r < 0 && umbra_dm_condition_of_closed(state_fd, area, r, &why, &is) < 0) {
		return umbra_fail(err, why.code, r, "%s", why.text);
	}
	old = p && umbra_protected_is_old(p, state_fd);
	for (i = 0; i < n; i++)
		if ((p ? judge_copy(p, old, &fates[i]) : judge_unseen(kind, &is, &fates[i])) < 0)
			return umbra_oom(err);
	return 0;
}

int umbra_dm_fates(int state_fd, struct umbra_fate *fates, size_t n, struct umbra_error *err)
{
	struct umbra_error why = {0};
	const char *volume, *area;
	size_t i, same;
	int r = 0, one;

	for (i = 0; i < n; i += same) {
		volume = fates[i].shadow->volume;
		for (same = 1; i + same < n && strcmp(fates[i + same].shadow->volume, volume) == 0;)
			same++;
		area = umbra_dm_area_of(fates[i].shadow);
		if (!area)
			continue;
		one = judge_area(state_fd, area, &fates[i], same, r < 0 ? &why : err);
		if (r == 0)
			r = one;
	}
	return r;
}
