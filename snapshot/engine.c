/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/engine.h"

#include <ctype.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/util.h"
#include "snapshot/conditions.h"
#include "snapshot/provider.h"
#include "snapshot/sys/frozen.h"

struct umbra_engine {
	char *state_dir;
	int state_fd;
	struct umbra_catalog *catalog;
};

/* Where state is when nobody says a place. */
static int default_state(char **out, struct umbra_error *err)
{
	const char *base;

	if (geteuid() == 0)
		*out = strdup(UMBRA_STATE_SYSTEM);
	else if ((base = secure_getenv("XDG_STATE_HOME")) && base[0] == '/')
		*out = umbra_asprintf("%s/umbra", base);
	else if ((base = secure_getenv("HOME")) && base[0] == '/')
		*out = umbra_asprintf("%s/.local/state/umbra", base);
	else
		return umbra_fail(err, UMBRA_E_NOT_FOUND, ENOENT,
				  "no place for umbra's state: HOME is not set; use --state DIR");
	return *out ? 0 : umbra_oom(err);
}

int umbra_state_dir(const char *choice, char **out, struct umbra_error *err)
{
	_cleanup_free_ char *path = NULL, *above = NULL;
	char *slash;
	int r = 0;

	if (!choice || !*choice)
		choice = secure_getenv("UMBRA_STATE");
	if (!choice || !*choice)
		r = default_state(&path, err);
	else if (!(path = strdup(choice)))
		r = umbra_oom(err);
	if (r < 0)
		return r;
	/* As much of it as exists is made real, so that two names of one place are one. */
	r = umbra_absolute_path(path, true, out);
	if (r == 0)
		return 0;
	if (path[0] != '/' || r != -ENOENT)
		return umbra_fail_errno(err, r, "cannot use '%s' for umbra's state", path);
	above = strdup(path);
	if (!above)
		return umbra_oom(err);
	slash = strrchr(above, '/');
	if (slash == above) {
		*out = TAKE_PTR(path);
		return 0;
	}
	*slash = '\0';
	free(path);
	path = NULL;
	r = umbra_state_dir(above, &path, err);
	if (r < 0)
		return r;
	*out = umbra_asprintf("%s/%s", path, slash + 1);
	return *out ? 0 : umbra_oom(err);
}

int umbra_state_known(const char *state_dir, struct umbra_error *err)
{
	static const char *const names[] = {UMBRA_CATALOG_NAME, UMBRA_STATE_MARK};
	_cleanup_free_ char *usual = NULL, *real = NULL;
	_cleanup_close_ int fd = -1;
	size_t i;

	if (default_state(&usual, NULL) == 0 && umbra_state_dir(usual, &real, NULL) == 0 &&
	    strcmp(real, state_dir) == 0)
		return 0;
	fd = open(state_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
		return umbra_fail(err, UMBRA_E_NOT_FOUND, errno,
				  "there is no umbra state in '%s': %s; see that the name is right "
				  "(the first 'umbra create --state DIR' makes one)",
				  state_dir, strerror(errno));
	/* What cannot be looked at is for who opens it to refuse. */
	if (fd < 0)
		return 0;
	for (i = 0; i < UMBRA_ARRAY_SIZE(names); i++)
		if (faccessat(fd, names[i], F_OK, AT_SYMLINK_NOFOLLOW) == 0 || errno != ENOENT)
			return 0;
	return umbra_fail(err, UMBRA_E_NOT_FOUND, ENOENT,
			  "there is no umbra state in '%s': the directory has no catalog; see that "
			  "the name is right (the first 'umbra create --state DIR' makes one)",
			  state_dir);
}

/* Copies keep their origins' permission bits, but not those of the directories above: nobody else
 * may enter. That is done to a directory of umbra's own only, not to a /etc named by mistake. */
static int close_to_others(const struct umbra_engine *e, mode_t mode, struct umbra_error *err)
{
	bool ours = faccessat(e->state_fd, UMBRA_CATALOG_NAME, F_OK, AT_SYMLINK_NOFOLLOW) == 0;

	if (!ours && umbra_dir_is_empty(e->state_fd, ".") != 1)
		return umbra_fail(err, UMBRA_E_EXISTS, EEXIST,
				  "'%s' holds other things than umbra's state and others can "
				  "enter it: choose a new or empty directory with --state DIR",
				  e->state_dir);
	if (ours && (mode & 022) != 0)
		return umbra_fail(err, UMBRA_E_PERMISSION, EPERM,
				  "others could write to umbra's state directory '%s': see that "
				  "what is in it is yours, then 'chmod 0700' it",
				  e->state_dir);
	if (fchmod(e->state_fd, 0700) < 0)
		return umbra_fail_errno(err, errno,
					"others can enter umbra's state directory '%s', and this "
					"cannot be changed",
					e->state_dir);
	return 0;
}

static int open_state(struct umbra_engine *e, enum umbra_catalog_mode mode, struct umbra_error *err)
{
	struct stat st;
	int r;

	if (mode != UMBRA_CATALOG_READ) {
		/* Whoever got stuck there with the lock in hand would keep all others out. */
		r = umbra_refuse_frozen("umbra's state directory", e->state_dir, UMBRA_THAW_WAIT_MS,
					err);
		if (r < 0)
			return r;
		r = umbra_mkdir_all(e->state_dir, 0700);
		if (r < 0)
			return umbra_fail_errno(err, r,
						"cannot make umbra's state directory '%s' (choose "
						"another with --state DIR)",
						e->state_dir);
	}
	e->state_fd = open(e->state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (e->state_fd < 0) {
		if (errno == ENOENT && mode == UMBRA_CATALOG_READ)
			return 0;
		return umbra_fail_errno(err, errno, "cannot open umbra's state directory '%s'",
					e->state_dir);
	}
	if (fstat(e->state_fd, &st) < 0)
		return umbra_fail_errno(err, errno, "cannot look at '%s'", e->state_dir);
	if (st.st_uid != geteuid())
		return umbra_fail(
			err, UMBRA_E_PERMISSION, EPERM,
			"umbra's state directory '%s' belongs to user %u, not to you: choose "
			"another with --state DIR",
			e->state_dir, st.st_uid);
	if ((st.st_mode & 077) == 0 || mode == UMBRA_CATALOG_READ)
		return 0;
	return close_to_others(e, st.st_mode, err);
}

int umbra_engine_open(const char *state_dir, enum umbra_catalog_mode mode,
		      struct umbra_engine **out, struct umbra_error *err)
{
	_cleanup_engine_ struct umbra_engine *e = calloc(1, sizeof(*e));
	int r;

	if (!e)
		return umbra_oom(err);
	e->state_fd = -1;
	r = umbra_state_dir(state_dir, &e->state_dir, err);
	if (r == 0)
		r = open_state(e, mode, err);
	if (r == 0)
		r = umbra_engine_open_catalog(e, mode, err);
	if (r < 0)
		return r;
	*out = TAKE_PTR(e);
	return 0;
}

/* A catalog that is gone would look like one without sets, and its copies be forgotten. */
static int refuse_vanished(const struct umbra_engine *e, struct umbra_error *err)
{
	struct stat st;

	if (fstatat(e->state_fd, UMBRA_STATE_MARK, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return 0;
	if (fstatat(e->state_fd, UMBRA_CATALOG_NAME, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    st.st_size > 0)
		return 0;
	return umbra_fail(
		err, UMBRA_E_DAMAGED, EUCLEAN,
		"the catalog '%s/%s' is gone; the shadow copies may still be there: 'umbra "
		"check --rebuild' makes it anew from them",
		e->state_dir, UMBRA_CATALOG_NAME);
}

/* From now on there has been a catalog. Without room for the mark the next change makes it. */
static void mark(const struct umbra_engine *e)
{
	if (faccessat(e->state_fd, UMBRA_STATE_MARK, F_OK, AT_SYMLINK_NOFOLLOW) < 0 &&
	    errno == ENOENT)
		umbra_replace_file(e->state_fd, UMBRA_STATE_MARK, 0600, "", 0);
}

int umbra_engine_open_catalog(struct umbra_engine *e, enum umbra_catalog_mode mode,
			      struct umbra_error *err)
{
	int r = 0;

	if (mode == UMBRA_CATALOG_NONE)
		return 0;
	if (e->state_fd >= 0)
		r = refuse_vanished(e, err);
	if (r == 0)
		r = umbra_catalog_open(e->state_dir, mode, &e->catalog, err);
	if (r == 0 && mode == UMBRA_CATALOG_WRITE)
		mark(e);
	return r;
}

struct umbra_engine *umbra_engine_close(struct umbra_engine *e)
{
	if (e) {
		umbra_catalog_close(e->catalog);
		umbra_close(e->state_fd);
		free(e->state_dir);
		free(e);
	}
	return NULL;
}

const char *umbra_engine_state_dir(const struct umbra_engine *e)
{
	return e->state_dir;
}

int umbra_engine_state_fd(const struct umbra_engine *e)
{
	return e->state_fd;
}

struct umbra_catalog *umbra_engine_catalog(struct umbra_engine *e)
{
	return e->catalog;
}

bool umbra_engine_owns(const struct umbra_engine *e, const char *path)
{
	return umbra_path_below(path, e->state_dir) != NULL;
}

int umbra_engine_sets(struct umbra_engine *e, enum umbra_load how, struct umbra_set_list *out,
		      struct umbra_error *err)
{
	struct umbra_set_list list;
	size_t i, n = 0;
	int r = umbra_catalog_load(e->catalog, how, &list, err);

	if (r < 0)
		return r;
	for (i = 0; i < list.n; i++) {
		if (list.sets[i]->state == UMBRA_SET_CREATED)
			list.sets[n++] = list.sets[i];
		else
			umbra_set_free(list.sets[i]);
	}
	list.n = n;
	r = umbra_conditions_show(e->state_fd, list.sets, n, err);
	if (r < 0) {
		umbra_set_list_finish(&list);
		return r;
	}
	*out = list;
	return 0;
}

static int no_set(const char *name, struct umbra_error *err)
{
	return umbra_fail(err, UMBRA_E_NOT_FOUND, ENOENT,
			  "there is no shadow copy set '%s' (see 'umbra list')", name);
}

static int find_counted(const struct umbra_set_list *list, const char *name, const char *count,
			const struct umbra_set **out, struct umbra_error *err)
{
	unsigned long long back;
	char *end;

	if (!isdigit((unsigned char)*count))
		return no_set(name, err);
	errno = 0;
	back = strtoull(count, &end, 10);
	if (*end || errno || back >= list->n)
		return no_set(name, err);
	*out = list->sets[list->n - 1 - back];
	return 0;
}

static int find_prefix(const struct umbra_set_list *list, const char *name,
		       const struct umbra_set **out, struct umbra_error *err)
{
	const struct umbra_set *found = NULL;
	size_t len = strlen(name), i;

	for (i = 0; len >= 4 && i < list->n; i++) {
		if (strncasecmp(list->sets[i]->id.s, name, len) != 0)
			continue;
		if (found)
			return umbra_fail(err, UMBRA_E_USAGE, EINVAL,
					  "'%s' could be set %s or %s: give more of it", name,
					  found->id.s, list->sets[i]->id.s);
		found = list->sets[i];
	}
	if (!found)
		return no_set(name, err);
	*out = found;
	return 0;
}

int umbra_set_list_find(const struct umbra_set_list *list, const char *name,
			const struct umbra_set **out, struct umbra_error *err)
{
	int64_t time;
	size_t i;

	if (strcmp(name, "latest") == 0)
		return find_counted(list, name, "0", out, err);
	if (strncmp(name, "latest~", 7) == 0)
		return find_counted(list, name, name + 7, out, err);
	if (strcmp(name, "oldest") == 0) {
		if (list->n == 0)
			return no_set(name, err);
		*out = list->sets[0];
		return 0;
	}
	if (name[0] != '@')
		return find_prefix(list, name, out, err);
	if (umbra_token_parse(name, &time) < 0)
		return umbra_fail(err, UMBRA_E_USAGE, EINVAL,
				  "'%s' is not a time: write @GMT-YYYY.MM.DD-HH.MM.SS (UTC)", name);
	for (i = 0; i < list->n; i++) {
		if (list->sets[i]->time == time) {
			*out = list->sets[i];
			return 0;
		}
	}
	return no_set(name, err);
}

int umbra_set_list_find_where(const struct umbra_set_list *list, const char *name,
			      umbra_set_wanted_fn wanted, void *arg, const struct umbra_set **out,
			      struct umbra_error *err)
{
	struct umbra_set_list counted = {0};
	size_t i;
	int r = 0;

	if (strncmp(name, "latest", strlen("latest")) != 0 && strcmp(name, "oldest") != 0)
		return umbra_set_list_find(list, name, out, err);
	counted.sets = calloc(list->n + 1, sizeof(struct umbra_set *));
	if (!counted.sets)
		return umbra_oom(err);
	for (i = 0; r >= 0 && i < list->n; i++) {
		r = wanted(arg, list->sets[i], err);
		if (r > 0)
			counted.sets[counted.n++] = list->sets[i];
	}
	if (r >= 0)
		r = umbra_set_list_find(counted.n ? &counted : list, name, out, err);
	free(counted.sets); /* the sets are the list's */
	return r;
}

static int covers(void *arg, const struct umbra_set *set, struct umbra_error *err)
{
	(void)err;
	return umbra_set_covering(set, arg) != NULL;
}

int umbra_set_list_find_for(const struct umbra_set_list *list, const char *name, const char *path,
			    const struct umbra_set **out, struct umbra_error *err)
{
	return umbra_set_list_find_where(list, name, covers, (void *)(uintptr_t)path, out, err);
}

int umbra_engine_find_set(struct umbra_engine *e, const char *name, struct umbra_set **out,
			  struct umbra_error *err)
{
	_cleanup_set_list_ struct umbra_set_list list = {0};
	_cleanup_set_ struct umbra_set *set = NULL;
	const struct umbra_set *found;
	int r = umbra_engine_sets(e, UMBRA_LOAD_BRIEF, &list, err);

	if (r == 0)
		r = umbra_set_list_find(&list, name, &found, err);
	if (r == 0)
		r = umbra_catalog_load_one(e->catalog, found->id.s, &set, err);
	if (r == 0)
		r = umbra_conditions_show(e->state_fd, &set, 1, err);
	if (r == 0)
		*out = TAKE_PTR(set);
	return r;
}

int umbra_engine_say_lost(struct umbra_engine *e, const struct umbra_shadow *shadow, int r,
			  struct umbra_error *err)
{
	_cleanup_set_ struct umbra_set *set = NULL;
	_cleanup_free_ char *text = NULL;
	char token[UMBRA_TOKEN_LEN + 1];
	struct umbra_shadow *own;

	if (r == -EBUSY || !e->catalog ||
	    umbra_catalog_load_shadow(e->catalog, shadow->id.s, &set, NULL) < 0 ||
	    umbra_conditions_show(e->state_fd, &set, 1, NULL) < 0)
		return 0;
	own = umbra_set_shadow(set, &shadow->id);
	if (!own)
		return 0;
	umbra_conditions_ask_one(e->state_fd, own);
	if (own->condition != UMBRA_CONDITION_LOST)
		return 0;
	text = umbra_set_lost_text(set, own);
	umbra_token_format(set->time, token);
	return umbra_fail(err, UMBRA_E_DAMAGED, r, "set %s: %s", token, text ? text : "?");
}

/* By the name of its set, which people know, where that can be had. */
static int cannot_open(struct umbra_engine *e, const struct umbra_shadow *shadow, int r,
		       struct umbra_error *err)
{
	_cleanup_set_ struct umbra_set *set = NULL;
	char token[UMBRA_TOKEN_LEN + 1];

	if (umbra_engine_say_lost(e, shadow, r, err) < 0)
		return r;
	if (!e->catalog || umbra_catalog_load_shadow(e->catalog, shadow->id.s, &set, NULL) < 0)
		return umbra_wrap(err, r, "opening shadow copy '%s' of '%s'", shadow->id.s,
				  shadow->path);
	umbra_token_format(set->time, token);
	return umbra_wrap(err, r, "opening the shadow copy of '%s' in set %s", shadow->path, token);
}

int umbra_engine_open_shadow(struct umbra_engine *e, const struct umbra_shadow *shadow,
			     struct umbra_root **out, struct umbra_error *err)
{
	const struct umbra_provider *p = umbra_provider_find(shadow->provider);
	_cleanup_set_ struct umbra_set *set = NULL;
	const struct umbra_shadow *own;
	int r;

	if (!p) {
		r = umbra_fail(err, UMBRA_E_UNSUPPORTED, EOPNOTSUPP,
			       "it was made by provider '%s', which this umbra does not have",
			       shadow->provider);
		return cannot_open(e, shadow, r, err);
	}
	if (shadow->brief) { /* providers need their own record of the copy */
		r = umbra_catalog_load_shadow(e->catalog, shadow->id.s, &set, err);
		if (r < 0)
			return r;
		own = umbra_set_shadow(set, &shadow->id);
		if (!own)
			return umbra_fail(err, UMBRA_E_DAMAGED, EUCLEAN,
					  "the catalog contradicts itself about shadow copy '%s': "
					  "'umbra check --rebuild' makes it anew",
					  shadow->id.s);
		shadow = own;
	}
	r = p->open(e->state_fd, shadow, out, err);
	return r < 0 ? cannot_open(e, shadow, r, err) : 0;
}
