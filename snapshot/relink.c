/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/relink.h"

#include <fcntl.h>
#include <search.h>
#include <string.h>
#include <unistd.h>

struct link {
	dev_t dev; /* in the copy */
	ino_t ino;
	char *path; /* live */
	dev_t live_dev;
	ino_t live_ino;
};

static int by_inode(const void *a, const void *b)
{
	const struct link *x = a, *y = b;

	if (x->dev != y->dev)
		return x->dev < y->dev ? -1 : 1;
	return x->ino < y->ino ? -1 : x->ino > y->ino;
}

static void free_link(void *p)
{
	struct link *link = p;

	free(link->path);
	free(link);
}

void umbra_relink_finish(struct umbra_relink *l)
{
	tdestroy(l->tree, free_link);
	l->tree = NULL;
}

static struct link *find(const struct umbra_relink *l, const struct umbra_node *node)
{
	struct link key = {.dev = node->dev, .ino = node->ino};
	void *found;

	if (node->st.st_nlink < 2 || S_ISDIR(node->st.st_mode))
		return NULL;
	found = tfind(&key, &l->tree, by_inode);
	return found ? *(struct link **)found : NULL;
}

bool umbra_relink_agrees(const struct umbra_relink *l, const struct umbra_node *node,
			 const struct umbra_node *live)
{
	const struct link *link = find(l, node);

	return !link || (link->live_dev == live->dev && link->live_ino == live->ino);
}

void umbra_relink_remember(struct umbra_relink *l, const struct umbra_node *node,
			   const struct umbra_target *dir, const char *name, const char *path)
{
	struct link *link;
	struct stat st;

	if (node->st.st_nlink < 2 || find(l, node) ||
	    fstatat(dir->fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return;
	link = calloc(1, sizeof(*link));
	if (!link)
		return;
	*link = (struct link){.dev = node->dev,
			      .ino = node->ino,
			      .path = strdup(path),
			      .live_dev = st.st_dev,
			      .live_ino = st.st_ino};
	if (!link->path || !tsearch(link, &l->tree, by_inode))
		free_link(link);
}

int umbra_relink_put(const struct umbra_relink *l, const struct umbra_node *node,
		     const struct umbra_target *dir, const char *name, bool old)
{
	_cleanup_target_ struct umbra_target there = UMBRA_TARGET_NONE;
	const struct link *link = find(l, node);
	struct stat st;
	char tmp[32];
	int r;

	if (!link)
		return -ENOENT;
	r = umbra_target_walk_above(link->path, &there, NULL);
	if (r < 0)
		return r;
	umbra_target_temp_name(tmp);
	if (linkat(there.fd, strrchr(link->path, '/') + 1, dir->fd, tmp, 0) < 0)
		return -errno;
	if (fstatat(dir->fd, tmp, &st, AT_SYMLINK_NOFOLLOW) < 0 || st.st_dev != link->live_dev ||
	    st.st_ino != link->live_ino) {
		unlinkat(dir->fd, tmp, 0);
		return -ESTALE;
	}
	return umbra_target_commit(dir, tmp, name, old);
}
