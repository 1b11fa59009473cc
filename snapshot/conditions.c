/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/conditions.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "common/util.h"
#include "snapshot/provider.h"

#define NOTE_MAX (UMBRA_ERROR_MAX + 16)

/* --- what was noted --- */

/* "CONDITION\nWHY" */
static int parse_note(const char *text, struct umbra_shadow *shadow)
{
	const char *end = strchr(text, '\n');
	_cleanup_free_ char *name = strndup(text, end ? (size_t)(end - text) : strlen(text));
	enum umbra_condition condition;

	if (!name)
		return -ENOMEM;
	if (!end || umbra_condition_parse(name, &condition) < 0)
		return -EBADMSG;
	free(shadow->why);
	shadow->why = strdup(end + 1);
	shadow->condition = condition;
	return shadow->why ? 0 : -ENOMEM;
}

static int read_note(int dir, struct umbra_shadow *shadow)
{
	_cleanup_free_ char *text = NULL;
	int r = umbra_read_file(dir, shadow->id.s, NOTE_MAX, &text, NULL);

	if (r == 0)
		r = parse_note(text, shadow);
	return r == -ENOENT || r == -EBADMSG ? 0 : r;
}

static void forget_note(struct umbra_shadow *shadow)
{
	shadow->condition = UMBRA_CONDITION_GOOD;
	free(TAKE_PTR(shadow->why));
}

/* 0: there are none. */
static int open_notes(int state_fd, int *fd)
{
	*fd = state_fd < 0 ? -1
			   : openat(state_fd, UMBRA_CONDITIONS_NAME,
				    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (*fd >= 0)
		return 1;
	return state_fd < 0 || errno == ENOENT ? 0 : -errno;
}

int umbra_conditions_show(int state_fd, struct umbra_set *const *sets, size_t n,
			  struct umbra_error *err)
{
	_cleanup_close_ int dir = -1;
	int r = open_notes(state_fd, &dir);
	size_t i, k;

	for (i = 0; i < n; i++)
		for (k = 0; r >= 0 && k < sets[i]->n_shadows; k++) {
			forget_note(sets[i]->shadows[k]);
			if (r > 0 && read_note(dir, sets[i]->shadows[k]) < 0)
				r = -EIO;
		}
	return r < 0 ? umbra_fail_errno(err, r,
					"cannot read what is noted of shadow copies in the state "
					"directory's '" UMBRA_CONDITIONS_NAME "'")
		     : 0;
}

void umbra_conditions_drop(int state_fd, const char *shadow_id)
{
	_cleanup_free_ char *path = NULL;

	if (!umbra_id_valid(shadow_id))
		return;
	path = umbra_asprintf(UMBRA_CONDITIONS_NAME "/%s", shadow_id);
	if (path && unlinkat(state_fd, path, 0) == 0)
		unlinkat(state_fd, UMBRA_CONDITIONS_NAME, AT_REMOVEDIR); /* with the last one */
}

/* --- asking --- */

struct asking {
	int state_fd;
	struct umbra_set_list sets; /* all, of any state, with what was noted */
	struct umbra_fate
		*fates; /* of the copies of sets that are CREATED, whose provider can be asked */
	size_t n;
	bool changed;
};

static const struct umbra_storage_ops *keeper_of(const struct umbra_shadow *shadow)
{
	const struct umbra_provider *p = umbra_provider_find(shadow->provider);

	return p && p->storage && p->storage->fates ? p->storage : NULL;
}

bool umbra_conditions_can_ask(struct umbra_set *const *sets, size_t n)
{
	size_t i, k;

	for (i = 0; geteuid() == 0 && i < n; i++)
		for (k = 0; k < sets[i]->n_shadows; k++)
			if (keeper_of(sets[i]->shadows[k]))
				return true;
	return false;
}

static int by_volume(const void *a, const void *b)
{
	const struct umbra_fate *x = a, *y = b;
	int r = strcmp(x->shadow->provider, y->shadow->provider);

	return r ? r : strcmp(x->shadow->volume, y->shadow->volume);
}

static int collect(struct asking *a, struct umbra_error *err)
{
	size_t i, k, room = 0;

	for (i = 0; i < a->sets.n; i++)
		room += a->sets.sets[i]->n_shadows;
	a->fates = calloc(room + 1, sizeof(*a->fates));
	if (!a->fates)
		return umbra_oom(err);
	for (i = 0; i < a->sets.n; i++) {
		if (a->sets.sets[i]->state != UMBRA_SET_CREATED)
			continue;
		for (k = 0; k < a->sets.sets[i]->n_shadows; k++)
			if (keeper_of(a->sets.sets[i]->shadows[k]))
				a->fates[a->n++].shadow = a->sets.sets[i]->shadows[k];
	}
	if (a->n > 1)
		qsort(a->fates, a->n, sizeof(*a->fates), by_volume);
	return 0;
}

/* A provider at a time; the first error, after all have been asked. */
static int ask(struct asking *a, struct umbra_error *err)
{
	struct umbra_error why = {0};
	size_t i, n;
	int r = 0, one;

	for (i = 0; i < a->n; i += n) {
		const struct umbra_shadow *first = a->fates[i].shadow;

		for (n = 1; i + n < a->n &&
			    strcmp(a->fates[i + n].shadow->provider, first->provider) == 0;)
			n++;
		one = keeper_of(first)->fates(a->state_fd, &a->fates[i], n, r < 0 ? &why : err);
		if (r == 0)
			r = one;
	}
	return r;
}

void umbra_conditions_ask_one(int state_fd, struct umbra_shadow *shadow)
{
	const struct umbra_storage_ops *keeper = keeper_of(shadow);
	struct umbra_fate fate = {.shadow = shadow};

	if (!keeper || geteuid() != 0 || keeper->fates(state_fd, &fate, 1, NULL) < 0 ||
	    fate.kind == UMBRA_FATE_UNKNOWN) {
		free(fate.why);
		return;
	}
	free(shadow->why);
	shadow->condition = fate.condition;
	shadow->why = fate.why;
}

static int write_down(struct asking *a, const struct umbra_fate *fate, struct umbra_error *err)
{
	const struct umbra_shadow *shadow = fate->shadow;
	_cleanup_free_ char *note = NULL;
	int r;

	if (fate->kind == UMBRA_FATE_UNKNOWN)
		return 0;
	if (fate->condition == UMBRA_CONDITION_GOOD) {
		a->changed |= shadow->condition != UMBRA_CONDITION_GOOD;
		umbra_conditions_drop(a->state_fd, shadow->id.s);
		return 0;
	}
	if (shadow->condition == fate->condition && strcmp(shadow->why, fate->why) == 0)
		return 0;
	note = umbra_asprintf("%s\n%s", umbra_condition_name(fate->condition), fate->why);
	if (!note)
		return umbra_oom(err);
	r = umbra_put_file(a->state_fd, UMBRA_CONDITIONS_NAME, shadow->id.s, note);
	if (r < 0)
		return umbra_fail_errno(err, r, "cannot note that shadow copy '%s' is %s",
					shadow->id.s, umbra_condition_name(fate->condition));
	a->changed = true;
	return 0;
}

static const struct umbra_fate *fate_of(const struct asking *a, const struct umbra_shadow *shadow)
{
	size_t i;

	for (i = 0; i < a->n; i++)
		if (a->fates[i].shadow == shadow)
			return &a->fates[i];
	return NULL;
}

static bool all_gone(const struct asking *a, const struct umbra_set *set)
{
	const struct umbra_fate *fate;
	size_t i;

	for (i = 0; i < set->n_shadows; i++) {
		fate = fate_of(a, set->shadows[i]);
		if (!fate || fate->kind != UMBRA_FATE_GONE)
			return false;
	}
	return set->n_shadows > 0;
}

/* Whoever was deleted while we asked. */
static void drop_unknown(const struct asking *a)
{
	_cleanup_dir_ DIR *d = NULL;
	struct dirent *de;
	size_t i, k;
	bool known;
	int fd;

	if (open_notes(a->state_fd, &fd) <= 0)
		return;
	d = fdopendir(fd);
	if (!d)
		umbra_close(fd);
	while (d && (de = readdir(d))) {
		known = !umbra_id_valid(de->d_name);
		for (i = 0; !known && i < a->sets.n; i++)
			for (k = 0; !known && k < a->sets.sets[i]->n_shadows; k++)
				known = strcmp(a->sets.sets[i]->shadows[k]->id.s, de->d_name) == 0;
		if (!known)
			umbra_conditions_drop(a->state_fd, de->d_name);
	}
}

static int judge(struct asking *a, json_t *gone, struct umbra_error *err)
{
	size_t i;
	int r = 0;

	for (i = 0; r == 0 && i < a->n; i++)
		r = write_down(a, &a->fates[i], err);
	for (i = 0; r == 0 && i < a->sets.n; i++)
		if (a->sets.sets[i]->state == UMBRA_SET_CREATED && all_gone(a, a->sets.sets[i]) &&
		    json_array_append_new(gone, json_string(a->sets.sets[i]->id.s)) < 0)
			r = umbra_oom(err);
	return r;
}

int umbra_conditions_ask(struct umbra_engine *e, bool *changed, json_t *gone,
			 struct umbra_error *err)
{
	struct asking a = {.state_fd = umbra_engine_state_fd(e)};
	struct umbra_error why = {0};
	size_t i;
	int r, told;

	*changed = false;
	r = umbra_catalog_load(umbra_engine_catalog(e), UMBRA_LOAD_BRIEF, &a.sets, err);
	if (r < 0)
		return r;
	drop_unknown(&a);
	r = umbra_conditions_show(a.state_fd, a.sets.sets, a.sets.n, err);
	if (r == 0)
		r = collect(&a, err);
	told = r < 0 ? r : ask(&a, &why);
	if (r == 0)
		r = judge(&a, gone, err);
	if (r == 0 && told < 0)
		r = umbra_fail(err, why.code, told, "%s", why.text);
	*changed = a.changed;
	for (i = 0; i < a.n; i++)
		free(a.fates[i].why);
	free(a.fates);
	umbra_set_list_finish(&a.sets);
	return r;
}
