/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Copies that are lost, and why. The reason is kept in the copy's record, in the diff area: whoever
 * finds out may be the one that the filesystem of the state directory waits for.
 */
#include <string.h>

#include "snapshot/provider/dm/parts.h"

#define MEMBER "lost"

/* --- the reason --- */

static int note_one(struct umbra_protected *p, const struct umbra_pool_copy *copy, const char *why)
{
	_cleanup_json_ json_t *doc = NULL;
	int r = umbra_dm_record_read(p, copy, &doc, NULL);

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

const char *umbra_dm_lost_why(const struct umbra_protected *p, const struct umbra_pool_copy *copy,
			      char out[UMBRA_ERROR_MAX])
{
	_cleanup_json_ json_t *doc = NULL;
	const char *why = NULL;

	if (p->adrift)
		why = p->why;
	else if (umbra_dm_record_read(p, copy, &doc, NULL) == 0)
		why = umbra_doc_string(doc, MEMBER);
	snprintf(out, UMBRA_ERROR_MAX, "%s",
		 why && *why ? why
			     : "its volume was, or may have been, written without umbra's layer, "
			       "or its diff area was full, or failed");
	return out;
}

/* --- what became of copies --- */

static int set_fate(struct umbra_fate *fate, enum umbra_fate_kind kind, const char *why)
{
	fate->kind = kind;
	fate->why = why ? strdup(why) : NULL;
	return why && !fate->why ? -ENOMEM : 0;
}

static int judge_copy(const struct umbra_protected *p, struct umbra_fate *fate)
{
	uint32_t i = umbra_pool_find(p->pool, &fate->shadow->id);
	enum umbra_pool_state state =
		i < p->pool->n_copies ? p->pool->copies[i].state : UMBRA_POOL_HIDDEN;
	char why[UMBRA_ERROR_MAX];

	if (state == UMBRA_POOL_LOST)
		return set_fate(fate, UMBRA_FATE_LOST,
				umbra_dm_lost_why(p, &p->pool->copies[i], why));
	if (state == UMBRA_POOL_HIDDEN)
		return set_fate(fate, UMBRA_FATE_GONE,
				"it was given up because its diff area was full");
	return set_fate(fate, UMBRA_FATE_KEPT, NULL);
}

/* Has somebody found out who could not write it to the area? Then why is what he found. */
static bool known_lost(int state_fd, const char *area, struct umbra_error *why)
{
	_cleanup_dm_state_ struct umbra_dm_state s = {0};

	if (umbra_dm_state_read(state_fd, area, &s, NULL) < 0 || !s.lost)
		return false;
	snprintf(why->text, sizeof(why->text), "%s", s.lost);
	return true;
}

/* n copies of one area. */
static int judge_area(int state_fd, const char *area, struct umbra_fate *fates, size_t n,
		      struct umbra_error *err)
{
	_cleanup_protected_ struct umbra_protected *p = NULL;
	_cleanup_dm_state_ struct umbra_dm_state s = {0};
	enum umbra_fate_kind kind = UMBRA_FATE_LOST; /* where it cannot be opened */
	struct umbra_error why = {0};
	int r = umbra_dm_state_read(state_fd, area, &s, &why);
	size_t i;

	if (r == 0) {
		r = umbra_protected_open_area(state_fd, area, UMBRA_PROTECTED_WAIT_MS, &p, &why);
	} else if (r == -ENOENT) {
		kind = UMBRA_FATE_GONE;
		umbra_fail(&why, UMBRA_E_NOT_FOUND, ENOENT, "its diff area was removed");
	}
	if (r < 0 && !known_lost(state_fd, area, &why) && !umbra_protected_out_of_reach(r))
		return umbra_fail(err, why.code, r, "%s", why.text);
	for (i = 0; i < n; i++)
		if ((p ? judge_copy(p, &fates[i]) : set_fate(&fates[i], kind, why.text)) < 0)
			return umbra_oom(err);
	return 0;
}

int umbra_dm_fates(int state_fd, struct umbra_fate *fates, size_t n, struct umbra_error *err)
{
	static const char prefix[] = "dm:";
	struct umbra_error why = {0};
	const char *volume;
	size_t i, same;
	int r = 0, one;

	for (i = 0; i < n; i += same) {
		volume = fates[i].shadow->volume;
		for (same = 1; i + same < n && strcmp(fates[i + same].shadow->volume, volume) == 0;)
			same++;
		if (strncmp(volume, prefix, strlen(prefix)) != 0)
			continue;
		one = judge_area(state_fd, volume + strlen(prefix), &fates[i], same,
				 r < 0 ? &why : err);
		if (r == 0)
			r = one;
	}
	return r;
}
