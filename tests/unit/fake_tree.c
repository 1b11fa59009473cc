/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fake_tree.h"

#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

struct fake_tree fake_tree;

static char state[80];
static struct umbra_catalog *catalog;
static struct umbra_set *sets[64];
static size_t n_sets;

static void run(const char *where, const char *command)
{
	_cleanup_free_ char *line = umbra_asprintf("cd '%s' && { %s\n}", where, command);

	cr_assert_eq(system(line), 0, "%s", line);
}

void fake_tree_begin(void)
{
	struct umbra_error err = {0};

	place_begin();
	snprintf(state, sizeof(state), "%s/state", place);
	cr_assert_eq(mkdir(state, 0700), 0);
	cr_assert_eq(umbra_catalog_open(state, UMBRA_CATALOG_WRITE, &catalog, &err), 0, "%s",
		     err.text);
	fake_tree = (struct fake_tree){0};
	n_sets = 0;
}

void fake_tree_end(void)
{
	catalog = umbra_catalog_close(catalog);
	while (n_sets > 0)
		umbra_set_free(sets[--n_sets]);
	place_end();
}

const char *fake_tree_state(void)
{
	return state;
}

static void set_above(struct umbra_shadow *shadow)
{
	const char *p;

	for (p = shadow->path; *p; p++)
		shadow->n_above += *p == '/' && p[1];
	shadow->above = calloc(shadow->n_above + 1, sizeof(*shadow->above));
	for (size_t i = 0; i < shadow->n_above; i++)
		shadow->above[i].mode = 0755;
}

static void add_member(struct umbra_set *set, const char *path)
{
	struct umbra_shadow *shadow = umbra_shadow_new(path, "fake");
	_cleanup_free_ char *copy = umbra_asprintf("%s/%s", place, shadow->id.s);

	set_above(shadow);
	cr_assert_eq(mkdir(copy, 0755), 0);
	cr_assert_eq(umbra_set_add_shadow(set, shadow), 0);
}

struct umbra_set *fake_tree_set_like(const struct umbra_set *removed, int64_t time,
				     const char *path)
{
	struct umbra_set *set = umbra_set_new();

	set->time = time;
	set->seq = removed->seq;
	set->state = UMBRA_SET_CREATED;
	add_member(set, path);
	set->shadows[0]->index = removed->shadows[0]->index;
	cr_assert_eq(umbra_catalog_restore(catalog, set, NULL), 0);
	sets[n_sets++] = set;
	return set;
}

struct umbra_set *fake_tree_set(int64_t time, ...)
{
	struct umbra_set *set = umbra_set_new();
	const char *path;
	va_list ap;

	set->time = time;
	va_start(ap, time);
	while ((path = va_arg(ap, const char *)))
		add_member(set, path);
	va_end(ap);
	cr_assert_eq(umbra_catalog_add(catalog, set, NULL), 0);
	set->state = UMBRA_SET_CREATED;
	fake_tree_update_set(set);
	sets[n_sets++] = set;
	return set;
}

void fake_tree_update_set(struct umbra_set *set)
{
	cr_assert_eq(umbra_catalog_update(catalog, set, NULL), 0);
}

void fake_tree_mark(struct umbra_set *set)
{
	cr_assert_eq(umbra_catalog_set_state(catalog, &set->id, UMBRA_SET_DELETING, NULL), 0);
}

void fake_tree_remove(struct umbra_set *set)
{
	cr_assert_eq(umbra_catalog_remove(catalog, &set->id, NULL), 0);
}

void fake_tree_run(const struct umbra_set *set, size_t member, const char *command)
{
	_cleanup_free_ char *where = umbra_asprintf("%s/%s", place, set->shadows[member]->id.s);

	run(where, command);
}

static int check(const struct umbra_root *root, uint64_t ino)
{
	(void)root;
	return ino == fake_tree.unreadable ? -EACCES : 0;
}

static void close_root(struct umbra_root *root)
{
	close(root->fd);
	free(root);
	__atomic_sub_fetch(&fake_tree.open, 1, __ATOMIC_SEQ_CST);
}

static int open_copy(void *arg, const struct umbra_shadow *shadow, struct umbra_root **out,
		     struct umbra_error *err)
{
	_cleanup_free_ char *path = umbra_asprintf("%s/%s", place, shadow->id.s);
	struct umbra_root *root = calloc(1, sizeof(*root));

	(void)arg;
	__atomic_add_fetch(&fake_tree.opened, 1, __ATOMIC_SEQ_CST);
	usleep(fake_tree.open_ms * 1000);
	root->fd = fake_tree.broken ? -1 : open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (root->fd < 0) {
		free(root);
		return umbra_fail(err, UMBRA_E_DAMAGED, ENOENT, "the copy is lost");
	}
	__atomic_add_fetch(&fake_tree.open, 1, __ATOMIC_SEQ_CST);
	root->mount_fd = root->fd;
	root->handles = !fake_tree.no_handles && umbra_root_probe_handles(root->fd, root->fd);
	root->hidden = fake_tree.hidden;
	root->check = check;
	root->close = close_root;
	*out = root;
	return 0;
}

void fake_tree_need_handles(void)
{
	if (!umbra_root_probe_handles(place_fd, place_fd)) {
		fake_tree_end();
		cr_skip("file handles need root and a filesystem that has them");
	}
}

struct umbra_tree *fake_tree_new(bool paths, size_t max_fds)
{
	const struct umbra_tree_options options = {
		.state_dir = state, .paths = paths, .max_fds = max_fds, .open = open_copy};
	struct umbra_tree *tree = NULL;
	struct umbra_error err = {0};

	cr_assert_eq(umbra_tree_new(&options, &tree, &err), 0, "%s", err.text);
	return tree;
}

int fake_tree_walk(struct umbra_tree *tree, const char *path, struct umbra_entry *out)
{
	_cleanup_free_ char *copy = strdup(path);
	char *name, *save = NULL;
	int r = 0;

	*out = (struct umbra_entry){.id = 1};
	for (name = strtok_r(copy, "/", &save); name && r == 0; name = strtok_r(NULL, "/", &save))
		r = umbra_tree_lookup(tree, out->id, name, out);
	return r;
}

struct names {
	struct umbra_tree *tree;
	char text[65536];
	size_t left;
	int64_t next;
	bool any;
};

static int take(void *arg, const struct umbra_dirent *d)
{
	struct names *n = arg;

	if (n->left == 0)
		return 1;
	n->left--;
	n->any = true;
	n->next = d->next;
	if (n->text[0])
		strcat(n->text, " ");
	strcat(n->text, d->name);
	if (d->entry) {
		cr_expect_eq(d->entry->id, d->ino, "%s", d->name);
		umbra_tree_forget(n->tree, d->entry->id, 1);
	}
	return 0;
}

char *fake_tree_names(struct umbra_tree *tree, uint64_t id, size_t at_once)
{
	struct names n = {.tree = tree};
	int r;

	do {
		n.left = at_once;
		n.any = false;
		r = umbra_tree_list(tree, id, n.next, true, take, &n);
		if (r < 0)
			return umbra_asprintf("error %d", r);
	} while (n.any);
	return strdup(n.text);
}
