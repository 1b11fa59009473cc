/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "coordinator/server.h"

#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "coordinator/activate.h"
#include "coordinator/check.h"
#include "coordinator/client.h"
#include "coordinator/create.h"
#include "coordinator/delete.h"
#include "coordinator/forget.h"
#include "coordinator/reconcile.h"
#include "coordinator/revert.h"
#include "coordinator/storage.h"
#include "snapshot/document.h"

#define SENTENCES_MAX       200 /* of a list in a result; a message is bounded */
#define SENTENCES_MAX_BYTES (UMBRA_WIRE_MAX / 4)

static int bad_request(struct umbra_error *err, const char *what)
{
	return umbra_fail(err, UMBRA_E_USAGE, EINVAL, "the request has no valid '%s'", what);
}

static void free_strings(char ***list)
{
	size_t i;

	for (i = 0; *list && (*list)[i]; i++)
		free((*list)[i]);
	free(*list);
}

/* An array of objects with a path each -> NULL-terminated list. */
static int get_paths(const json_t *array, char ***out, size_t *n, struct umbra_error *err)
{
	_cleanup_(free_strings) char **list = NULL;
	const json_t *one;
	size_t i;

	if (!json_is_array(array) || json_array_size(array) == 0)
		return bad_request(err, "paths");
	list = calloc(json_array_size(array) + 1, sizeof(char *));
	if (!list)
		return umbra_oom(err);
	json_array_foreach (array, i, one)
		if (umbra_doc_get_path(one, "path", &list[i]) < 0 || list[i][0] != '/')
			return bad_request(err, "paths");
	*n = i;
	*out = TAKE_PTR(list);
	return 0;
}

/* How many of the list fit into their part of one message. */
static size_t how_many(const json_t *list)
{
	const size_t flags = JSON_ENCODE_ANY | JSON_COMPACT;
	size_t i, bytes = 0;
	const json_t *one;

	json_array_foreach (list, i, one) {
		bytes += json_dumpb(one, NULL, 0, flags) + 1;
		if (i == SENTENCES_MAX || bytes > SENTENCES_MAX_BYTES)
			return i;
	}
	return i;
}

static int put_sentences(json_t *result, const char *key, json_t *list)
{
	size_t n = json_array_size(list), room = how_many(list);

	while (json_array_size(list) > room)
		json_array_remove(list, json_array_size(list) - 1);
	if (n > room && json_array_append_new(list, json_sprintf("… and %zu more", n - room)) < 0)
		return -ENOMEM;
	return json_object_set(result, key, list) < 0 ? -ENOMEM : 0;
}

/* Without the lock: nothing is changed, and nobody has to be waited for. */
static int begin_look(struct umbra_session *s, const json_t *request, struct umbra_error *err)
{
	_cleanup_free_ char *state_dir = NULL;

	if (umbra_doc_get_path(request, "state_dir", &state_dir) < 0)
		return bad_request(err, "state_dir");
	return umbra_session_look(s, state_dir, err);
}

static int begin(struct umbra_session *s, const json_t *request, enum umbra_catalog_mode mode,
		 struct umbra_error *err)
{
	_cleanup_free_ char *state_dir = NULL;
	int64_t wait_s = umbra_doc_int(request, "wait_s", 0);

	if (umbra_doc_get_path(request, "state_dir", &state_dir) < 0)
		return bad_request(err, "state_dir");
	if (wait_s < 0 || wait_s > INT32_MAX)
		return bad_request(err, "wait_s");
	return umbra_session_begin(s, state_dir, mode, (int)wait_s, err);
}

/* Whoever changes something first clears away what killed processes left. */
static int begin_change(struct umbra_session *s, const json_t *request, struct umbra_error *err)
{
	int r = begin(s, request, UMBRA_CATALOG_WRITE, err);

	return r < 0 ? r : umbra_reconcile(s, NULL, err);
}

static int serve_create(struct umbra_session *s, const json_t *request, json_t *result,
			struct umbra_error *err)
{
	_cleanup_(free_strings) char **paths = NULL;
	_cleanup_set_ struct umbra_set *set = NULL;
	_cleanup_free_ char *comment = NULL;
	struct umbra_plan_request plan;
	int r;

	if (umbra_doc_get_path(request, "comment", &comment) == -EBADMSG)
		return bad_request(err, "comment");
	if (comment && strlen(comment) > UMBRA_COMMENT_MAX)
		return umbra_fail(err, UMBRA_E_USAGE, E2BIG,
				  "the comment has %zu bytes, and %d is the most: put more into a "
				  "file that is copied",
				  strlen(comment), UMBRA_COMMENT_MAX);
	r = get_paths(json_object_get(request, "paths"), &paths, &plan.n_paths, err);
	if (r == 0)
		r = begin_change(s, request, err);
	if (r < 0)
		return r;
	plan.paths = (const char *const *)paths;
	plan.provider = umbra_doc_string(request, "provider");
	plan.recursive = umbra_doc_bool(request, "recursive", false);
	r = umbra_create(s, &plan, comment, &set, err);
	if (r < 0)
		return r;
	return umbra_doc_set_string(result, "set", set->id.s) < 0 ? umbra_oom(err) : 0;
}

/* Not after umbra_reconcile(): what it removes would not be there to be named. */
static int serve_forget(struct umbra_session *s, const json_t *request, const char *const *ids,
			size_t n, json_t *result, struct umbra_error *err)
{
	json_t *forgotten = json_array();
	int r;

	if (json_object_set_new(result, "forgotten", forgotten) < 0)
		return umbra_oom(err);
	r = begin(s, request, UMBRA_CATALOG_WRITE, err);
	return r < 0 ? r : umbra_forget(s, ids, n, forgotten, err);
}

static int serve_delete(struct umbra_session *s, const json_t *request, json_t *result,
			struct umbra_error *err)
{
	const json_t *sets = json_object_get(request, "sets"), *one;
	_cleanup_free_ const char **ids = NULL;
	size_t i;
	int r;

	ids = calloc(json_array_size(sets) + 1, sizeof(*ids));
	if (!ids)
		return umbra_oom(err);
	json_array_foreach (sets, i, one) {
		ids[i] = json_string_value(one);
		if (!ids[i] || !umbra_id_valid(ids[i]))
			return bad_request(err, "sets");
	}
	if (json_array_size(sets) == 0)
		return bad_request(err, "sets");
	if (umbra_doc_bool(request, "forget", false))
		return serve_forget(s, request, ids, json_array_size(sets), result, err);
	r = begin_change(s, request, err);
	return r < 0 ? r : umbra_delete(s, ids, json_array_size(sets), err);
}

static int serve_check(struct umbra_session *s, const json_t *request, json_t *result,
		       struct umbra_error *err)
{
	bool rebuild = umbra_doc_bool(request, "rebuild", false);
	_cleanup_json_ json_t *problems = json_array(), *repaired = json_array();
	size_t sets = 0;
	int r;

	if (!problems || !repaired)
		return umbra_oom(err);
	r = begin(s, request, rebuild ? UMBRA_CATALOG_NONE : UMBRA_CATALOG_WRITE, err);
	if (r == 0)
		r = rebuild ? umbra_rebuild(s, problems, repaired, &sets, err)
			    : umbra_check(s, problems, repaired, &sets, err);
	if (r < 0)
		return r;
	/* What could not be cleaned up is a warning elsewhere and a problem here. */
	if (json_array_extend(problems, s->warnings) < 0 || json_array_clear(s->warnings) < 0 ||
	    put_sentences(result, "problems", problems) < 0 ||
	    put_sentences(result, "repaired", repaired) < 0 ||
	    json_object_set_new(result, "sets", json_integer((json_int_t)sets)) < 0)
		return umbra_oom(err);
	return 0;
}

static int need_root(struct umbra_error *err)
{
	return geteuid() == 0
		       ? 0
		       : umbra_fail(err, UMBRA_E_PERMISSION, EPERM,
				    "diff areas, and the block copies in them, belong to root, "
				    "who alone can see and change them");
}

static int serve_storage(struct umbra_session *s, const json_t *request, json_t *result,
			 struct umbra_error *err)
{
	int r = need_root(err);

	if (r < 0)
		return r;
	if (!umbra_storage_changes(request))
		r = begin_look(s, request, err);
	else if ((r = umbra_storage_refuse_frozen(request, err)) == 0)
		r = begin_change(s, request, err);
	return r < 0 ? r : umbra_storage_serve(s, request, result, err);
}

static int serve_revert(struct umbra_session *s, const json_t *request, json_t *result,
			struct umbra_error *err)
{
	int r = begin_change(s, request, err);

	return r < 0 ? r : umbra_revert_serve(s, request, result, err);
}

/* Nothing of the state directory is written: it may be read-only still. */
static int serve_activate(struct umbra_session *s, const json_t *request, json_t *result,
			  struct umbra_error *err)
{
	int64_t wait_s = umbra_doc_int(request, "wait_s", 0);
	int r = need_root(err);

	if (r < 0)
		return r;
	if (wait_s < 0 || wait_s > UMBRA_ACTIVATE_WAIT_MAX)
		return bad_request(err, "wait_s");
	r = begin_look(s, request, err);
	if (r < 0)
		return r;
	if (umbra_doc_bool(request, "present", false))
		wait_s = -1;
	return umbra_activate(s, umbra_doc_bool(request, "early", false), (int)wait_s, result, err);
}

static const struct {
	const char *type;
	int (*serve)(struct umbra_session *s, const json_t *request, json_t *result,
		     struct umbra_error *err);
} requests[] = {
	{"create", serve_create},   {"delete", serve_delete}, {"check", serve_check},
	{"storage", serve_storage}, {"revert", serve_revert}, {"activate", serve_activate},
};

static int dispatch(struct umbra_session *s, const json_t *request, json_t *result,
		    struct umbra_error *err)
{
	const char *type = umbra_doc_string(request, "type");
	size_t i;

	if (umbra_doc_int(request, "v", 0) != UMBRA_PROTOCOL_VERSION)
		return bad_request(err, "v");
	for (i = 0; type && i < UMBRA_ARRAY_SIZE(requests); i++)
		if (strcmp(type, requests[i].type) == 0)
			return requests[i].serve(s, request, result, err);
	return bad_request(err, "type");
}

static int answer(int fd, const json_t *request)
{
	_cleanup_json_ json_t *result = json_pack("{s:s}", "type", "result"), *failure = NULL;
	struct umbra_error err = {0};
	struct umbra_session s;
	int r;

	umbra_session_init(&s, fd);
	r = result ? dispatch(&s, request, result, &err) : umbra_oom(&err);
	if (r == 0 && put_sentences(result, "warnings", s.warnings) < 0)
		r = umbra_oom(&err);
	umbra_session_finish(&s);
	if (r == 0)
		return umbra_wire_send(fd, result, true);
	failure = json_pack("{s:s,s:s,s:i,s:s}", "type", "error", "code", umbra_code_name(err.code),
			    "errno", err.errnum, "text", err.text);
	return failure ? umbra_wire_send(fd, failure, true) : -ENOMEM;
}

void umbra_serve(int fd)
{
	struct umbra_error err = {0};
	json_t *request;
	int r = 0;

	while (r == 0) {
		while (umbra_wire_wait(fd, -1) == 0)
			;
		r = umbra_wire_receive(fd, &request, &err);
		if (r == -EAGAIN) {
			r = 0;
			continue;
		}
		if (r == 0) {
			r = answer(fd, request);
			json_decref(request);
		}
	}
	if (r != -ECONNRESET && r != -EPIPE)
		umbra_log_error("giving up a connection: %s",
				err.text[0] ? err.text : strerror(-r));
}
