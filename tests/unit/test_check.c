/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What check finds, and what becomes of leftovers that no catalog knows. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "common/util.h"
#include "coordinator_rig.h"
#include "points.h"
#include "snapshot/engine.h"

TestSuite(check, .init = rig_begin, .fini = place_end, .timeout = 60);

/* A set, with a command run in the directory of its copy. */
static void create_and(const char *command)
{
	_cleanup_set_ struct umbra_set *set = NULL;
	_cleanup_free_ char *cmd = NULL;
	struct umbra_error err = {0};
	struct umbra_id id;

	cr_assert_eq(rig_create(&id, &err), 0);
	set = rig_load(&id);
	cmd = umbra_asprintf("cd '%s/fake/%s' && %s", rig_state, set->shadows[0]->id.s, command);
	cr_assert_eq(system(cmd), 0);
}

Test(check, a_set_of_which_a_copy_is_gone_is_a_problem)
{
	create_and("rm -r \"$PWD\"");
	cr_assert_eq(rig_check(false, NULL), 1);
	cr_assert_eq(rig_check(true, NULL), 1);
	cr_assert_eq(rig_count_sets(), 1);
}

/* As many bytes of problems as no message could hold. */
Test(check, a_long_answer_is_cut_not_lost)
{
	_cleanup_engine_ struct umbra_engine *e = NULL;
	struct umbra_error err = {0};
	char path[3000];

	memset(path, 'x', sizeof(path));
	path[0] = '/';
	path[sizeof(path) - 1] = '\0';
	cr_assert_eq(umbra_engine_open(rig_state, UMBRA_CATALOG_WRITE, &e, NULL), 0);
	for (int i = 0; i < 150; i++) {
		_cleanup_set_ struct umbra_set *set = umbra_set_new();

		set->time = 1000 + i;
		set->state = UMBRA_SET_CREATED;
		cr_assert_eq(umbra_set_add_shadow(set, umbra_shadow_new(path, "fake")), 0);
		cr_assert_eq(umbra_catalog_add(umbra_engine_catalog(e), set, NULL), 0);
	}
	fake_plan.fail = FAKE_OPEN;
	cr_assert_gt(rig_check(false, &err), 1, "%s", err.text);
}

/* Of all sets. */
static size_t count_shadows(void)
{
	_cleanup_set_list_ struct umbra_set_list list = {0};
	size_t i, n = 0;

	rig_sets(UMBRA_LOAD_BRIEF, &list);
	for (i = 0; i < list.n; i++)
		n += list.sets[i]->n_shadows;
	return n;
}

/* Killed at each point, and then the catalog is lost: nobody knows what was half-made. What has a
 * record stays, as it could be of use. */
Test(check, a_leftover_that_no_catalog_knows_is_removed)
{
	static const char *const how[] = {"kill", "kill:2"};
	struct umbra_error err = {0};
	char points[40][POINT_MAX];
	struct umbra_id id;
	size_t n, i;

	n = fault_points("create.", points, UMBRA_ARRAY_SIZE(points));
	for (i = 0; i < n * 2; i++) {
		rig_break_at(points[i / 2], how[i & 1]);
		rig_create(&id, NULL);
		unsetenv("UMBRA_TEST_FAULT");
		rig_remove_catalog();
		cr_assert_geq(rig_check(true, &err), 0, "%s: %s", points[i / 2], err.text);
		cr_assert_eq(rig_entries("fake"), count_shadows(), "%s", points[i / 2]);
	}
	cr_assert_leq(count_shadows(), 2 * 2 * n);
}

Test(check, check_alone_names_a_leftover_and_removes_nothing)
{
	struct umbra_error err = {0};
	struct umbra_id id;

	cr_assert_eq(rig_create(&id, &err), 0);
	rig_make_leftover("");
	cr_assert_eq(rig_check(false, &err), 1);
	cr_assert_eq(rig_entries("fake"), 3);
	cr_assert_eq(rig_check(true, &err), 0, "%s", err.text);
	cr_assert_eq(rig_entries("fake"), 2);
	cr_assert_eq(rig_check(false, &err), 0);
	cr_assert_eq(rig_count_sets(), 1);
}

Test(check, a_copy_with_a_damaged_record_is_named_and_kept)
{
	struct umbra_error err = {0};
	struct umbra_id id;

	cr_assert_eq(rig_create(&id, &err), 0);
	rig_make_leftover(" && echo '{' >shadow.json");
	cr_assert_eq(rig_check(false, &err), 1);
	cr_assert_eq(rig_check(true, &err), 1);
	cr_assert_eq(rig_entries("fake"), 3);
}

/* It was finished once: it could still be of use to somebody. */
Test(check, a_copy_that_lost_its_record_is_kept_while_the_catalog_knows_it)
{
	create_and("rm shadow.json");
	cr_assert_eq(rig_check(false, NULL), 1);
	cr_assert_eq(rig_check(true, NULL), 2);
	cr_assert_eq(rig_entries("fake"), 2);
}

Test(check, a_leftover_that_cannot_be_removed_is_a_problem)
{
	struct umbra_error err = {0};
	struct umbra_id id;

	cr_assert_eq(rig_create(&id, &err), 0);
	rig_make_leftover("");
	fake_plan.fail = FAKE_DISCARD;
	cr_assert_eq(rig_check(true, &err), 1);
	cr_assert_eq(rig_count_sets(), 1);
	cr_assert_eq(rig_entries("fake"), 3);
}
