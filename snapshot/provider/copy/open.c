/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/provider/copy/open.h"

#include <string.h>

#include "snapshot/provider/copy/shown.h"
#include "snapshot/provider/copy/store.h"
#include "snapshot/sys/mountfd.h"

/* A root's data. */
struct reader {
	struct umbra_shown *shown;
	int mount; /* what fd lies on, or -1: the store's own mount */
};

static struct reader *free_reader(struct reader *reader)
{
	umbra_shown_close(reader->shown);
	umbra_close(reader->mount);
	free(reader);
	return NULL;
}
UMBRA_DEFINE_CLEANUP(struct reader *, reader, free_reader)

static int fix(const struct umbra_root *root, struct stat *st)
{
	const struct reader *reader = root->data;

	return umbra_shown_fix(reader->shown, st);
}

static int check(const struct umbra_root *root, uint64_t ino)
{
	const struct reader *reader = root->data;
	struct umbra_shown_entry e;
	int r = umbra_shown_find(reader->shown, ino, &e);

	if (r <= 0)
		return r;
	return !e.unreadable ? 0 : e.unreadable == EACCES ? -EACCES : -EIO;
}

static void close_root(struct umbra_root *root)
{
	umbra_close(root->fd);
	free_reader(root->data);
	free(root);
}

static int no_copy(const char *id, struct umbra_error *err)
{
	return umbra_fail(err, UMBRA_E_NOT_FOUND, ENOENT,
			  "the copy '%s' is not in the store any more", id);
}

static int damaged(const char *id, const char *part, int r, struct umbra_error *err)
{
	if (r == -ENOMEM)
		return umbra_oom(err);
	if (r == -EMFILE || r == -ENFILE)
		return umbra_fail_errno(err, r, "cannot open the copy '%s'", id);
	return umbra_fail(err, UMBRA_E_DAMAGED, EIO, "the copy '%s' is damaged: its %s: %s", id,
			  part, r == -EBADMSG ? "not what umbra wrote" : strerror(-r));
}

/* The tree's directory, on a mount of its own if that can be had. */
static int open_tree(int copy, int *mount)
{
	_cleanup_close_ int tree = umbra_store_open_tree(copy);
	int own, r;

	if (tree < 0)
		return tree;
	r = umbra_mountfd_clone(tree, mount, &own);
	return r < 0 ? r : r == 0 ? own : TAKE_FD(tree);
}

static int make_root(int copy, const char *id, struct umbra_root **out, struct umbra_error *err)
{
	_cleanup_(umbra_cleanup_reader) struct reader *reader = calloc(1, sizeof(*reader));
	_cleanup_close_ int tree = -1;
	struct umbra_root *root;
	int r;

	if (!reader)
		return umbra_oom(err);
	reader->mount = -1;
	tree = open_tree(copy, &reader->mount);
	if (tree < 0)
		return damaged(id, "tree", tree, err);
	r = umbra_shown_open(copy, id, &reader->shown);
	if (r < 0)
		return damaged(id, "table of attributes '" UMBRA_SHOWN_NAME "'", r, err);
	root = calloc(1, sizeof(*root));
	if (!root)
		return umbra_oom(err);
	root->fd = root->mount_fd = TAKE_FD(tree);
	root->handles = umbra_root_probe_handles(root->fd, root->mount_fd);
	root->fix = fix;
	root->check = check;
	root->close = close_root;
	root->data = TAKE_PTR(reader);
	*out = root;
	return 0;
}

int umbra_copy_store_read(int state_fd, const struct umbra_shadow *shadow, struct umbra_root **out,
			  struct umbra_error *err)
{
	_cleanup_close_ int store = umbra_store_open(state_fd, false), copy = -1;
	int r;

	copy = store < 0 ? store : umbra_store_open_copy(store, shadow->id.s);
	if (copy == -ENOENT || (copy >= 0 && !umbra_store_finished(copy)))
		return no_copy(shadow->id.s, err);
	if (copy < 0)
		return umbra_fail_errno(err, copy, "cannot open the copy '%s'", shadow->id.s);
	r = make_root(copy, shadow->id.s, out, err);
	if (r == 0 && umbra_doc_string(shadow->data, "hidden"))
		(*out)->hidden = UMBRA_STORE_OF_VOLUME;
	return r;
}
