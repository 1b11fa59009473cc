/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The catalog made anew from what a provider has. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/util.h"
#include "coordinator_rig.h"
#include "points.h"
#include "snapshot/document.h"
#include "snapshot/engine.h"

TestSuite(rebuild, .init = rig_begin, .fini = place_end, .timeout = 60);

static void spoil_catalog(void)
{
	_cleanup_free_ char *path = umbra_asprintf("%s/%s", rig_state, UMBRA_CATALOG_NAME);
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);
	char noise[4096];

	memset(noise, 0xa5, sizeof(noise));
	cr_assert_eq(pwrite(fd, noise, sizeof(noise), 0), (ssize_t)sizeof(noise));
}

Test(rebuild, a_spoiled_catalog_is_rebuilt_as_it_was)
{
	_cleanup_set_ struct umbra_set *was = NULL, *is = NULL;
	_cleanup_json_ json_t *was_doc = NULL, *is_doc = NULL;
	struct umbra_error err = {0};
	struct umbra_id first, id;

	cr_assert_eq(rig_create(&first, &err), 0);
	cr_assert_eq(rig_create(&id, &err), 0);
	was = rig_load(&id);
	spoil_catalog();
	cr_assert_lt(rig_create(&first, &err), 0);
	cr_assert_eq(err.code, UMBRA_E_DAMAGED);
	cr_assert_eq(rig_check(false, &err), -1);
	cr_assert_eq(rig_check(true, &err), 0, "%s", err.text);
	is = rig_load(&id);
	cr_assert_eq(is->seq, was->seq);
	cr_assert_eq(is->shadows[0]->index, was->shadows[0]->index);
	/* The time of the last step is known only after the records were written. */
	for (size_t i = 0; i < 2; i++) {
		struct umbra_set *s = i ? is : was;

		while (s->n_steps > 0)
			free(s->steps[--s->n_steps].name);
	}
	was_doc = umbra_set_public(was, false);
	is_doc = umbra_set_public(is, false);
	cr_assert(json_equal(was_doc, is_doc), "%s\n%s", json_dumps(was_doc, 0),
		  json_dumps(is_doc, 0));
	cr_assert_eq(rig_check(false, &err), 0);
	cr_assert_eq(rig_count_sets(), 2);
}

/* Makes the catalog anew under the lock while somebody waits for it. */
static void replace_catalog_while_waited_for(void)
{
	_cleanup_free_ char *path = umbra_asprintf("%s/lock", rig_state), *cmd = NULL;
	_cleanup_close_ int fd = open(path, O_RDWR | O_CLOEXEC);
	struct umbra_id id;
	pid_t waiter;
	int status;

	free(TAKE_PTR(path)); /* the child has no use for it */
	cr_assert_eq(flock(fd, LOCK_EX), 0);
	waiter = fork();
	if (waiter == 0) {
		close(fd); /* the lock is the descriptor's */
		_exit(rig_create_with(NULL, 20, &id, NULL) == 0 ? 0 : 1);
	}
	usleep(500000);
	cmd = umbra_asprintf("cd '%s' && cp catalog.db new && ln catalog.db catalog.db.old && "
			     "mv new catalog.db",
			     rig_state);
	cr_assert_eq(system(cmd), 0);
	fd = umbra_close(fd);
	cr_assert_eq(waitpid(waiter, &status, 0), waiter);
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

Test(rebuild, who_waited_for_a_rebuild_uses_the_new_catalog)
{
	struct umbra_error err = {0};
	struct umbra_id id;

	cr_assert_eq(rig_create(&id, &err), 0, "%s", err.text);
	replace_catalog_while_waited_for();
	cr_assert_eq(rig_count_sets(), 2);
	cr_assert_eq(rig_check(false, &err), 0, "%s", err.text);
}

/* The record of an unfinished copy may be there or not: neither makes it a set. */
static void rebuild_after_death(enum fake_call before)
{
	struct umbra_error err = {0};
	struct umbra_id id;

	fake_plan = (struct fake_plan){.die = before, .only = "/b"};
	cr_assert_lt(rig_create(&id, NULL), 0);
	fake_plan = (struct fake_plan){0};
	cr_assert_eq(rig_check(true, &err), 0, "%s", err.text);
	cr_assert_eq(rig_count_sets(), 0);
	cr_assert_eq(rig_entries("fake"), 0);
}

Test(rebuild, a_rebuild_undoes_what_was_unfinished)
{
	rebuild_after_death(FAKE_PREPARE);
	rebuild_after_death(FAKE_COMMIT);
	rebuild_after_death(FAKE_FINISH);
}

Test(rebuild, a_rebuild_names_what_it_does_not_find)
{
	_cleanup_free_ char *cmd = umbra_asprintf("mv '%s/fake' '%s/away'", rig_state, place);
	_cleanup_free_ char *back = umbra_asprintf("mv '%s/away' '%s/fake'", place, rig_state);
	struct umbra_error err = {0};
	struct umbra_id id;

	cr_assert_eq(rig_create(&id, &err), 0, "%s", err.text);
	cr_assert_eq(system(cmd), 0);
	cr_assert_eq(rig_check(true, &err), 1, "%s", err.text);
	cr_assert_eq(rig_count_sets(), 0);
	cr_assert_eq(system(back), 0);
	cr_assert_eq(rig_check(true, &err), 0, "%s", err.text);
	cr_assert_eq(rig_count_sets(), 1);
}

Test(rebuild, a_catalog_that_is_gone_or_empty_is_not_one_without_sets)
{
	_cleanup_free_ char *path = umbra_asprintf("%s/%s", rig_state, UMBRA_CATALOG_NAME);
	struct umbra_error err = {0};
	struct umbra_id id;

	cr_assert_eq(rig_create(&id, &err), 0);
	for (int i = 0; i < 2; i++) {
		cr_assert_eq(i ? truncate(path, 0) : unlink(path), 0);
		cr_assert_eq(rig_create(&id, &err), -EUCLEAN);
		cr_assert(strstr(err.text, "check --rebuild"), "%s", err.text);
		cr_assert_eq(rig_check(true, &err), 0, "%s", err.text);
		cr_assert_eq(rig_count_sets(), 1);
	}
}

Test(rebuild, a_rebuild_gives_no_index_twice)
{
	_cleanup_set_ struct umbra_set *last = NULL, *next = NULL;
	struct umbra_error err = {0};
	struct umbra_id first, second, third;

	cr_assert_eq(rig_create(&first, &err), 0);
	cr_assert_eq(rig_create(&second, &err), 0);
	last = rig_load(&second);
	cr_assert_eq(rig_delete(&second, &err), 0);
	cr_assert_eq(rig_check(true, &err), 0, "%s", err.text);
	cr_assert_eq(rig_create(&third, &err), 0);
	next = rig_load(&third);
	cr_assert_eq(next->shadows[0]->index, last->shadows[1]->index + 1);
}

Test(rebuild, a_rebuild_keeps_the_steps)
{
	_cleanup_set_ struct umbra_set *set = NULL;
	struct umbra_error err = {0};
	struct umbra_id id;

	cr_assert_eq(rig_create(&id, &err), 0);
	cr_assert_eq(rig_check(true, &err), 0);
	set = rig_load(&id);
	cr_assert_eq(set->n_steps, 5);
}

/* What was to be deleted must not come back as a set, whole or half. */
Test(rebuild, a_rebuild_keeps_what_waits_to_be_deleted)
{
	_cleanup_set_ struct umbra_set *set = NULL;
	struct umbra_error err = {0};
	struct umbra_id id;

	cr_assert_eq(rig_create(&id, &err), 0);
	fake_plan = (struct fake_plan){.fail = FAKE_REMOVE, .only = "/b"};
	cr_assert_lt(rig_delete(&id, &err), 0);
	cr_assert_eq(rig_check(true, &err), 1);
	set = rig_load(&id);
	cr_assert_eq(set->state, UMBRA_SET_DELETING);
	fake_plan = (struct fake_plan){0};
	cr_assert_eq(rig_check(false, &err), 0);
	cr_assert_eq(rig_count_sets(), 0);
	cr_assert_eq(rig_entries("fake"), 0);
}

/* As when the filesystem of one member is not mounted. */
Test(rebuild, a_rebuild_keeps_copies_that_are_out_of_reach)
{
	_cleanup_free_ char *away = umbra_asprintf("mkdir '%s/away' && mv '%s'/fake/* '%s/away'",
						   place, rig_state, place);
	_cleanup_free_ char *back = umbra_asprintf("mv '%s'/away/* '%s/fake'", place, rig_state);
	_cleanup_set_ struct umbra_set *set = NULL;
	struct umbra_error err = {0};
	struct umbra_id id;

	cr_assert_eq(rig_create(&id, &err), 0);
	cr_assert_eq(system(away), 0);
	fake_plan = (struct fake_plan){.fail = FAKE_OPEN, .errnum = ENODEV};
	cr_assert_eq(rig_check(true, &err), 1, "%s", err.text);
	cr_assert_eq(rig_count_sets(), 1);
	cr_assert_eq(system(back), 0);
	fake_plan = (struct fake_plan){0};
	cr_assert_eq(rig_check(false, &err), 0);
	set = rig_load(&id);
	cr_assert_eq(set->n_shadows, 2);
}

/* In whatever state it is left, another one does the rest. */
Test(rebuild, a_rebuild_that_is_killed_is_done_again)
{
	struct umbra_error err = {0};
	char points[40][POINT_MAX];
	struct umbra_id id;
	size_t n, i;

	cr_assert_eq(rig_create(&id, &err), 0);
	n = fault_points("rebuild.", points, UMBRA_ARRAY_SIZE(points));
	cr_assert_geq(n, 3);
	for (i = 0; i < n; i++) {
		rig_make_leftover("");
		rig_break_at(points[i], "kill");
		cr_assert_eq(rig_check(true, &err), -1, "%s is never passed", points[i]);
		unsetenv("UMBRA_TEST_FAULT");
		cr_assert_eq(rig_count_sets(), 1, "%s", points[i]);
		cr_assert_eq(rig_check(true, &err), 0, "%s: %s", points[i], err.text);
		cr_assert_eq(rig_count_sets(), 1, "%s", points[i]);
		cr_assert_eq(rig_entries("fake"), 2, "%s", points[i]);
		cr_assert_eq(rig_entries("rebuild"), 0, "%s", points[i]);
	}
}
