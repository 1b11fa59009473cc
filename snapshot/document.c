/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/document.h"

#include <string.h>

#define RECORD_VERSION 1
#define SEQ_MAX        (INT64_C(1) << 53) /* after the greatest there is no next one */

static int put_int(json_t *obj, const char *key, int64_t value)
{
	return json_object_set_new(obj, key, json_integer(value)) < 0 ? -ENOMEM : 0;
}

/* Members that people and programs ask for. */
static json_t *shadow_public(const struct umbra_shadow *shadow, bool brief)
{
	_cleanup_json_ json_t *obj = json_object();

	if (!obj || umbra_doc_set_string(obj, "shadow", shadow->id.s) < 0 ||
	    umbra_doc_set_path(obj, "path", shadow->path) < 0 ||
	    umbra_doc_set_string(obj, "provider", shadow->provider) < 0 ||
	    umbra_doc_set_string(obj, "consistency", umbra_label_name(shadow->label)) < 0)
		return NULL;
	if (!brief && (umbra_doc_set_path(obj, "volume", shadow->volume) < 0 ||
		       put_int(obj, "begin_us", shadow->begin_us) < 0 ||
		       put_int(obj, "end_us", shadow->end_us) < 0 ||
		       json_object_set(obj, "notes", shadow->notes) < 0))
		return NULL;
	return TAKE_PTR(obj);
}

static json_t *steps_array(const struct umbra_set *set)
{
	_cleanup_json_ json_t *steps = json_array();
	size_t i;

	for (i = 0; steps && i < set->n_steps; i++)
		if (json_array_append_new(steps, json_pack("{s:s,s:I}", "step", set->steps[i].name,
							   "us", (json_int_t)set->steps[i].us)) < 0)
			return NULL;
	return TAKE_PTR(steps);
}

static int put_set_head(json_t *obj, const struct umbra_set *set)
{
	char token[UMBRA_TOKEN_LEN + 1];

	umbra_token_format(set->time, token);
	if (umbra_doc_set_string(obj, "set", set->id.s) < 0 ||
	    umbra_doc_set_string(obj, "timestamp", token) < 0 ||
	    umbra_doc_set_string(obj, "state", umbra_set_state_name(set->state)) < 0 ||
	    umbra_doc_set_string(obj, "consistency", umbra_label_name(set->label)) < 0 ||
	    put_int(obj, "freeze_us", set->freeze_us) < 0 ||
	    put_int(obj, "hold_us", set->hold_us) < 0 || put_int(obj, "skew_us", set->skew_us) < 0)
		return -ENOMEM;
	return set->comment ? umbra_doc_set_path(obj, "comment", set->comment) : 0;
}

/* Only where there is something to be said. */
static int put_condition(json_t *obj, const struct umbra_shadow *shadow)
{
	if (shadow->condition == UMBRA_CONDITION_GOOD)
		return 0;
	if (umbra_doc_set_string(obj, "condition", umbra_condition_name(shadow->condition)) < 0 ||
	    umbra_doc_set_string(obj, "why", shadow->why) < 0)
		return -ENOMEM;
	return shadow->condition == UMBRA_CONDITION_LOST
		       ? umbra_doc_set_string(obj, "lost", shadow->why)
		       : 0;
}

json_t *umbra_set_public(const struct umbra_set *set, bool brief)
{
	_cleanup_json_ json_t *obj = json_object();
	json_t *volumes = json_array(), *one;
	size_t i;

	if (!obj || json_object_set_new(obj, "volumes", volumes) < 0 || put_set_head(obj, set) < 0)
		return NULL;
	for (i = 0; i < set->n_shadows; i++) {
		one = shadow_public(set->shadows[i], brief);
		if (json_array_append_new(volumes, one) < 0 ||
		    put_condition(one, set->shadows[i]) < 0)
			return NULL;
	}
	if (json_object_set_new(obj, "writers", json_array()) < 0)
		return NULL;
	if (!brief && json_object_set_new(obj, "steps", steps_array(set)) < 0)
		return NULL;
	return TAKE_PTR(obj);
}

static json_t *above_array(const struct umbra_shadow *shadow)
{
	_cleanup_json_ json_t *above = json_array();
	const struct umbra_above *a;
	json_t *one;
	size_t i;

	for (i = 0; above && i < shadow->n_above; i++) {
		a = &shadow->above[i];
		one = json_pack("{s:i,s:I,s:I,s:s?}", "mode", (int)a->mode, "uid",
				(json_int_t)a->uid, "gid", (json_int_t)a->gid, "acl", a->acl);
		if (json_array_append_new(above, one) < 0)
			return NULL;
	}
	return TAKE_PTR(above);
}

static int parse_above(struct umbra_shadow *shadow, const json_t *array)
{
	size_t i, n = json_array_size(array);
	const json_t *one;
	const char *acl;
	int64_t mode;

	if (n == 0)
		return 0;
	shadow->above = calloc(n, sizeof(*shadow->above));
	if (!shadow->above)
		return -ENOMEM;
	shadow->n_above = n;
	json_array_foreach (array, i, one) {
		mode = umbra_doc_int(one, "mode", -1);
		if (mode < 0 || mode > 07777)
			return -EBADMSG;
		shadow->above[i].mode = (mode_t)mode;
		shadow->above[i].uid = (uid_t)umbra_doc_int(one, "uid", 0);
		shadow->above[i].gid = (gid_t)umbra_doc_int(one, "gid", 0);
		acl = umbra_doc_string(one, "acl");
		if (acl && !(shadow->above[i].acl = strdup(acl)))
			return -ENOMEM;
	}
	return 0;
}

json_t *umbra_shadow_detail(const struct umbra_shadow *shadow)
{
	_cleanup_json_ json_t *obj = json_object();

	if (!obj || put_int(obj, "begin_us", shadow->begin_us) < 0 ||
	    put_int(obj, "end_us", shadow->end_us) < 0 ||
	    json_object_set(obj, "data", shadow->data) < 0 ||
	    json_object_set(obj, "notes", shadow->notes) < 0 ||
	    json_object_set_new(obj, "above", above_array(shadow)) < 0)
		return NULL;
	return TAKE_PTR(obj);
}

int umbra_shadow_set_detail(struct umbra_shadow *shadow, const json_t *doc)
{
	json_t *data = json_object_get(doc, "data"), *notes = json_object_get(doc, "notes");

	if (!json_is_object(data) || !json_is_array(notes))
		return -EBADMSG;
	json_decref(shadow->data);
	shadow->data = json_incref(data);
	json_decref(shadow->notes);
	shadow->notes = json_incref(notes);
	shadow->begin_us = umbra_doc_int(doc, "begin_us", 0);
	shadow->end_us = umbra_doc_int(doc, "end_us", 0);
	return parse_above(shadow, json_object_get(doc, "above"));
}

json_t *umbra_set_detail(const struct umbra_set *set)
{
	_cleanup_json_ json_t *obj = json_object();

	if (!obj || json_object_set_new(obj, "steps", steps_array(set)) < 0)
		return NULL;
	return TAKE_PTR(obj);
}

int umbra_set_set_detail(struct umbra_set *set, const json_t *doc)
{
	const json_t *one;
	const char *name;
	size_t i;
	int r;

	json_array_foreach (json_object_get(doc, "steps"), i, one) {
		name = umbra_doc_string(one, "step");
		if (!name)
			return -EBADMSG;
		r = umbra_set_add_step(set, name, umbra_doc_int(one, "us", 0));
		if (r < 0)
			return r;
	}
	return 0;
}

json_t *umbra_shadow_record(const struct umbra_set *set, const struct umbra_shadow *shadow,
			    const char *state_dir)
{
	_cleanup_json_ json_t *obj = json_object(), *head = json_object();
	_cleanup_json_ json_t *one = shadow_public(shadow, true);
	_cleanup_json_ json_t *detail = umbra_shadow_detail(shadow);
	_cleanup_json_ json_t *set_detail = umbra_set_detail(set);

	if (!obj || !head || !one || !detail || !set_detail || put_set_head(head, set) < 0 ||
	    json_object_update(head, set_detail) < 0 || json_object_update(one, detail) < 0)
		return NULL;
	if (put_int(head, "seq", set->seq) < 0 ||
	    put_int(head, "members", (int64_t)set->n_shadows) < 0 ||
	    put_int(one, "index", shadow->index) < 0 ||
	    umbra_doc_set_path(one, "volume", shadow->volume) < 0 ||
	    umbra_doc_set_path(obj, "state_dir", state_dir) < 0 ||
	    put_int(obj, "umbra", RECORD_VERSION) < 0 || json_object_set(obj, "set", head) < 0 ||
	    json_object_set(obj, "shadow", one) < 0)
		return NULL;
	return TAKE_PTR(obj);
}

static int bad_record(struct umbra_error *err, const char *what)
{
	return umbra_fail(err, UMBRA_E_DAMAGED, EBADMSG, "the record has no valid '%s'", what);
}

static int parse_set_head(const json_t *doc, struct umbra_set *set, struct umbra_error *err)
{
	const char *id = umbra_doc_string(doc, "set");
	const char *token = umbra_doc_string(doc, "timestamp");

	if (!id || !umbra_id_valid(id))
		return bad_record(err, "set");
	memcpy(set->id.s, id, sizeof(set->id.s));
	if (!token || umbra_token_parse(token, &set->time) < 0)
		return bad_record(err, "timestamp");
	if (umbra_label_parse(umbra_doc_string(doc, "consistency"), &set->label) < 0)
		return bad_record(err, "consistency");
	set->state = UMBRA_SET_CREATED;
	set->seq = umbra_doc_int(doc, "seq", 0);
	if (set->seq < 0 || set->seq > SEQ_MAX)
		return bad_record(err, "seq");
	set->freeze_us = umbra_doc_int(doc, "freeze_us", 0);
	set->hold_us = umbra_doc_int(doc, "hold_us", 0);
	set->skew_us = umbra_doc_int(doc, "skew_us", 0);
	if (umbra_doc_get_path(doc, "comment", &set->comment) == -ENOMEM)
		return umbra_oom(err);
	return umbra_set_set_detail(set, doc) < 0 ? bad_record(err, "steps") : 0;
}

static int parse_shadow(const json_t *doc, struct umbra_set *set, struct umbra_error *err)
{
	_cleanup_free_ char *path = NULL, *volume = NULL;
	const char *id = umbra_doc_string(doc, "shadow");
	const char *provider = umbra_doc_string(doc, "provider");
	int64_t index = umbra_doc_int(doc, "index", 0);
	struct umbra_shadow *shadow;

	if (!id || !umbra_id_valid(id))
		return bad_record(err, "shadow");
	if (!provider || !*provider)
		return bad_record(err, "provider");
	if (umbra_doc_get_path(doc, "path", &path) < 0 || path[0] != '/')
		return bad_record(err, "path");
	if (umbra_doc_get_path(doc, "volume", &volume) < 0)
		return bad_record(err, "volume");
	if (index < 1 || index > UMBRA_INDEX_MAX)
		return bad_record(err, "index");
	shadow = umbra_shadow_new(path, provider);
	if (!shadow || umbra_set_add_shadow(set, shadow) < 0)
		return umbra_oom(err);
	memcpy(shadow->id.s, id, sizeof(shadow->id.s));
	shadow->index = (unsigned int)index;
	free(shadow->volume);
	shadow->volume = TAKE_PTR(volume);
	if (umbra_label_parse(umbra_doc_string(doc, "consistency"), &shadow->label) < 0)
		return bad_record(err, "consistency");
	return umbra_shadow_set_detail(shadow, doc) < 0 ? bad_record(err, "data") : 0;
}

int umbra_shadow_record_parse(const json_t *doc, struct umbra_set **out, char **state_dir,
			      size_t *members, struct umbra_error *err)
{
	const json_t *head = json_object_get(doc, "set"), *one = json_object_get(doc, "shadow");
	_cleanup_set_ struct umbra_set *set = umbra_set_new();
	_cleanup_free_ char *dir = NULL;
	int64_t n;
	int r;

	if (!set)
		return umbra_oom(err);
	if (umbra_doc_int(doc, "umbra", 0) != RECORD_VERSION)
		return umbra_fail(err, UMBRA_E_DAMAGED, EBADMSG,
				  "the record is not of version %d, the one this umbra knows",
				  RECORD_VERSION);
	r = parse_set_head(head, set, err);
	if (r == 0)
		r = parse_shadow(one, set, err);
	if (r < 0)
		return r;
	n = umbra_doc_int(head, "members", 0);
	if (n < 1 || n > UMBRA_SET_VOLUMES_MAX)
		return bad_record(err, "members");
	if (umbra_doc_get_path(doc, "state_dir", &dir) < 0)
		return bad_record(err, "state_dir");
	if (state_dir)
		*state_dir = TAKE_PTR(dir);
	if (members)
		*members = (size_t)n;
	*out = TAKE_PTR(set);
	return 0;
}
