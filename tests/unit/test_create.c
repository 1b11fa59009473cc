/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Creating sets, over the real socket and child process, with a provider that can be broken. */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/util.h"
#include "coordinator_rig.h"
#include "points.h"
#include "snapshot/engine.h"

TestSuite(create, .init = rig_begin, .fini = place_end, .timeout = 60);

/* The root is one of them. */
static size_t directories_above(const char *path)
{
	size_t n = 0;

	while (*path)
		n += *path++ == '/';
	return n;
}

Test(create, runs_the_steps_in_order)
{
	_cleanup_set_ struct umbra_set *set = NULL;
	_cleanup_free_ char *text = NULL;
	struct umbra_error err = {0};
	struct umbra_id id;
	size_t above;

	cr_assert_eq(rig_create(&id, &err), 0, "%s", err.text);
	text = rig_calls();
	cr_assert_str_eq(text, "prepare a\nprepare b\nhold a\nhold b\ncommit a\ncommit b\n"
			       "release b\nrelease a\nfinish a\nfinish b\n");
	set = rig_load(&id);
	cr_assert_eq(set->state, UMBRA_SET_CREATED);
	cr_assert_eq(set->label, UMBRA_LABEL_CRASH);
	cr_assert_str_eq(set->comment, "why");
	cr_assert_eq(set->n_shadows, 2);
	cr_assert_eq(set->n_steps, 5);
	cr_assert_str_eq(set->steps[3].name, "instant");
	cr_assert_gt(set->hold_us, 0);
	cr_assert_eq(set->skew_us, 0, "what is held together is of one instant");
	cr_assert_gt(set->shadows[0]->begin_us, 0);
	cr_assert_eq(set->shadows[1]->begin_us, set->shadows[0]->end_us);
	above = set->shadows[0]->n_above;
	cr_assert_eq(above, directories_above(rig_vol_a), "%zu", above);
	cr_assert_eq(set->shadows[0]->above[above - 2].mode, 01777, "of $UMBRA_TEST_DIR or /tmp");
}

Test(create, a_failure_anywhere_undoes_the_whole_set)
{
	static const enum fake_call at[] = {FAKE_PREPARE, FAKE_HOLD, FAKE_COMMIT, FAKE_RELEASE,
					    FAKE_FINISH};
	static const char *const which[] = {"/a", "/b"};
	struct umbra_id id;

	for (size_t i = 0; i < UMBRA_ARRAY_SIZE(at); i++) {
		for (size_t k = 0; k < 2; k++) {
			struct umbra_error err = {0};

			fake_plan = (struct fake_plan){.fail = at[i], .only = which[k]};
			cr_assert_eq(rig_create(&id, &err), -EIO);
			cr_assert(strstr(err.text, which[k]), "%s", err.text);
			cr_assert(strstr(err.text, "told to fail"), "%s", err.text);
			cr_assert_eq(rig_count_sets(), 0, "call %d", at[i]);
			cr_assert_eq(rig_entries("fake"), 0, "call %d", at[i]);
		}
	}
}

Test(create, what_was_held_is_released_when_a_hold_fails)
{
	_cleanup_free_ char *text = NULL;
	struct umbra_error err = {0};
	struct umbra_id id;

	fake_plan = (struct fake_plan){.fail = FAKE_HOLD, .only = "/b"};
	cr_assert_eq(rig_create(&id, &err), -EIO);
	text = rig_calls();
	cr_assert(strstr(text, "hold a\nhold b\nrelease a\nabort b\nabort a\n"), "%s", text);
	cr_assert_null(strstr(text, "release b"));
}

/* Killed before and after every call of every volume: the next start leaves nothing. */
Test(create, a_kill_anywhere_is_undone_by_the_next_start)
{
	static const enum fake_call at[] = {FAKE_PREPARE, FAKE_HOLD,   FAKE_COMMIT,
					    FAKE_RELEASE, FAKE_FINISH, FAKE_ABORT};
	static const char *const which[] = {"/a", "/b"};
	struct umbra_id id;

	for (size_t i = 0; i < UMBRA_ARRAY_SIZE(at) * 4; i++) {
		struct umbra_error err = {0};
		bool late = i & 1;

		fake_plan = (struct fake_plan){.only = which[i >> 1 & 1]};
		*(late ? &fake_plan.die_after : &fake_plan.die) = at[i / 4];
		if (at[i / 4] == FAKE_ABORT)
			fake_plan.fail = FAKE_FINISH;
		cr_assert_lt(rig_create(&id, &err), 0);
		cr_assert(strstr(err.text, "killed by signal 9"), "%s", err.text);
		fake_plan = (struct fake_plan){0};
		cr_assert_eq(rig_check(false, &err), 0, "%s", err.text);
		cr_assert_eq(rig_count_sets(), 0);
		cr_assert_eq(rig_entries("fake"), 0);
	}
}

/* Every named point of a creation, first and second volume. */
Test(create, a_kill_at_any_point_is_undone_by_the_next_start)
{
	static const char *const how[] = {"kill", "kill:2"};
	size_t n, i, created;
	struct umbra_id id;
	char points[40][POINT_MAX];

	n = fault_points("create.", points, UMBRA_ARRAY_SIZE(points));
	cr_assert_geq(n, 8);
	for (i = 0; i < n * 2; i++) {
		struct umbra_error err = {0};

		created = rig_count_sets();
		rig_break_at(points[i / 2], how[i & 1]);
		if (rig_create(&id, &err) == 0) {
			cr_assert_eq(i & 1, 1, "%s is never passed", points[i / 2]);
			created++;
		}
		unsetenv("UMBRA_TEST_FAULT");
		if (strcmp(points[i / 2], "create.created") == 0 && !(i & 1))
			created++; /* it was */
		cr_assert_eq(rig_check(false, &err), 0, "%s: %s", points[i / 2], err.text);
		cr_assert_eq(rig_count_sets(), created, "%s", points[i / 2]);
		cr_assert_eq(rig_entries("fake"), created * 2, "%s", points[i / 2]);
	}
}

Test(create, a_failure_at_any_point_undoes_the_set)
{
	char points[40][POINT_MAX];
	struct umbra_id id;
	size_t n, i;

	n = fault_points("create.", points, UMBRA_ARRAY_SIZE(points));
	for (i = 0; i < n; i++) {
		struct umbra_error err = {0};

		if (strcmp(points[i], "create.created") == 0)
			continue; /* it exists */
		rig_break_at(points[i], "fail");
		cr_assert_eq(rig_create(&id, &err), -EIO, "%s", points[i]);
		cr_assert(strstr(err.text, points[i]), "%s", err.text);
		unsetenv("UMBRA_TEST_FAULT");
		cr_assert_eq(rig_count_sets(), 0, "%s", points[i]);
		cr_assert_eq(rig_entries("fake"), 0, "%s", points[i]);
	}
}

Test(create, an_undoing_that_is_killed_goes_on)
{
	struct umbra_error err = {0};
	struct umbra_id id;

	for (int i = 0; i < 2; i++) {
		setenv("UMBRA_TEST_FAULT",
		       i ? "create.finished:fail,undo.aborted:kill:2"
			 : "create.finished:fail,undo.aborted:kill",
		       1);
		cr_assert_lt(rig_create(&id, &err), 0);
		cr_assert(strstr(err.text, "killed by signal 9"), "%s", err.text);
		unsetenv("UMBRA_TEST_FAULT");
		cr_assert_eq(rig_check(false, &err), 0, "%s", err.text);
		cr_assert_eq(rig_count_sets(), 0);
		cr_assert_eq(rig_entries("fake"), 0);
	}
}

Test(create, a_leftover_that_cannot_be_removed_now_is_kept_for_later)
{
	struct umbra_error err = {0};
	struct umbra_id id;

	fake_plan = (struct fake_plan){.die = FAKE_COMMIT};
	cr_assert_lt(rig_create(&id, &err), 0);
	fake_plan = (struct fake_plan){.fail = FAKE_ABORT};
	cr_assert_eq(rig_check(false, &err), 1);
	cr_assert_eq(rig_count_sets(), 1);
	cr_assert_eq(rig_create(&id, &err), 0, "a leftover must not stand in the way");
	fake_plan = (struct fake_plan){0};
	cr_assert_eq(rig_check(false, &err), 0);
	cr_assert_eq(rig_count_sets(), 1);
	cr_assert_eq(rig_entries("fake"), 2);
}

static int stop_soon(struct umbra_observer *o)
{
	static int looks;

	(void)o;
	return ++looks > 3;
}

Test(create, the_requester_can_stop_it)
{
	struct umbra_observer o = {.stop = stop_soon};
	struct umbra_error err = {0};
	struct umbra_id id;

	fake_plan = (struct fake_plan){.dawdle = FAKE_COMMIT, .only = "/b"};
	cr_assert_eq(rig_create_with(&o, 0, &id, &err), -ECANCELED);
	cr_assert_eq(err.code, UMBRA_E_INTERRUPTED);
	cr_assert_eq(rig_entries("fake"), 0);
	cr_assert_eq(rig_count_sets(), 0);
}

/* A requester in a process of its own. */
static pid_t start_create(void)
{
	pid_t pid = fork();
	struct umbra_error err = {0};
	struct umbra_id id;

	if (pid == 0)
		_exit(rig_create(&id, &err) < 0);
	return pid;
}

static void wait_for_entries(size_t n)
{
	for (int i = 0; i < 500 && rig_entries("fake") != n; i++)
		usleep(10000);
	cr_assert_eq(rig_entries("fake"), n);
}

Test(create, a_dead_requester_is_undone)
{
	pid_t pid;

	fake_plan = (struct fake_plan){.dawdle = FAKE_COMMIT, .only = "/b"};
	pid = start_create();
	wait_for_entries(2);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	wait_for_entries(0);
	for (int i = 0; i < 500 && rig_count_sets() > 0; i++)
		usleep(10000);
	cr_assert_eq(rig_count_sets(), 0);
}

Test(create, two_creations_at_once)
{
	struct umbra_error err = {0};
	struct umbra_id id;
	int status;
	pid_t pid;

	fake_plan = (struct fake_plan){.dawdle = FAKE_FINISH, .only = "/a"};
	pid = start_create();
	wait_for_entries(2);
	fake_plan = (struct fake_plan){0};
	cr_assert_eq(rig_create(&id, &err), -EBUSY);
	cr_assert_eq(err.code, UMBRA_E_BUSY);
	cr_assert(strstr(err.text, "--wait"), "%s", err.text);
	cr_assert_eq(rig_create_with(NULL, 30, &id, &err), 0, "%s", err.text);
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert_eq(status, 0);
	cr_assert_eq(rig_count_sets(), 2);
}

/* Which may be umbrad: nobody who runs unattended is to fail because of that. */
Test(create, try_again_is_an_answer_too)
{
	struct umbra_error err = {0};
	struct umbra_id id;

	fake_plan.fail = FAKE_PREPARE;
	fake_plan.errnum = EAGAIN;
	cr_assert_eq(rig_create(&id, &err), -EAGAIN);
	cr_assert_eq(rig_count_sets(), 0);
}

Test(create, who_only_tidies_up_is_waited_for)
{
	_cleanup_free_ char *path = umbra_asprintf("%s/lock", rig_state);
	struct umbra_error err = {0};
	struct umbra_id id;
	pid_t pid;
	int fd;

	cr_assert_eq(rig_create(&id, &err), 0, "%s", err.text);
	fd = open(path, O_RDWR | O_CLOEXEC);
	cr_assert_eq(flock(fd, LOCK_EX), 0);
	pid = fork();
	if (pid == 0) {
		usleep(300000);
		_exit(0);
	}
	close(fd); /* the child has it */
	cr_assert_eq(rig_create(&id, &err), 0, "%s", err.text);
	waitpid(pid, NULL, 0);
}

Test(create, a_clock_set_back_is_said_and_does_not_hurt)
{
	_cleanup_coordinator_ struct umbra_coordinator *c = NULL;
	_cleanup_engine_ struct umbra_engine *e = NULL;
	_cleanup_set_ struct umbra_set *latest = NULL;
	_cleanup_json_ json_t *warnings = NULL;
	struct umbra_error err = {0};
	const char *paths[] = {rig_vol_a};
	struct umbra_create_request request = {.paths = paths, .n_paths = 1};
	struct umbra_id id;

	setenv("UMBRA_TEST_NOW", "2000000000", 1);
	cr_assert_eq(rig_create(&id, &err), 0, "%s", err.text);
	setenv("UMBRA_TEST_NOW", "1900000000", 1);
	cr_assert_eq(umbra_coordinator_connect(rig_state, &c, &err), 0);
	cr_assert_eq(umbra_coordinator_create(c, &request, NULL, &id, &warnings, &err), 0);
	cr_assert_eq(json_array_size(warnings), 1);
	cr_assert(strstr(json_string_value(json_array_get(warnings, 0)), "clock was set back"));
	cr_assert_eq(umbra_engine_open(rig_state, UMBRA_CATALOG_READ, &e, NULL), 0);
	cr_assert_eq(umbra_engine_find_set(e, "latest", &latest, NULL), 0);
	cr_assert_str_eq(latest->id.s, id.s);
}

Test(create, refuses_its_own_store)
{
	struct umbra_error err = {0};
	struct umbra_id id;

	cr_assert_eq(rig_create(&id, &err), 0);
	snprintf(rig_vol_a, sizeof(rig_vol_a), "%s/state/fake", place);
	cr_assert_lt(rig_create(&id, &err), 0);
	cr_assert(strstr(err.text, "own store"), "%s", err.text);
}

Test(create, no_more_copies_than_vss_allows)
{
	_cleanup_catalog_ struct umbra_catalog *c = NULL;
	struct umbra_error err = {0};
	struct umbra_id id;

	cr_assert_eq(rig_create(&id, &err), 0);
	cr_assert_eq(umbra_catalog_open(rig_state, UMBRA_CATALOG_WRITE, &c, &err), 0);
	for (int i = 1; i < UMBRA_VOLUME_SHADOWS_MAX; i++) {
		_cleanup_set_ struct umbra_set *set = umbra_set_new();

		set->state = UMBRA_SET_CREATED;
		set->time = i;
		umbra_set_add_shadow(set, umbra_shadow_new(rig_vol_a, "fake"));
		cr_assert_eq(umbra_catalog_add(c, set, &err), 0, "%s", err.text);
	}
	cr_assert_eq(rig_create(&id, &err), -EDQUOT);
	cr_assert(strstr(err.text, "512"), "%s", err.text);
	cr_assert_eq(rig_entries("fake"), 2);
}
