/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "coordinator/revert.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/fault.h"
#include "common/text.h"
#include "coordinator/delete.h"
#include "coordinator/gather.h"
#include "coordinator/reconcile.h"
#include "coordinator/report.h"

/* What a request works on. */
struct work {
	struct umbra_session *s;
	const char *path;
	bool force;
	const struct umbra_set *set;
	struct umbra_shadow *shadow; /* of set */
	const struct umbra_revert_ops *ops;
	struct umbra_revert_request request;
	json_t *given_up; /* ids of sets; borrowed */
};

/* --- which copy --- */

static int cannot(const struct umbra_shadow *shadow, struct umbra_error *err)
{
	return umbra_fail(
		err, UMBRA_E_UNSUPPORTED, EOPNOTSUPP,
		"the shadow copy of '%s' was made by provider '%s', which cannot revert whole "
		"volumes: 'umbra restore' brings files back from it",
		shadow->path, shadow->provider);
}

static int not_in_set(const struct work *w, const char *why, const char *which,
		      struct umbra_error *err)
{
	char token[UMBRA_TOKEN_LEN + 1];

	if (!*why && access(w->path, F_OK) < 0 && errno == ENOENT)
		return umbra_fail(err, UMBRA_E_NOT_FOUND, ENOENT, "'%s' does not exist", w->path);
	umbra_token_format(w->set->time, token);
	return umbra_fail(err, UMBRA_E_NOT_FOUND, ENOENT, "'%s' is no volume of set %s%s%s%s",
			  w->path, token, why, which, *which ? "'" : "");
}

static int by_path(struct work *w, struct umbra_error *err)
{
	struct umbra_shadow *shadow = umbra_set_covering(w->set, w->path);

	if (!shadow)
		return not_in_set(w, "", "", err);
	if (strcmp(shadow->path, w->path) != 0)
		return not_in_set(
			w,
			", but in one: 'umbra restore' brings it back; what can be reverted "
			"is all of '",
			shadow->path, err);
	w->shadow = shadow;
	return 0;
}

static int by_device(struct work *w, dev_t device, struct umbra_error *err)
{
	const struct umbra_provider *p;
	size_t i;
	int r = 0;

	for (i = 0; r == 0 && i < w->set->n_shadows; i++) {
		p = umbra_provider_find(w->set->shadows[i]->provider);
		if (!p || !p->revert)
			continue;
		r = p->revert->on_device(umbra_engine_state_fd(w->s->engine), w->set->shadows[i],
					 device, err);
		if (r > 0)
			w->shadow = w->set->shadows[i];
	}
	return r != 0 ? r : not_in_set(w, "", "", err);
}

static int choose(struct work *w, struct umbra_error *err)
{
	const struct umbra_provider *p;
	struct stat st;
	int r;

	if (stat(w->path, &st) == 0 && S_ISBLK(st.st_mode))
		r = by_device(w, st.st_rdev, err);
	else
		r = by_path(w, err);
	if (r < 0)
		return r;
	p = umbra_provider_find(w->shadow->provider);
	if (!p || !p->revert)
		return cannot(w->shadow, err);
	w->ops = p->revert;
	return 0;
}

/* --- newer copies that cannot be kept --- */

static bool is_newer(const struct work *w, const struct umbra_shadow *shadow)
{
	size_t i;

	for (i = 0; i < w->request.n_newer; i++)
		if (strcmp(w->request.newer[i].s, shadow->id.s) == 0)
			return true;
	return false;
}

static size_t count_newer(const struct work *w, const struct umbra_set *set)
{
	size_t i, n = 0;

	for (i = 0; i < set->n_shadows; i++)
		n += is_newer(w, set->shadows[i]);
	return n;
}

/* A set with other volumes stays, without this one. Who is killed before the copy is gone leaves
 * one that is in no set: give_up_strays(). */
static int give_up_part(struct work *w, struct umbra_set *set, struct umbra_error *err)
{
	char token[UMBRA_TOKEN_LEN + 1];
	size_t i;
	int r = 0;

	for (i = 0; r == 0 && i < set->n_shadows; i++) {
		if (!is_newer(w, set->shadows[i]))
			continue;
		r = umbra_drop_shadow(w->s, set->shadows[i], err);
		if (r == 0)
			r = umbra_fault_fail("revert.cleared", err);
		if (r == 0)
			r = umbra_clear_shadow(w->s, set, set->shadows[i], err);
	}
	umbra_token_format(set->time, token);
	if (r == 0 && umbra_session_warn(w->s, "set %s has no copy of '%s' any more", token,
					 w->shadow->path) < 0)
		r = umbra_oom(err);
	return r;
}

static bool is_in_a_set(const struct umbra_set_list *list, const struct umbra_id *id)
{
	size_t i, k;

	for (i = 0; i < list->n; i++)
		for (k = 0; k < list->sets[i]->n_shadows; k++)
			if (strcmp(list->sets[i]->shadows[k]->id.s, id->s) == 0)
				return true;
	return false;
}

static int give_up_strays(struct work *w, const struct umbra_set_list *list,
			  struct umbra_error *err)
{
	struct umbra_shadow stray = *w->shadow; /* of the same volume */
	size_t i;
	int r = 0;

	for (i = 0; r == 0 && i < w->request.n_newer; i++) {
		if (is_in_a_set(list, &w->request.newer[i]))
			continue;
		stray.id = w->request.newer[i];
		r = umbra_clear_shadow(w->s, w->set, &stray, err);
	}
	return r;
}

static int give_up(struct work *w, struct umbra_error *err)
{
	_cleanup_set_list_ struct umbra_set_list list = {0};
	_cleanup_free_ const char **ids = NULL;
	size_t i, n, whole = 0;
	int r = umbra_catalog_load(umbra_engine_catalog(w->s->engine), UMBRA_LOAD_FULL, &list, err);

	ids = calloc(list.n + 1, sizeof(*ids));
	if (r == 0 && !ids)
		return umbra_oom(err);
	for (i = 0; r == 0 && i < list.n; i++) {
		n = count_newer(w, list.sets[i]);
		if (n == 0)
			continue;
		if (json_array_append_new(w->given_up, json_string(list.sets[i]->id.s)) < 0)
			r = umbra_oom(err);
		else if (n == list.sets[i]->n_shadows)
			ids[whole++] = list.sets[i]->id.s;
		else
			r = give_up_part(w, list.sets[i], err);
	}
	if (r == 0)
		r = give_up_strays(w, &list, err);
	if (r == 0 && whole > 0)
		r = umbra_delete(w->s, ids, whole, err);
	return r < 0 ? r : umbra_fault_fail("revert.given-up", err);
}

/* --- the revert --- */

static int begin(struct work *w, struct umbra_revert **out, struct umbra_error *err)
{
	int r;

	w->request.state_fd = umbra_engine_state_fd(w->s->engine);
	w->request.shadow = w->shadow;
	w->request.watch = &w->s->watch;
	r = w->ops->begin(&w->request, out, err);
	if (r < 0 && r != -ENOSPC)
		umbra_engine_say_lost(w->s->engine, w->shadow, r, err);
	if (r != -ENOSPC || !w->force || w->request.n_newer == 0)
		return r;
	r = give_up(w, err);
	w->s->phase = "reverting";
	return r < 0 ? r : w->ops->begin(&w->request, out, err);
}

static int revert(struct work *w, json_t *result, struct umbra_error *err)
{
	struct umbra_revert *under_way;
	int r;

	w->s->phase = "reverting";
	r = begin(w, &under_way, err);
	if (r < 0)
		return r;
	/* The volume and its copy are safe from all others; whoever wants another volume need not
	 * wait for this one. */
	w->s->lock_fd = umbra_close(w->s->lock_fd);
	r = umbra_fault_fail("revert.begun", err);
	if (r == 0)
		r = w->ops->run(under_way, err);
	if (r < 0)
		umbra_wrap(
			err, r,
			"'%s' is reverted only in part, and not to be used before 'umbra revert' "
			"went on with it",
			w->shadow->path);
	else if (json_object_set_new(result, "bytes", json_integer((json_int_t)under_way->bytes)) <
			 0 ||
		 json_object_set_new(result, "resumed", json_boolean(under_way->resumed)) < 0 ||
		 umbra_doc_set_path(result, "path", w->shadow->path) < 0 ||
		 umbra_doc_set_path(result, "device", under_way->device) < 0)
		r = umbra_oom(err);
	w->ops->end(under_way);
	return r;
}

int umbra_revert_serve(struct umbra_session *s, const json_t *request, json_t *result,
		       struct umbra_error *err)
{
	struct work w = {.s = s,
			 .force = umbra_doc_bool(request, "force", false),
			 .request.unmount = umbra_doc_bool(request, "unmount", false)};
	const char *id = umbra_doc_string(request, "set");
	_cleanup_set_ struct umbra_set *set = NULL;
	_cleanup_free_ char *path = NULL;
	int r;

	if (umbra_doc_get_path(request, "path", &path) < 0 || path[0] != '/' || !id ||
	    !umbra_id_valid(id))
		return umbra_fail(err, UMBRA_E_USAGE, EINVAL,
				  "the request has no valid 'path' and 'set'");
	w.path = path;
	w.given_up = json_array();
	if (json_object_set_new(result, "given_up", w.given_up) < 0)
		return umbra_oom(err);
	r = umbra_catalog_load_one(umbra_engine_catalog(s->engine), id, &set, err);
	if (r < 0)
		return r;
	if (set->state != UMBRA_SET_CREATED)
		return umbra_fail(err, UMBRA_E_NOT_FOUND, ENOENT,
				  "set '%s' is unfinished, or being deleted", id);
	w.set = set;
	r = choose(&w, err);
	if (r == 0)
		r = revert(&w, result, err);
	free(w.request.newer);
	return r;
}

/* --- one that is under way --- */

int umbra_revert_permits(struct umbra_session *s, const struct umbra_set *set,
			 struct umbra_error *err)
{
	char token[UMBRA_TOKEN_LEN + 1];
	const struct umbra_provider *p;
	size_t i;

	for (i = 0; i < set->n_shadows; i++) {
		struct umbra_error why = {0};

		p = umbra_provider_find(set->shadows[i]->provider);
		/* Where it cannot be told, deleting it cannot do harm either. */
		if (!p || !p->revert ||
		    p->revert->under_way(umbra_engine_state_fd(s->engine), set->shadows[i], &why) <=
			    0)
			continue;
		umbra_token_format(set->time, token);
		return umbra_fail(
			err, UMBRA_E_BUSY, EBUSY,
			"'%s' is reverted to set %s, and only in part yet: let 'umbra revert %s "
			"--from %s' go on with it, or revert to another set",
			set->shadows[i]->path, token, UMBRA_WORD(set->shadows[i]->path), token);
	}
	return 0;
}
