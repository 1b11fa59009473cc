/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/readers.h"

#include <string.h>

#include "cli/mountdir.h"
#include "cli/users.h"
#include "common/util.h"

#define TREES_MAX 32

struct question {
	const struct umbra_set *const *sets;
	size_t n;
	struct libmnt_fs *trees[TREES_MAX];
	size_t n_trees;
};

static void unref_table(struct libmnt_table **tb)
{
	mnt_unref_table(*tb);
}

static bool asked_for(const struct question *q, const char *token, size_t len)
{
	char own[UMBRA_TOKEN_LEN + 1];
	size_t i;

	if (len != UMBRA_TOKEN_LEN)
		return false;
	for (i = 0; i < q->n; i++) {
		umbra_token_format(q->sets[i]->time, own);
		if (memcmp(own, token, len) == 0)
			return true;
	}
	return false;
}

/* "@GMT-…/home", "by-volume/home/@GMT-…" */
static bool in_set(const struct question *q, const char *inside)
{
	static const char volumes[] = "by-volume/";
	size_t skip = 0;

	if (strncmp(inside, volumes, strlen(volumes)) == 0) {
		skip = strlen(volumes);
		skip += strcspn(inside + skip, "/");
		skip += inside[skip] == '/';
	}
	return asked_for(q, inside + skip, strcspn(inside + skip, "/"));
}

static bool is_read(const void *arg, const char *path)
{
	const struct question *q = arg;
	const char *below, *root;
	size_t i;

	for (i = 0; i < q->n_trees; i++) {
		_cleanup_free_ char *inside = NULL;

		below = umbra_path_below(path, mnt_fs_get_target(q->trees[i]));
		if (!below)
			continue;
		/* A part of a tree can be mounted somewhere else: that is its root. */
		root = mnt_fs_get_root(q->trees[i]);
		inside = umbra_asprintf("%s%s%s", root ? root + 1 : "", root && root[1] ? "/" : "",
					below);
		if (inside && in_set(q, inside))
			return true;
	}
	return false;
}

static void find_trees(struct question *q, struct libmnt_table *tb, const char *state_dir)
{
	struct libmnt_iter *it = mnt_new_iter(MNT_ITER_FORWARD);
	struct libmnt_fs *fs;

	while (it && q->n_trees < TREES_MAX && mnt_table_next_fs(tb, it, &fs) == 0)
		if (strcmp(mnt_fs_get_fstype(fs), UMBRA_MOUNTS_FSTYPE) == 0 &&
		    mnt_fs_get_source(fs) && strcmp(mnt_fs_get_source(fs), state_dir) == 0)
			q->trees[q->n_trees++] = fs;
	mnt_free_iter(it);
}

char *umbra_readers_of(const char *state_dir, const struct umbra_set *const *sets, size_t n)
{
	_cleanup_(unref_table) struct libmnt_table *tb = NULL;
	struct question q = {.sets = sets, .n = n};

	if (umbra_mountdir_table(&tb, NULL) < 0)
		return NULL;
	find_trees(&q, tb, state_dir);
	return q.n_trees > 0 ? umbra_users_where(is_read, &q) : NULL;
}
