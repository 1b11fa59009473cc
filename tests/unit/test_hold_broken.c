/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Nothing stays held: the real coordinator and the real guards are killed and stopped at each of
 * their points, alone and together.
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "children.h"
#include "common/util.h"
#include "coordinator/client.h"
#include "fake_dm.h"
#include "fake_provider.h"
#include "hold_lab.h"
#include "hold_rig.h"
#include "snapshot/sys/thaw.h"

/* A creation with these faults leaves nothing held, and the next one works. */
static void survive(const char *faults)
{
	struct umbra_error err = {0};
	struct umbra_id id;
	pid_t pid = hold_start(faults);
	bool ended;

	/* Until it began to hold, or never will. */
	ended = child_has_ended(pid, 700);
	hold_wait_until_free(faults, HOLD_LIMIT_MS + 2000);
	if (!ended && !child_has_ended(pid, 3000)) {
		/* Stopped where nothing is held. */
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
	/* Where processes are slow it began to hold only now. */
	while (children_end(hold_is_guard) > 0)
		;
	hold_wait_until_free(faults, HOLD_LIMIT_MS + 2000);
	while (hold_end_children() > 0)
		;
	cr_assert(hold_none(), "%s", faults);
	cr_assert_eq(rig_create(&id, &err), 0, "after %s: %s", faults, err.text);
	cr_assert_eq(hold_sets(UMBRA_SET_PREPARING), 0, "%s", faults);
	cr_assert_eq(hold_lists(), 0, "after %s", faults);
	cr_assert(hold_none());
}

static const char *const points[] = {
	"create.guarded",   "create.held",     "create.held",     "create.committed",
	"create.committed", "create.released", "create.released",
};

static const char *const counts[] = {"", "", ":2", "", ":2", "", ":2"};

/* The coordinator, with nothing, one guard or the other killed or stopped too. */
static void coordinator_breaks(const char *how, const char *guards)
{
	size_t i;

	for (i = 0; i < UMBRA_ARRAY_SIZE(points); i++) {
		_cleanup_free_ char *faults =
			umbra_asprintf("%s:%s%s%s", points[i], how, counts[i], guards);

		survive(faults);
	}
}

Test(hold, coordinator_killed)
{
	coordinator_breaks("kill", "");
}

Test(hold, coordinator_stopped)
{
	coordinator_breaks("stop", "");
}

Test(hold, coordinator_and_guard_killed)
{
	coordinator_breaks("kill", ",guard.watching:kill");
}

Test(hold, coordinator_and_guard_stopped)
{
	coordinator_breaks("stop", ",guard.watching:stop");
}

Test(hold, coordinator_killed_and_guard_stopped)
{
	coordinator_breaks("kill", ",guard.watching:stop");
}

Test(hold, coordinator_stopped_and_second_killed)
{
	coordinator_breaks("stop", ",second.watching:kill");
}

Test(hold, guards_killed_or_stopped_at_each_point)
{
	static const char *const at[] = {"guard.armed",     "second.armed",   "guard.watching",
					 "second.watching", "guard.disarmed", "second.disarmed"};
	static const char *const how[] = {"kill", "stop"};
	size_t i, k;

	for (i = 0; i < UMBRA_ARRAY_SIZE(at); i++) {
		for (k = 0; k < UMBRA_ARRAY_SIZE(how); k++) {
			_cleanup_free_ char *faults = umbra_asprintf("%s:%s", at[i], how[k]);

			survive(faults);
		}
	}
}

/* Which has the coordinator's end of the guards' sockets: no end of it is seen there. */
Test(hold, who_died_and_left_a_child_is_dead)
{
	int64_t begun = umbra_now_us();
	pid_t pid;
	int ms;

	setenv("UMBRA_TEST_HOLD_MS", "8000", 1);
	fake_plan.leaves_child = true;
	pid = hold_start("create.held:kill:2");
	for (ms = 0; ms < 5000 && !hold_was_held(2); ms += 10)
		usleep(10000);
	cr_assert(hold_was_held(2));
	hold_wait_until_free("that", 3000);
	cr_assert_lt(umbra_now_us() - begun, 7000000, "only by the timer");
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

#ifndef HOLD_LAB_REAL
static void released_in_order(const char *upper, size_t first, size_t then)
{
	const struct fake_dm_device *d = fake_dm()->devices;
	pid_t pid;

	fake_plan.upper = upper;
	pid = hold_start("create.held:kill:2");
	waitpid(pid, NULL, 0);
	hold_wait_until_free(upper, HOLD_LIMIT_MS);
	cr_assert_lt(d[lab_minors[first]].order, d[lab_minors[then]].order, "%s", upper);
	while (children_end(hold_is_guard) > 0)
		;
}

/* What lies on another volume is released after it. */
Test(hold, guards_release_in_the_order_of_the_list)
{
	released_in_order("b", 0, 1);
	released_in_order("a", 1, 0);
}
#endif

/* At work itself: the other goes on. */
Test(hold, a_guard_killed_or_stopped_while_it_releases)
{
	static const char *const at[] = {"guard.fired", "guard.resumed", "guard.released"};
	static const char *const how[] = {"kill", "stop"};
	size_t i, k;

	for (i = 0; i < UMBRA_ARRAY_SIZE(at); i++) {
		for (k = 0; k < UMBRA_ARRAY_SIZE(how); k++) {
			_cleanup_free_ char *faults =
				umbra_asprintf("create.held:%s:2,%s:%s", how[k], at[i], how[k]);

			survive(faults);
		}
	}
}

/* `umbra create | cat` is done when umbra is, though a guard is not. */
Test(hold, who_reads_what_the_requester_says_waits_for_no_guard)
{
	struct pollfd p = {.events = POLLIN};
	int64_t until = umbra_now_us() + 10000000;
	char buf[4096];
	int ends[2], ms;
	ssize_t n = 1;
	pid_t pid;

	cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		dup2(ends[1], STDOUT_FILENO);
		dup2(ends[1], STDERR_FILENO);
		setenv("UMBRA_TEST_FAULT", "create.held:kill:2,guard.fired:stop", 1);
		_exit(rig_create(&(struct umbra_id){0}, &(struct umbra_error){0}) == 0);
	}
	close(ends[1]);
	p.fd = ends[0];
	while (n > 0 && umbra_now_us() < until)
		if (poll(&p, 1, 100) > 0)
			n = read(ends[0], buf, sizeof(buf));
	cr_assert_eq(n, 0);
	cr_assert(child_has_ended(pid, 3000));
	for (ms = 0; ms < HOLD_LIMIT_MS + 3000 && !hold_none(); ms += 10)
		usleep(10000);
	cr_assert(hold_none(), "the other one releases");
	cr_assert_gt(hold_end_children(), 0, "the guard that was stopped");
	close(ends[0]);
}

/* All three at once, the last before it began, half way or when it had done: the next umbra does
 * the rest. */
Test(hold, the_next_start_releases_what_nobody_else_could)
{
	static const char *const at[] = {"second.fired", "second.resumed", "second.released"};
	struct umbra_error err = {0};
	struct umbra_id id;
	size_t i;

	for (i = 0; i < UMBRA_ARRAY_SIZE(at); i++) {
		_cleanup_free_ char *faults =
			umbra_asprintf("create.held:kill:2,guard.fired:kill,%s:kill", at[i]);

		setenv("UMBRA_TEST_FAULT", faults, 1);
		cr_assert_lt(rig_create(&id, &err), 0);
		unsetenv("UMBRA_TEST_FAULT");
		usleep(600000); /* the second is a little behind */
		cr_assert_eq(lab_suspended(0) + lab_suspended(1), i < 2 ? 2 - (int)i : 0, "%s",
			     at[i]);
		cr_assert_eq(rig_create(&id, &err), 0, "%s", err.text);
		cr_assert(hold_none());
		cr_assert_eq(hold_lists(), 0);
	}
}

/* As umbrad looks, four times a second. */
Test(hold, all_three_stopped_are_released_by_who_looks)
{
	struct umbra_error err = {0};
	struct umbra_id id;
	pid_t pid;
	int ms;

	pid = hold_start("create.held:stop:2,guard.watching:stop,second.watching:stop");
	cr_assert(hold_wait_until_held());
	for (ms = 0; ms < HOLD_LIMIT_MS + 1500 && !hold_none(); ms += 250) {
		umbra_coordinator_release_leftovers();
		usleep(250000);
	}
	cr_assert_gt(ms, 250, "not before its time");
	cr_assert(hold_none());
	cr_assert(lab_works(0) && lab_works(1));
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	while (hold_end_children() > 0)
		;
	cr_assert_eq(rig_create(&id, &err), 0, "%s", err.text);
	cr_assert_eq(hold_lists(), 0);
}
