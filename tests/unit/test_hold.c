/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Holding and releasing, and what fails a set that was held. */
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "children.h"
#include "common/util.h"
#include "fake_provider.h"
#include "hold_lab.h"
#include "hold_rig.h"
#include "snapshot/engine.h"

TestSuite(hold, .init = hold_begin, .fini = hold_end, .timeout = 200);

Test(hold, a_creation_holds_and_releases)
{
	_cleanup_set_ struct umbra_set *set = NULL;
	struct umbra_error err = {0};
	size_t warnings;
	struct umbra_id id;

	cr_assert_eq(rig_create_warned(&id, &warnings, &err), 0, "%s", err.text);
	cr_assert_eq(warnings, 0);
	cr_assert(hold_none());
	cr_assert_eq(hold_lists(), 0);
	set = rig_load(&id);
	cr_assert_gt(set->hold_us, 0);
	cr_assert_lt(set->hold_us, HOLD_LIMIT_MS * 1000);
	cr_assert_eq(set->skew_us, 0);
	cr_assert_eq(hold_end_children(), 0, "guards that are not needed are not there");
}

/* Held after what it lies on it could not write out any more. */
Test(hold, what_lies_on_another_is_held_first)
{
	struct umbra_error err = {0};
	_cleanup_free_ char *order = NULL;
	struct umbra_id id;

	fake_plan.upper = "b";
	cr_assert_eq(rig_create(&id, &err), 0, "%s", err.text);
	order = hold_calls();
	cr_assert_str_eq(order, "hold b;hold a;release a;release b;");
	fake_plan.upper = ""; /* both */
	cr_assert_eq(rig_create(&id, &err), -ELOOP);
	cr_assert(strstr(err.text, "on each other"), "%s", err.text);
}

/* By hand, say: what was committed after that is of another instant. */
Test(hold, a_set_that_somebody_else_resumed_fails)
{
	pid_t pid = hold_start("create.held:stop:2");
	int status;

	cr_assert(hold_wait_until_held());
	lab_resume(0);
	kill(hold_holder(), SIGCONT);
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 1);
	cr_assert_eq(hold_sets(UMBRA_SET_CREATED) + hold_sets(UMBRA_SET_PREPARING), 0);
	cr_assert(hold_none());
	cr_assert_eq(hold_lists(), 0);
}

/* The next creation may be at it when the second guard of a killed one comes. */
Test(hold, what_one_guard_has_released_the_other_leaves_alone)
{
	pid_t pid = hold_start("create.held:kill:2");
	int ms;

	waitpid(pid, NULL, 0);
	for (ms = 0; ms < 250 && (!hold_none() || hold_lists() > 0); ms += 5)
		usleep(5000);
	cr_assert(hold_none() && hold_lists() == 0, "the first does not wait");
	lab_suspend(0);
	usleep(700000);
	cr_assert(lab_suspended(0));
	lab_resume(0);
}

/* As cron does it, with `nice ionice -c idle`: others must not wait for us to get our turn. */
Test(hold, who_holds_is_not_idle)
{
	const struct sched_param none = {0};
	pid_t pid;

	cr_assert_eq(sched_setscheduler(0, SCHED_IDLE, &none), 0);
	cr_assert_eq(setpriority(PRIO_PROCESS, 0, 19), 0);
	cr_assert_eq(syscall(SYS_ioprio_set, 1, 0, 3 << 13), 0);
	pid = hold_start("create.held:stop:2");
	cr_assert(hold_wait_until_held());
	cr_assert_neq(sched_getscheduler(hold_holder()), SCHED_IDLE);
	cr_assert_neq(syscall(SYS_ioprio_get, 1, hold_holder()) >> 13, 3);
	kill(hold_holder(), SIGKILL);
	waitpid(pid, NULL, 0);
	hold_wait_until_free("then", 3000);
}

/* Resuming the first waits for a disk: that keeps no other. */
Test(hold, what_cannot_be_resumed_keeps_no_other)
{
	pid_t pid;
	int ms;

	lab_two_storeys(1);
	pid = hold_start("create.held:stop:2");
	cr_assert(hold_wait_until_held());
	lab_block(1);
	kill(hold_holder(), SIGKILL);
	for (ms = 0; ms < 1000 && lab_suspended(0); ms += 10)
		usleep(10000);
	cr_assert(!lab_suspended(0) && lab_works(0), "kept by the other");
	cr_assert(lab_suspended(1));
	lab_go_on();
	hold_wait_until_free("then", 1000);
	waitpid(pid, NULL, 0);
}

#ifdef HOLD_LAB_REAL
/* It waits for a disk, cannot be killed meanwhile, and then has suspended something all the same.
 */
Test(hold, a_holder_that_does_not_die_is_not_given_up)
{
	pid_t pid;

	lab_hang(1);
	pid = hold_start(NULL);
	sleep(9); /* much longer than a dead one is looked after */
	cr_assert(!lab_suspended(0), "what can be released is");
	kill(pid, SIGKILL); /* it would be the next to look */
	waitpid(pid, NULL, 0);
	lab_go_on();
	sleep(1);
	cr_assert(hold_none());
	cr_assert(lab_works(0) && lab_works(1));
}
#endif

/* With the limit that there is when nobody sets another. */
Test(hold, for_ten_seconds_at_most)
{
	int64_t begun;
	pid_t pid;
	int ms;

	unsetenv("UMBRA_TEST_HOLD_MS");
	pid = hold_start("create.held:stop:2,guard.watching:stop");
	for (ms = 0; ms < 2000 && hold_none(); ms += 10)
		usleep(10000);
	cr_assert(!hold_none());
	begun = umbra_now_us();
	while (!hold_none() && umbra_now_us() - begun < 10500000)
		usleep(10000);
	cr_assert_lt(umbra_now_us() - begun, 10000000);
	cr_assert(lab_works(0) && lab_works(1));
	cr_assert(child_has_ended(pid, 3000));
}

static void be_late_at(const char *point)
{
	_cleanup_free_ char *faults = umbra_asprintf("%s:delay", point);
	struct umbra_error err = {0};
	struct umbra_id id;

	setenv("UMBRA_TEST_HOLD_MS", "700", 1);
	setenv("UMBRA_TEST_FAULT", faults, 1);
	cr_assert_eq(rig_create(&id, &err), -ETIME, "%s: %s", point, err.text);
	unsetenv("UMBRA_TEST_FAULT");
	cr_assert(strstr(err.text, "in time"), "%s", err.text);
	cr_assert(hold_none());
	cr_assert_eq(hold_sets(UMBRA_SET_CREATED) + hold_sets(UMBRA_SET_PREPARING), 0);
	cr_assert_eq(hold_lists(), 0);
}

Test(hold, a_set_that_was_held_too_long_fails)
{
	be_late_at("create.held");
	be_late_at("create.committed");
}

Test(hold, a_suspend_that_does_not_end_is_interrupted)
{
	struct umbra_error err = {0};
	struct umbra_id id;

	lab_stick(1);
	cr_assert_eq(rig_create(&id, &err), -ETIME, "%s", err.text);
	cr_assert(strstr(err.text, "in time"), "%s", err.text);
	cr_assert(hold_none());
	cr_assert_eq(hold_lists(), 0);
}

/* Whoever started us may have blocked the signal, and that is inherited. */
Test(hold, a_suspend_is_interrupted_whatever_was_blocked)
{
	struct umbra_error err = {0};
	struct umbra_id id;
	sigset_t all;

	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL);
	lab_stick(1);
	cr_assert_eq(rig_create(&id, &err), -ETIME, "%s", err.text);
	cr_assert(hold_none());
}

Test(hold, release_that_is_late_does_not_spoil_the_set)
{
	struct umbra_error err = {0};
	struct umbra_id id;

	setenv("UMBRA_TEST_HOLD_MS", "1300", 1);
	setenv("UMBRA_TEST_FAULT", "create.released:delay", 1);
	cr_assert_eq(rig_create(&id, &err), 0, "%s", err.text);
	cr_assert(hold_none());
}

Test(hold, a_lost_guard_is_said)
{
	struct umbra_error err = {0};
	struct umbra_id id;
	size_t warnings;

	setenv("UMBRA_TEST_FAULT", "guard.disarmed:kill", 1);
	cr_assert_eq(rig_create_warned(&id, &warnings, &err), 0, "%s", err.text);
	cr_assert_eq(warnings, 1);
	setenv("UMBRA_TEST_FAULT", "second.disarmed:stop", 1);
	cr_assert_eq(rig_create_warned(&id, &warnings, &err), 0, "%s", err.text);
	cr_assert_eq(warnings, 1);
}

/* Nobody would release in its place if more went wrong. */
Test(hold, a_set_that_lost_a_guard_while_it_was_held_fails)
{
	struct umbra_error err = {0};
	struct umbra_id id;

	setenv("UMBRA_TEST_HOLD_MS", "9000", 1);
	setenv("UMBRA_TEST_FAULT", "second.watching:kill,create.held:delay", 1);
	cr_assert_eq(rig_create(&id, &err), -EPIPE, "%s", err.text);
	cr_assert(strstr(err.text, "was killed while volumes were held"), "%s", err.text);
	cr_assert(hold_none());
	cr_assert_eq(hold_sets(UMBRA_SET_CREATED), 0);
}

Test(hold, without_guards_nothing_is_held)
{
	struct umbra_error err = {0};
	struct umbra_id id;

	setenv("UMBRA_TEST_FAULT", "guard.armed:kill", 1);
	cr_assert_lt(rig_create(&id, &err), 0);
	cr_assert(strstr(err.text, "umbra-guard"), "%s", err.text);
	setenv("UMBRA_TEST_FAULT", "second.armed:stop", 1);
	cr_assert_lt(rig_create(&id, &err), 0);
	cr_assert(strstr(err.text, "does not answer"), "%s", err.text);
	cr_assert(hold_none());
	cr_assert_eq(hold_lists(), 0);
}

/* Held by somebody else: it is not ours to resume. */
Test(hold, what_was_suspended_before_stays_so)
{
	struct umbra_error err = {0};
	struct umbra_id id;

	lab_suspend(1);
	cr_assert_eq(rig_create(&id, &err), -EBUSY, "%s", err.text);
	cr_assert(!lab_suspended(0));
	cr_assert(lab_suspended(1));
	lab_resume(1);
}
