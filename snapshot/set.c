/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/set.h"

#include <string.h>

#include "common/util.h"

static const char *const state_names[] = {
	[UMBRA_SET_PREPARING] = "preparing",
	[UMBRA_SET_CREATED] = "created",
	[UMBRA_SET_DELETING] = "deleting",
};

static const char *const label_names[] = {
	[UMBRA_LABEL_FUZZY] = "fuzzy",
	[UMBRA_LABEL_CRASH] = "crash",
	[UMBRA_LABEL_FILESYSTEM] = "filesystem",
	[UMBRA_LABEL_APPLICATION] = "application",
};

static const char *const condition_names[] = {
	[UMBRA_CONDITION_GOOD] = "good",         [UMBRA_CONDITION_REVERTING] = "reverting",
	[UMBRA_CONDITION_INACTIVE] = "inactive", [UMBRA_CONDITION_MISSING] = "missing",
	[UMBRA_CONDITION_LOST] = "lost",
};

static int find_name(const char *const *names, size_t n, const char *name)
{
	size_t i;

	for (i = 0; name && i < n; i++)
		if (strcmp(names[i], name) == 0)
			return (int)i;
	return -EINVAL;
}

const char *umbra_set_state_name(enum umbra_set_state state)
{
	return state_names[state];
}

int umbra_set_state_parse(const char *name, enum umbra_set_state *state)
{
	int r = find_name(state_names, UMBRA_ARRAY_SIZE(state_names), name);

	if (r < 0)
		return r;
	*state = (enum umbra_set_state)r;
	return 0;
}

const char *umbra_label_name(enum umbra_label label)
{
	return label_names[label];
}

int umbra_label_parse(const char *name, enum umbra_label *label)
{
	int r = find_name(label_names, UMBRA_ARRAY_SIZE(label_names), name);

	if (r < 0)
		return r;
	*label = (enum umbra_label)r;
	return 0;
}

const char *umbra_condition_name(enum umbra_condition condition)
{
	return condition_names[condition];
}

int umbra_condition_parse(const char *name, enum umbra_condition *condition)
{
	int r = find_name(condition_names, UMBRA_ARRAY_SIZE(condition_names), name);

	if (r < 0)
		return r;
	*condition = (enum umbra_condition)r;
	return 0;
}

const char *umbra_condition_term(const char *why, char out[UMBRA_TERM_MAX])
{
	const char *end = strstr(why, ": ");

	snprintf(out, UMBRA_TERM_MAX, "%.*s", (int)(end ? end - why : UMBRA_TERM_MAX), why);
	return out;
}

struct umbra_set *umbra_set_new(void)
{
	struct umbra_set *set = calloc(1, sizeof(*set));

	if (set)
		umbra_id_new(&set->id);
	return set;
}

struct umbra_set *umbra_set_free(struct umbra_set *set)
{
	size_t i;

	if (!set)
		return NULL;
	for (i = 0; i < set->n_shadows; i++)
		umbra_shadow_free(set->shadows[i]);
	for (i = 0; i < set->n_steps; i++)
		free(set->steps[i].name);
	free(set->shadows);
	free(set->steps);
	free(set->comment);
	free(set);
	return NULL;
}

struct umbra_shadow *umbra_shadow_new(const char *path, const char *provider)
{
	struct umbra_id id;

	umbra_id_new(&id);
	return umbra_shadow_known(id.s, path, provider);
}

struct umbra_shadow *umbra_shadow_known(const char *id, const char *path, const char *provider)
{
	struct umbra_shadow *shadow = calloc(1, sizeof(*shadow));

	if (!shadow)
		return NULL;
	memcpy(shadow->id.s, id, sizeof(shadow->id.s));
	shadow->path = strdup(path);
	shadow->provider = strdup(provider);
	shadow->volume = strdup("");
	shadow->data = json_object();
	shadow->notes = json_array();
	if (!shadow->path || !shadow->provider || !shadow->volume || !shadow->data ||
	    !shadow->notes)
		return umbra_shadow_free(shadow);
	return shadow;
}

struct umbra_shadow *umbra_shadow_free(struct umbra_shadow *shadow)
{
	size_t i;

	if (!shadow)
		return NULL;
	for (i = 0; i < shadow->n_above; i++)
		free(shadow->above[i].acl);
	free(shadow->above);
	free(shadow->path);
	free(shadow->provider);
	free(shadow->volume);
	free(shadow->why);
	json_decref(shadow->data);
	json_decref(shadow->notes);
	free(shadow);
	return NULL;
}

int umbra_set_add_shadow(struct umbra_set *set, struct umbra_shadow *shadow)
{
	struct umbra_shadow **more;

	more = reallocarray(set->shadows, set->n_shadows + 1, sizeof(*more));
	if (!more) {
		umbra_shadow_free(shadow);
		return -ENOMEM;
	}
	set->shadows = more;
	set->shadows[set->n_shadows++] = shadow;
	return 0;
}

int umbra_set_add_step(struct umbra_set *set, const char *name, int64_t us)
{
	struct umbra_step *more;
	char *copy = strdup(name);

	if (!copy)
		return -ENOMEM;
	more = reallocarray(set->steps, set->n_steps + 1, sizeof(*more));
	if (!more) {
		free(copy);
		return -ENOMEM;
	}
	set->steps = more;
	set->steps[set->n_steps++] = (struct umbra_step){copy, us};
	return 0;
}

struct umbra_shadow *umbra_set_covering(const struct umbra_set *set, const char *path)
{
	struct umbra_shadow *best = NULL;
	size_t i;

	for (i = 0; i < set->n_shadows; i++)
		if (umbra_path_below(path, set->shadows[i]->path) &&
		    (!best || strlen(set->shadows[i]->path) > strlen(best->path)))
			best = set->shadows[i];
	return best;
}

struct umbra_shadow *umbra_set_shadow(const struct umbra_set *set, const struct umbra_id *id)
{
	size_t i;

	for (i = 0; i < set->n_shadows; i++)
		if (strcmp(set->shadows[i]->id.s, id->s) == 0)
			return set->shadows[i];
	return NULL;
}

/* "'/a', '/b'": what is not lost. *worst: of these. Returns how many. */
static size_t not_lost(const struct umbra_set *set, char **paths, enum umbra_condition *worst)
{
	const struct umbra_shadow *shadow;
	size_t i, n = 0;
	char *more;

	for (i = 0; i < set->n_shadows; i++) {
		shadow = set->shadows[i];
		if (shadow->condition == UMBRA_CONDITION_LOST)
			continue;
		more = umbra_asprintf("%s%s'%s'", *paths ? *paths : "", n++ ? ", " : "",
				      shadow->path);
		free(*paths);
		*paths = more;
		if (shadow->condition > *worst)
			*worst = shadow->condition;
	}
	return n;
}

static char *goes_too(const struct umbra_set *set)
{
	enum umbra_condition worst = UMBRA_CONDITION_GOOD;
	_cleanup_free_ char *paths = NULL;
	size_t n = not_lost(set, &paths, &worst);

	if (n == 0)
		return strdup("");
	return umbra_asprintf("; its %s of %s %s, and %s too", n == 1 ? "copy" : "copies",
			      paths ? paths : "?",
			      worst <= UMBRA_CONDITION_REVERTING ? "can still be read"
			      : n == 1                           ? "is not lost"
								 : "are not lost",
			      n == 1 ? "goes" : "go");
}

char *umbra_set_lost_text(const struct umbra_set *set, const struct umbra_shadow *shadow)
{
	_cleanup_free_ char *others = goes_too(set);
	const char *why = shadow->why ? shadow->why : "?";
	char token[UMBRA_TOKEN_LEN + 1];

	if (strstr(why, "'umbra storage remove "))
		return umbra_asprintf("the shadow copy of '%s' is lost: %s", shadow->path, why);
	umbra_token_format(set->time, token);
	return umbra_asprintf("the shadow copy of '%s' is lost: %s; 'umbra delete %s' removes the "
			      "set%s",
			      shadow->path, why, token, others ? others : "");
}

enum umbra_condition umbra_set_condition(const struct umbra_set *set)
{
	enum umbra_condition best = set->n_shadows ? UMBRA_CONDITION_LOST : UMBRA_CONDITION_GOOD;
	size_t i;

	for (i = 0; i < set->n_shadows; i++)
		if (set->shadows[i]->condition < best)
			best = set->shadows[i]->condition;
	return best;
}

int umbra_shadow_note(struct umbra_shadow *shadow, const char *kind, const char *path,
		      const char *text)
{
	size_t n = json_array_size(shadow->notes);
	_cleanup_json_ json_t *note = NULL;
	json_t *last;

	if (n > UMBRA_NOTES_MAX) {
		last = json_array_get(shadow->notes, n - 1);
		return json_object_set_new(last, "count",
					   json_integer(umbra_doc_int(last, "count", 0) + 1));
	}
	note = json_object();
	if (!note)
		return -ENOMEM;
	if (n == UMBRA_NOTES_MAX) {
		if (umbra_doc_set_string(note, "kind", "more") < 0 ||
		    json_object_set_new(note, "count", json_integer(1)) < 0)
			return -ENOMEM;
	} else if (umbra_doc_set_string(note, "kind", kind) < 0 ||
		   umbra_doc_set_path(note, "path", path) < 0 ||
		   (text && umbra_doc_set_string(note, "text", text) < 0)) {
		return -ENOMEM;
	}
	return json_array_append(shadow->notes, note) < 0 ? -ENOMEM : 0;
}

void umbra_set_list_finish(struct umbra_set_list *list)
{
	size_t i;

	for (i = 0; i < list->n; i++)
		umbra_set_free(list->sets[i]);
	free(list->sets);
	list->sets = NULL;
	list->n = 0;
}

struct umbra_set *umbra_set_of_shadow(const struct umbra_set_list *list, const char *shadow_id)
{
	size_t i, k;

	for (i = 0; i < list->n; i++)
		for (k = 0; list->sets[i] && k < list->sets[i]->n_shadows; k++)
			if (strcmp(list->sets[i]->shadows[k]->id.s, shadow_id) == 0)
				return list->sets[i];
	return NULL;
}
