/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "coordinator/storage.h"

#include <fcntl.h>
#include <string.h>
#include <sys/statvfs.h>

#include "coordinator/count_lost.h"
#include "coordinator/reconcile.h"
#include "snapshot/conditions.h"
#include "snapshot/sys/frozen.h"

/* What a request works on. */
struct work {
	struct umbra_session *s;
	const struct umbra_storage_ops *ops; /* of the volume's provider */
	struct umbra_storage_request request;
	json_t *areas;
	json_t *result;
};

static int list_one(const struct umbra_session *s, const struct umbra_storage_ops *ops,
		    json_t *areas, struct umbra_error *err)
{
	return ops->list(umbra_engine_state_fd(s->engine), umbra_engine_state_dir(s->engine), areas,
			 err);
}

static int list_all(const struct umbra_session *s, json_t *areas, struct umbra_error *err)
{
	const struct umbra_provider *const *p;
	size_t n, i;
	int r = 0;

	p = umbra_providers(&n);
	for (i = 0; r == 0 && i < n; i++)
		if (p[i]->storage)
			r = list_one(s, p[i]->storage, areas, err);
	return r;
}

static int list(struct work *w, struct umbra_error *err)
{
	return w->ops ? list_one(w->s, w->ops, w->areas, err) : list_all(w->s, w->areas, err);
}

static int append(struct work *w, int r, json_t *report, struct umbra_error *err)
{
	if (r == 0 && json_array_append_new(w->areas, report) < 0)
		return umbra_oom(err);
	return r;
}

static int add(struct work *w, struct umbra_error *err)
{
	json_t *report = NULL;
	int r = w->ops->add(umbra_engine_state_fd(w->s->engine),
			    umbra_engine_state_dir(w->s->engine), &w->request, &report, err);

	return append(w, r, report, err);
}

static int resize(struct work *w, struct umbra_error *err)
{
	json_t *report = NULL;
	int r;

	if (w->request.size == 0)
		return umbra_fail(err, UMBRA_E_USAGE, EINVAL, "the request has no valid 'size'");
	r = w->ops->resize(umbra_engine_state_fd(w->s->engine),
			   umbra_engine_state_dir(w->s->engine), &w->request, &report, err);
	if (r > 0)
		r = umbra_session_warn(w->s, "the diff area of '%s' has that size already",
				       w->request.volume->path);
	return append(w, r, report, err);
}

/* The result names the sets of these ids as deleted. */
static int name_deleted(struct work *w, const json_t *ids, struct umbra_error *err)
{
	json_t *deleted = json_array();
	char token[UMBRA_TOKEN_LEN + 1];
	const json_t *id;
	size_t i;
	int r;

	if (json_object_set_new(w->result, "deleted", deleted) < 0)
		return umbra_oom(err);
	json_array_foreach (ids, i, id) {
		_cleanup_set_ struct umbra_set *set = NULL;

		r = umbra_catalog_load_one(umbra_engine_catalog(w->s->engine),
					   json_string_value(id), &set, err);
		if (r < 0)
			return r;
		umbra_token_format(set->time, token);
		if (json_array_append_new(deleted, json_pack("{s:s,s:s}", "set", set->id.s,
							     "timestamp", token)) < 0)
			return umbra_oom(err);
	}
	return 0;
}

/* Whoever lists sets is told at once what became of its copies. */
static int tell(struct work *w, struct umbra_error *err)
{
	_cleanup_json_ json_t *gone = json_array();
	bool changed;
	int r = gone ? umbra_conditions_ask(w->s->engine, &changed, gone, err) : umbra_oom(err);

	if (r == 0)
		r = name_deleted(w, gone, err);
	if (r == 0)
		r = umbra_mark_gone(w->s, gone, err);
	/* What was not possible before may be, now that the area is gone: what still is not is said
	 * again. */
	json_array_clear(w->s->warnings);
	return r < 0 ? r : umbra_reconcile(w->s, NULL, err);
}

/* By a path that more than one volume was mounted at only that goes which is mounted there now. */
static void name_others(struct work *w)
{
	const char *path = w->request.volume->mount;
	_cleanup_json_ json_t *areas = json_array();
	const json_t *area;
	size_t i;

	if (!areas || list_one(w->s, w->ops, areas, NULL) < 0)
		return;
	json_array_foreach (areas, i, area) {
		_cleanup_free_ char *volume = NULL;

		if (umbra_doc_get_path(area, "volume", &volume) == 0 && strcmp(volume, path) == 0)
			umbra_session_warn(
				w->s,
				"removed is the diff area of the volume that is mounted at '%s' "
				"now; that of another one, %s, is left ('umbra storage' shows it)",
				path, umbra_doc_string(area, "area"));
	}
}

static int remove_area(struct work *w, struct umbra_error *err)
{
	int r = w->ops->remove(umbra_engine_state_fd(w->s->engine),
			       umbra_engine_state_dir(w->s->engine), &w->request, err);

	if (r == 0)
		r = tell(w, err);
	if (r == 0)
		name_others(w);
	return r;
}

static int give_up_area(struct work *w, const char *area, bool force, struct umbra_error *err)
{
	const struct umbra_provider *const *p;
	struct umbra_id id;
	int r = -ENOENT;
	size_t n, i;

	if (!umbra_id_valid(area))
		return umbra_fail(err, UMBRA_E_USAGE, EINVAL, "the request has no valid 'area'");
	memcpy(id.s, area, sizeof(id.s));
	p = umbra_providers(&n);
	for (i = 0; r == -ENOENT && i < n; i++)
		if (p[i]->storage && p[i]->storage->give_up)
			r = p[i]->storage->give_up(umbra_engine_state_fd(w->s->engine), &id, force,
						   err);
	return r < 0 ? r : tell(w, err);
}

static const struct {
	const char *name;
	bool changes;
	int (*run)(struct work *w, struct umbra_error *err);
} verbs[] = {
	{"list", false, list},
	{"add", true, add},
	{"resize", true, resize},
	{"remove", true, remove_area},
};

static size_t verb_of(const json_t *request)
{
	const char *name = umbra_doc_string(request, "verb");
	size_t i;

	for (i = 0; i < UMBRA_ARRAY_SIZE(verbs); i++)
		if (name && strcmp(name, verbs[i].name) == 0)
			break;
	return i;
}

bool umbra_storage_changes(const json_t *request)
{
	size_t i = verb_of(request);

	return i == UMBRA_ARRAY_SIZE(verbs) || verbs[i].changes;
}

/* Where the volume's area is already. */
static int refuse_frozen_area(const json_t *request, const char *path, struct umbra_error *err)
{
	_cleanup_volume_ struct umbra_volume *volume = NULL;
	_cleanup_free_ char *state_dir = NULL;
	_cleanup_close_ int state = -1;
	const struct umbra_provider *const *p;
	size_t n, i;
	int r = 0;

	if (umbra_doc_get_path(request, "state_dir", &state_dir) < 0 ||
	    umbra_volume_resolve(path, &volume, NULL) < 0)
		return 0; /* is said by who needs it */
	state = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	p = umbra_providers(&n);
	for (i = 0; r == 0 && state >= 0 && i < n; i++)
		if (p[i]->storage && p[i]->storage->refuse_frozen)
			r = p[i]->storage->refuse_frozen(state, volume->dev, err);
	return r == -EBUSY ? r : 0;
}

int umbra_storage_refuse_frozen(const json_t *request, struct umbra_error *err)
{
	_cleanup_free_ char *path = NULL, *place = NULL;
	int r = 0;

	if (umbra_doc_get_path(request, "path", &path) == 0)
		r = umbra_refuse_frozen("volume", path, UMBRA_THAW_WAIT_MS, err);
	if (r == 0 && umbra_doc_get_path(request, "place", &place) == 0)
		r = umbra_refuse_frozen("the diff area's place", place, UMBRA_THAW_WAIT_MS, err);
	return r == 0 && path ? refuse_frozen_area(request, path, err) : r;
}

static bool is_in_state(const json_t *area, const char *state)
{
	const char *is = umbra_doc_string(area, "state");

	return is && strcmp(is, state) == 0;
}

/* One that is lost only where there is no other. */
static const json_t *area_at(const json_t *areas, const char *path)
{
	const json_t *area, *lost = NULL;
	size_t i;

	json_array_foreach (areas, i, area) {
		_cleanup_free_ char *volume = NULL;

		if (umbra_doc_get_path(area, "volume", &volume) < 0 || strcmp(volume, path) != 0)
			continue;
		if (!is_in_state(area, "lost"))
			return area;
		lost = area;
	}
	return lost;
}

int umbra_storage_of_unmounted(const struct umbra_session *s, const char *path,
			       struct umbra_error *err)
{
	_cleanup_json_ json_t *areas = json_array();
	const json_t *area;
	const char *why;
	int r = areas ? list_all(s, areas, err) : umbra_oom(err);

	if (r < 0)
		return r;
	area = area_at(areas, path);
	why = umbra_doc_string(area, "why");
	if (why && (is_in_state(area, "missing") || is_in_state(area, "lost")))
		return umbra_fail(err, UMBRA_E_NOT_FOUND, ENODEV, "%s", why);
	if (why && is_in_state(area, "reverting"))
		return umbra_fail(err, UMBRA_E_BUSY, EBUSY, "%s", why);
	return area != NULL;
}

/* The person means the diff area of a volume that is not mounted there now. */
static int refuse_unmounted(const struct work *w, struct umbra_error *err)
{
	const char *path = w->request.volume->path;
	int r = umbra_storage_of_unmounted(w->s, path, err);

	if (r <= 0)
		return r;
	return umbra_fail(err, UMBRA_E_NOT_FOUND, ENODEV,
			  "'%s' has a diff area when its volume is mounted there, which it is "
			  "not: mount it first",
			  path);
}

/* The provider that would copy the volume, if it is one that has diff areas. */
static int choose(struct work *w, struct umbra_error *err)
{
	const struct umbra_provider *const *p;
	struct umbra_error why = {0};
	size_t n, i;
	int r = 0;

	p = umbra_providers(&n);
	for (i = 0; i < n && !w->ops; i++)
		if (p[i]->storage && p[i]->probe(w->request.volume, &why) > 0)
			w->ops = p[i]->storage;
	if (w->ops)
		return 0;
	if (strcmp(w->request.volume->path, w->request.volume->mount) != 0)
		r = refuse_unmounted(w, err);
	if (r < 0)
		return r;
	if (why.code == UMBRA_E_READ_ONLY)
		return umbra_fail(err, UMBRA_E_READ_ONLY, EROFS,
				  "a diff area cannot be added, resized or removed now: %s ('mount "
				  "-o remount,rw %s', if it may be written)",
				  why.text, w->request.volume->mount);
	return umbra_fail(err, UMBRA_E_UNSUPPORTED, EOPNOTSUPP, "'%s' cannot have a diff area: %s",
			  w->request.volume->path,
			  why.text[0] ? why.text : "no provider here works with diff areas");
}

/* A part of the volume, as its filesystem counts. */
static int part_of(const struct umbra_volume *volume, int64_t percent, uint64_t *out,
		   struct umbra_error *err)
{
	struct statvfs fs;

	if (statvfs(volume->mount, &fs) < 0)
		return umbra_fail_errno(err, errno, "cannot look at '%s'", volume->mount);
	*out = (uint64_t)fs.f_blocks * fs.f_frsize / 100 * (uint64_t)percent;
	return 0;
}

int umbra_storage_serve(struct umbra_session *s, const json_t *request, json_t *result,
			struct umbra_error *err)
{
	struct work w = {.s = s, .areas = json_array(), .result = result};
	_cleanup_volume_ struct umbra_volume *volume = NULL;
	_cleanup_free_ char *path = NULL, *place = NULL;
	const char *area = umbra_doc_string(request, "area");
	int64_t size = umbra_doc_int(request, "size", 0);
	int64_t percent = umbra_doc_int(request, "percent", 0);
	size_t verb = verb_of(request);
	int r;

	if (json_object_set_new(result, "areas", w.areas) < 0)
		return umbra_oom(err);
	if (verb == UMBRA_ARRAY_SIZE(verbs) || size < 0 || percent < 0 || percent > 100 ||
	    umbra_doc_get_path(request, "place", &place) == -EBADMSG)
		return umbra_fail(err, UMBRA_E_USAGE, EINVAL,
				  "the request has no valid 'verb', "
				  "'place' and 'size'");
	if (area && verbs[verb].run == remove_area)
		return give_up_area(&w, area, umbra_doc_bool(request, "force", false), err);
	r = umbra_doc_get_path(request, "path", &path);
	if (r < 0 && (r != -ENOENT || verbs[verb].changes))
		return umbra_fail(err, UMBRA_E_USAGE, EINVAL, "the request has no valid 'path'");
	w.request.size = (uint64_t)size;
	if (path) {
		r = umbra_volume_resolve(path, &volume, err);
		w.request.volume = volume;
		if (r == 0)
			r = choose(&w, err);
		if (r == 0 && percent > 0)
			r = part_of(volume, percent, &w.request.size, err);
		if (r < 0)
			return r;
	}
	w.request.place = place;
	w.request.force = umbra_doc_bool(request, "force", false);
	r = verbs[verb].run(&w, err);
	if (r == 0)
		umbra_count_lost(s, w.areas);
	return r;
}
