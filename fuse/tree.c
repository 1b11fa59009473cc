/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fuse/tree.h"

#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "fuse/nodeid.h"
#include "fuse/visit.h"

#define OPEN_COPIES_MAX 64

static int open_by_engine(void *arg, const struct umbra_shadow *shadow, struct umbra_root **out,
			  struct umbra_error *err)
{
	const struct umbra_tree *tree = arg;
	_cleanup_engine_ struct umbra_engine *e = NULL;
	/* One of its own: an engine is for one thread. */
	int r = umbra_engine_open(tree->state_dir, UMBRA_CATALOG_READ, &e, err);

	return r < 0 ? r : umbra_engine_open_shadow(e, shadow, out, err);
}

static int add_fixed(struct umbra_tree *tree)
{
	struct umbra_inode root = {.id = UMBRA_NODE_ROOT,
				   .kind = UMBRA_INODE_ROOT,
				   .dir = true,
				   .up = UMBRA_NODE_ROOT};

	return umbra_inodes_add(tree->inodes, &root, NULL);
}

static int init(struct umbra_tree *tree, const struct umbra_tree_options *o)
{
	size_t limit = umbra_raise_nofile(), fds = o->max_fds;

	/* A quarter for directories and files, a sixteenth for copies; threads need the rest. */
	if (fds == 0)
		fds = limit / 4 < 1024 ? limit / 4 : 1024;
	tree->copies = (struct umbra_copies){
		.open = o->open ? o->open : open_by_engine,
		.arg = o->open ? o->arg : tree,
		.paths = o->paths,
		.max = limit / 16 < OPEN_COPIES_MAX ? limit / 16 : OPEN_COPIES_MAX,
	};
	umbra_copies_init(&tree->copies);
	umbra_layout_init(&tree->layout, &tree->copies);
	tree->state_dir = strdup(o->state_dir);
	tree->fds = umbra_fds_new(fds);
	tree->streams = umbra_streams_new();
	tree->inodes = umbra_inodes_new();
	if (!tree->state_dir || !tree->fds || !tree->streams || !tree->inodes ||
	    add_fixed(tree) < 0)
		return -ENOMEM;
	tree->copies.fds = tree->fds;
	tree->copies.streams = tree->streams;
	tree->state_fd = open(tree->state_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return 0;
}

int umbra_tree_new(const struct umbra_tree_options *options, struct umbra_tree **out,
		   struct umbra_error *err)
{
	_cleanup_tree_ struct umbra_tree *tree = calloc(1, sizeof(*tree));
	int r;

	if (!tree)
		return umbra_oom(err);
	tree->state_fd = -1;
	if (init(tree, options) < 0)
		return umbra_oom(err);
	r = umbra_tree_update(tree, NULL, NULL, 0, err);
	if (r < 0)
		return r;
	*out = TAKE_PTR(tree);
	return 0;
}

struct umbra_tree *umbra_tree_free(struct umbra_tree *tree)
{
	if (!tree)
		return NULL;
	umbra_inodes_free(tree->inodes);
	while (tree->n_closing > 0)
		umbra_shown_unref(tree->closing[--tree->n_closing]);
	free(tree->closing);
	umbra_layout_finish(&tree->layout);
	umbra_streams_free(tree->streams);
	umbra_fds_free(tree->fds);
	umbra_copies_finish(&tree->copies);
	umbra_close(tree->state_fd);
	free(tree->state_dir);
	free(tree);
	return NULL;
}

static int load_one(void *arg, const char *id, struct umbra_set **out, struct umbra_error *err)
{
	return umbra_catalog_load_one(umbra_engine_catalog(arg), id, out, err);
}

static int drain_set(struct umbra_shown *set, int64_t until_us)
{
	int64_t left;
	size_t i;
	int r = 0;

	for (i = 0; i < set->n_members && r == 0; i++) {
		left = (until_us - umbra_now_us()) / 1000;
		r = umbra_copy_drain(&set->members[i].copy, left > 0 ? (int)left : 0);
	}
	return r;
}

/* Sets that are still in use stay on the list: whoever asks next is told so too. */
static int drain(struct umbra_tree *tree, int timeout_ms, struct umbra_error *err)
{
	int64_t until = umbra_now_us() + (int64_t)timeout_ms * 1000;
	size_t i, n = 0;

	for (i = 0; i < tree->n_closing; i++) {
		if (drain_set(tree->closing[i], until) < 0)
			tree->closing[n++] = tree->closing[i];
		else
			umbra_shown_unref(tree->closing[i]);
	}
	tree->n_closing = n;
	if (n > 0)
		return umbra_fail(err, UMBRA_E_BUSY, ETIMEDOUT,
				  "the deleted set '%s' is still being read",
				  tree->closing[0]->token);
	return 0;
}

/* Room for what update may take away, made before anything is changed. */
static int reserve_closing(struct umbra_tree *tree)
{
	struct umbra_shown **more;

	more = reallocarray(tree->closing, tree->n_closing + tree->layout.n_sets + 1,
			    sizeof(struct umbra_shown *));
	if (!more)
		return -ENOMEM;
	tree->closing = more;
	return 0;
}

/* A set of which nothing can be read any more is not shown. */
static void leave_out_lost(struct umbra_set_list *list)
{
	size_t i, n = 0;

	for (i = 0; i < list->n; i++) {
		if (umbra_set_condition(list->sets[i]) == UMBRA_CONDITION_LOST)
			umbra_set_free(list->sets[i]);
		else
			list->sets[n++] = list->sets[i];
	}
	list->n = n;
}

int umbra_tree_update(struct umbra_tree *tree, umbra_notify_fn notify, void *arg, int timeout_ms,
		      struct umbra_error *err)
{
	_cleanup_(umbra_changes_finish) struct umbra_changes changes = {0};
	_cleanup_set_list_ struct umbra_set_list list = {0};
	_cleanup_engine_ struct umbra_engine *e = NULL;
	const struct umbra_change *c;
	size_t i;
	/* Opened anew: the catalog may have been rebuilt, and then is another file. */
	int r = umbra_engine_open(tree->state_dir, UMBRA_CATALOG_READ, &e, err);

	if (r == 0 && reserve_closing(tree) < 0)
		r = umbra_oom(err);
	if (r == 0)
		r = umbra_engine_sets(e, tree->layout.sets ? UMBRA_LOAD_BRIEF : UMBRA_LOAD_FULL,
				      &list, err);
	leave_out_lost(&list);
	if (r == 0)
		r = umbra_layout_update(&tree->layout, &list, load_one, e, &changes, err);
	if (r < 0)
		return r;
	for (i = 0; notify && i < changes.n; i++) {
		c = &changes.v[i];
		notify(arg, c->parent, c->name, c->gone ? c->child : 0);
	}
	while (changes.n_gone > 0)
		tree->closing[tree->n_closing++] = changes.gone[--changes.n_gone];
	return drain(tree, timeout_ms, err);
}

void umbra_tree_forget(struct umbra_tree *tree, uint64_t id, uint64_t n)
{
	umbra_inodes_forget(tree->inodes, id, n);
}

void umbra_tree_close_idle(struct umbra_tree *tree, int64_t idle_us)
{
	drain(tree, 0, NULL);
	umbra_copies_close_idle(&tree->copies, idle_us);
}

void umbra_tree_usage(struct umbra_tree *tree, struct umbra_tree_usage *out)
{
	*out = (struct umbra_tree_usage){
		.inodes = umbra_inodes_count(tree->inodes),
		.fds = umbra_fds_count(tree->fds),
		.copies = umbra_copies_opened(&tree->copies),
	};
}

struct umbra_file {
	struct umbra_visit visit;
	struct umbra_fd *held;
};

static int open_regular(const struct umbra_visit *v, struct umbra_fd **out)
{
	_cleanup_close_ int fd = umbra_visit_open(v, O_RDONLY);
	struct stat st;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
	*out = umbra_fds_add(v->tree->fds, v->inode->id, TAKE_FD(fd));
	return *out ? 0 : -ENOMEM;
}

static int open_file(struct umbra_tree *tree, uint64_t id, struct umbra_file *file)
{
	uint64_t ino;
	int r = umbra_visit_begin(tree, id, &file->visit);

	if (r < 0)
		return r;
	if (file->visit.inode->dir)
		return -EISDIR;
	if (!file->visit.root)
		return -EINVAL;
	file->held = umbra_fds_get(tree->fds, id);
	if (file->held)
		return 0;
	r = umbra_visit_ino(&file->visit, &ino);
	if (r == 0)
		r = umbra_root_check(file->visit.root, ino);
	return r < 0 ? r : open_regular(&file->visit, &file->held);
}

int umbra_tree_open(struct umbra_tree *tree, uint64_t id, struct umbra_file **out)
{
	struct umbra_file *file = calloc(1, sizeof(*file));
	int r;

	if (!file)
		return -ENOMEM;
	r = open_file(tree, id, file);
	if (r < 0) {
		umbra_tree_close(file);
		return r;
	}
	*out = file;
	return 0;
}

int umbra_file_fd(const struct umbra_file *file)
{
	return file->held->fd;
}

struct umbra_file *umbra_tree_close(struct umbra_file *file)
{
	if (file) {
		if (file->held)
			umbra_fds_put(file->visit.tree->fds, file->held);
		umbra_visit_end(&file->visit);
		free(file);
	}
	return NULL;
}
