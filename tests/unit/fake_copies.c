/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fake_copies.h"

#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

static char live[80];
static struct umbra_set_list sets;
static struct umbra_opener opener;
static ino_t unreadable; /* 0: none */

static void close_root(struct umbra_root *root)
{
	umbra_close(root->fd);
	free(root);
}

static int check(const struct umbra_root *root, uint64_t ino)
{
	(void)root;
	return ino == unreadable ? -EACCES : 0;
}

static int open_copy(void *arg, const struct umbra_shadow *shadow, struct umbra_root **out,
		     struct umbra_error *err)
{
	struct umbra_root *root = calloc(1, sizeof(*root));

	(void)arg;
	root->fd = open(shadow->volume, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (root->fd < 0) {
		free(root);
		return umbra_fail(err, UMBRA_E_DAMAGED, EIO, "the copy is damaged");
	}
	root->mount_fd = root->fd;
	root->close = close_root;
	root->check = check;
	*out = root;
	return 0;
}

void fake_begin(void)
{
	place_begin();
	snprintf(live, sizeof(live), "%s/live", place);
	cr_assert_eq(mkdir(live, 0755), 0);
	opener = (struct umbra_opener){.open = open_copy};
}

void fake_end(void)
{
	umbra_set_list_finish(&sets);
	place_end();
}

const char *fake_live(void)
{
	return live;
}

struct umbra_set *fake_set(int64_t time)
{
	struct umbra_set *set = umbra_set_new();
	struct umbra_shadow *shadow = umbra_shadow_new(live, "copy");

	free(shadow->volume);
	shadow->volume = umbra_asprintf("%s/copy.%zu", place, sets.n);
	fake_run("cp -a '%s' '%s'", live, shadow->volume);
	set->time = time;
	set->seq = (int64_t)sets.n + 1;
	set->state = UMBRA_SET_CREATED;
	cr_assert_eq(umbra_set_add_shadow(set, shadow), 0);
	sets.sets = reallocarray(sets.sets, sets.n + 1, sizeof(*sets.sets));
	sets.sets[sets.n++] = set;
	return set;
}

const struct umbra_set_list *fake_sets(void)
{
	return &sets;
}

const struct umbra_opener *fake_opener(void)
{
	return &opener;
}

void fake_damage(struct umbra_set *set)
{
	fake_run("rm -rf '%s'", set->shadows[0]->volume);
}

void fake_unreadable(const struct umbra_set *set, const char *name)
{
	_cleanup_free_ char *path = umbra_path_join(set->shadows[0]->volume, name);
	struct stat st;

	cr_assert_eq(stat(path, &st), 0);
	unreadable = st.st_ino;
}

void fake_run(const char *fmt, ...)
{
	_cleanup_free_ char *text = NULL, *command = NULL;
	va_list ap;

	va_start(ap, fmt);
	cr_assert_geq(vasprintf(&text, fmt, ap), 0);
	va_end(ap);
	command = umbra_asprintf("cd '%s' && { %s\n}", live, text);
	cr_assert_eq(system(command), 0, "%s", command);
}

char *fake_path(const char *name)
{
	return umbra_asprintf("%s/%s", live, name);
}
