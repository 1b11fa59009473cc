/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/shown.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "common/util.h"

/* "@GMT-…/home/x": *rest is "/home/x", or "". */
static bool take_token(const char *inside, char *set, const char **rest)
{
	char token[UMBRA_TOKEN_LEN + 1];
	int64_t time;

	snprintf(token, sizeof(token), "%s", inside);
	if (strlen(inside) < UMBRA_TOKEN_LEN || umbra_token_parse(token, &time) < 0 ||
	    (inside[UMBRA_TOKEN_LEN] && inside[UMBRA_TOKEN_LEN] != '/'))
		return false;
	memcpy(set, token, sizeof(token));
	*rest = inside + UMBRA_TOKEN_LEN;
	return true;
}

/* The path of the volume that the tree calls by the first len bytes of name. NULL: none. */
static const char *volume_called(const struct umbra_set_list *sets, const char *name, size_t len)
{
	size_t i, k;

	for (i = sets->n; i-- > 0;) {
		for (k = 0; k < sets->sets[i]->n_shadows; k++) {
			const char *path = sets->sets[i]->shadows[k]->path;
			_cleanup_free_ char *own = umbra_volume_name(path);

			if (own && strlen(own) == len && memcmp(own, name, len) == 0)
				return path;
		}
	}
	return NULL;
}

/* "NAME/@GMT-…/x" shows x below the volume NAME. 0: it is nothing of the kind. */
static int by_volume(struct umbra_engine *e, const char *inside, char **out, char *set,
		     struct umbra_error *err)
{
	_cleanup_set_list_ struct umbra_set_list sets = {0};
	size_t len = strcspn(inside, "/");
	const char *rest, *path;
	int r;

	if (!inside[len] || !take_token(inside + len + 1, set, &rest))
		return 0;
	r = umbra_engine_sets(e, UMBRA_LOAD_BRIEF, &sets, err);
	if (r < 0)
		return r;
	path = volume_called(&sets, inside, len);
	if (!path)
		return 0;
	if (strcmp(path, "/") == 0 && *rest)
		path = "";
	*out = umbra_asprintf("%s%s", path, rest);
	return *out ? 1 : umbra_oom(err);
}

static int translate(struct umbra_engine *e, const char *mnt, const char *inside, char **out,
		     char *set, struct umbra_error *err)
{
	static const char volumes[] = "by-volume/";
	const char *rest;
	int r = 0;

	if (take_token(inside, set, &rest)) {
		*out = strdup(*rest ? rest : "/");
		return *out ? 1 : umbra_oom(err);
	}
	if (strncmp(inside, volumes, strlen(volumes)) == 0)
		r = by_volume(e, inside + strlen(volumes), out, set, err);
	if (r != 0)
		return r;
	return umbra_fail(err, UMBRA_E_USAGE, EINVAL,
			  "'%s/%s' lies in a mounted tree of umbra, not in one of its sets: name "
			  "the live path, or one below '%s/@GMT-…'",
			  mnt, inside, mnt);
}

static int of_mount(struct umbra_engine *e, const struct umbra_mount_below *m, const char *path,
		    char **out, char *set, struct umbra_error *err)
{
	const char *state = umbra_engine_state_dir(e);

	if (m->source && strcmp(m->source, state) != 0)
		return umbra_fail(err, UMBRA_E_USAGE, EINVAL,
				  "'%s' is in the tree of '%s', which is not the state directory "
				  "in use ('%s'): use --state, or copy the file with cp",
				  path, m->source, state);
	return translate(e, m->path, umbra_path_below(path, m->path), out, set, err);
}

int umbra_cli_shown(struct umbra_engine *e, const char *path, int fd, char **out,
		    char set[UMBRA_TOKEN_LEN + 1], struct umbra_error *err)
{
	const struct umbra_mount_below *best = NULL;
	struct umbra_mount_below *mounts;
	struct statx sx;
	size_t n, i;
	int r;

	/* FUSE has no device. More is not asked here: a tree whose process hangs would not answer.
	 */
	if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, 0, &sx) < 0 || sx.stx_dev_major != 0)
		return 0;
	r = umbra_volume_mounts_below("/", &mounts, &n, err);
	if (r < 0)
		return r;
	for (i = 0; i < n; i++)
		if (umbra_path_below(path, mounts[i].path) &&
		    (!best || strlen(mounts[i].path) > strlen(best->path)))
			best = &mounts[i];
	if (best && strcmp(best->fstype, UMBRA_MOUNTS_FSTYPE) == 0)
		r = of_mount(e, best, path, out, set, err);
	umbra_mounts_below_free(mounts, n);
	return r;
}
