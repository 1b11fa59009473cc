/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What lies above a volume, and is recorded with its copy. */
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/util.h"
#include "coordinator/plan.h"
#include "place.h"

TestSuite(above, .init = place_begin, .fini = place_end, .timeout = 60);

/* ROOT/open/closed/vol: the volume and what protects it. */
static struct umbra_shadow *protected_volume(void)
{
	_cleanup_free_ char *cmd = umbra_asprintf(
		"cd '%s' && mkdir -p open/closed/vol && chmod 755 open && chmod 700 open/closed",
		place);
	_cleanup_free_ char *path = umbra_asprintf("%s/open/closed/vol", place);

	cr_assert_eq(system(cmd), 0);
	return umbra_shadow_new(path, "fake");
}

static mode_t mode_above(const struct umbra_shadow *shadow, size_t up)
{
	return shadow->above[shadow->n_above - up].mode;
}

Test(above, modes_are_those_of_the_directories_that_lead_to_what_is_opened)
{
	struct umbra_shadow *shadow = protected_volume();
	struct stat there, opened;
	const char *slash;
	size_t depth = 0;
	int fd;

	cr_assert_eq(umbra_plan_record_above(shadow, &fd, NULL), 0);
	for (slash = shadow->path; (slash = strchr(slash, '/')); slash++)
		depth++;
	cr_assert_eq(shadow->n_above, depth);
	cr_assert_eq(mode_above(shadow, 1), 0700);
	cr_assert_eq(mode_above(shadow, 2), 0755);
	cr_assert(stat(shadow->path, &there) == 0 && fstat(fd, &opened) == 0);
	cr_assert_eq(there.st_ino, opened.st_ino);
	close(fd);
	umbra_shadow_free(shadow);
}

Test(above, a_link_on_the_way_is_not_followed)
{
	struct umbra_shadow *shadow = protected_volume();
	_cleanup_free_ char *cmd = umbra_asprintf("cd '%s' && mkdir -p other/vol && mv open/closed "
						  "away && ln -s ../other open/closed",
						  place);
	struct umbra_error err = {0};
	int fd = -1;

	cr_assert_eq(system(cmd), 0);
	cr_assert_lt(umbra_plan_record_above(shadow, &fd, &err), 0);
	cr_assert_not_null(strstr(err.text, "open/closed/vol' at 'closed'"), "%s", err.text);
	cr_assert_eq(fd, -1);
	umbra_shadow_free(shadow);
}

struct swaps {
	char *inner, *decoy;
	atomic_bool stop;
};

/* Whoever owns "open" puts an open directory where the closed one is, and takes it back. */
static void *swap_often(void *arg)
{
	struct swaps *s = arg;

	while (!s->stop) {
		renameat2(AT_FDCWD, s->inner, AT_FDCWD, s->decoy, RENAME_EXCHANGE);
		sched_yield();
	}
	return NULL;
}

Test(above, what_is_opened_lies_below_what_was_recorded_also_while_names_are_exchanged)
{
	struct umbra_shadow *shadow = protected_volume();
	struct swaps s = {.inner = umbra_asprintf("%s/open/closed", place),
			  .decoy = umbra_asprintf("%s/open/decoy", place)};
	_cleanup_free_ char *cmd =
		umbra_asprintf("mkdir -p '%s/vol' && chmod 755 '%s'", s.decoy, s.decoy);
	struct stat secret, opened;
	pthread_t thread;
	int i, fd;

	cr_assert_eq(system(cmd), 0);
	cr_assert_eq(stat(shadow->path, &secret), 0);
	cr_assert_eq(pthread_create(&thread, NULL, swap_often, &s), 0);
	for (i = 0; i < 2000; i++) {
		free(shadow->above);
		shadow->above = NULL;
		shadow->n_above = 0;
		cr_assert_eq(umbra_plan_record_above(shadow, &fd, NULL), 0);
		cr_assert_eq(fstat(fd, &opened), 0);
		cr_assert_eq(mode_above(shadow, 1), opened.st_ino == secret.st_ino ? 0700 : 0755);
		close(fd);
	}
	s.stop = true;
	pthread_join(thread, NULL);
	free(s.inner);
	free(s.decoy);
	umbra_shadow_free(shadow);
}
