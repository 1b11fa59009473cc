/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Nothing stays held: the real coordinator and the real guards, with a provider that suspends two
 * devices, are killed and stopped at each of their points, alone and together.
 */
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "children.h"
#include "common/util.h"
#include "coordinator/client.h"
#include "fake_dm.h"
#include "fake_provider.h"
#include "hold_lab.h"
#include "place.h"
#include "snapshot/document.h"
#include "snapshot/engine.h"
#include "snapshot/sys/held.h"
#include "snapshot/sys/thaw.h"

#define LIMIT_MS 1500 /* of a hold, in these tests */

static char state[80], vol_a[96], vol_b[80], held_dir[96];

static void setup(void)
{
	place_begin();
	place_need_root("to lock memory");
	snprintf(state, sizeof(state), "%s/state", place);
	snprintf(vol_a, sizeof(vol_a), "%s/a", place);
	snprintf(vol_b, sizeof(vol_b), "%s/b", place);
	snprintf(held_dir, sizeof(held_dir), "%s/held", place);
	cr_assert_eq(mkdir(vol_a, 0755) | mkdir(vol_b, 0755), 0);
	setenv("UMBRA_TEST_HELD", held_dir, 1);
	setenv("UMBRA_TEST_HOLD_MS", "1500", 1);
	setenv("UMBRA_TEST_NOW", "2000000000", 1); /* nobody waits for the next second */
	unsetenv("UMBRA_TEST_FAULT");
	lab_begin();
	children_adopt();
	fake_plan =
		(struct fake_plan){.major = lab_major, .minors = {lab_minors[0], lab_minors[1]}};
}

/* Whoever was left stopped is ours now. */
static int end_children(void)
{
	return children_end(lab_owns);
}

static bool is_guard(pid_t pid)
{
	_cleanup_free_ char *path = umbra_asprintf("/proc/%d/comm", (int)pid);
	_cleanup_fclose_ FILE *f = fopen(path, "re");
	char comm[20] = "";

	return lab_owns(pid) ||
	       (f && fgets(comm, sizeof(comm), f) &&
		(strcmp(comm, "umbra-guard\n") == 0 || strcmp(comm, "umbra-second\n") == 0));
}

static void teardown(void)
{
	while (end_children() > 0)
		;
	lab_end();
	place_end();
}

TestSuite(hold, .init = setup, .fini = teardown, .timeout = 200);

static int create(struct umbra_id *id, size_t *warnings, struct umbra_error *err)
{
	_cleanup_coordinator_ struct umbra_coordinator *c = NULL;
	const char *paths[] = {vol_b, vol_a};
	struct umbra_create_request request = {.paths = paths, .n_paths = 2};
	_cleanup_json_ json_t *list = NULL;
	int r = umbra_coordinator_connect(state, &c, err);

	cr_assert_eq(r, 0);
	r = umbra_coordinator_create(c, &request, NULL, id, &list, err);
	if (warnings)
		*warnings = json_array_size(list);
	return r;
}

/* A requester of its own: it may wait for a coordinator that was stopped. */
static pid_t start_create(const char *faults)
{
	pid_t pid = fork();
	struct umbra_error err = {0};
	struct umbra_id id;
	int r;

	if (pid == 0) {
		if (faults)
			setenv("UMBRA_TEST_FAULT", faults, 1);
		r = create(&id, NULL, &err);
		_exit(r == 0 ? 0 : 1);
	}
	return pid;
}

static bool nothing_held(void)
{
	return !lab_suspended(0) && !lab_suspended(1);
}

static size_t lists(void)
{
	_cleanup_dir_ DIR *dir = opendir(held_dir);
	struct dirent *d;
	size_t n = 0;

	while (dir && (d = readdir(dir)))
		n += d->d_name[0] != '.';
	return n;
}

static void wait_until_free(const char *what, int limit_ms)
{
	int ms;

	for (ms = 0; ms < limit_ms && (lists() > 0 || !nothing_held()); ms += 10)
		usleep(10000);
	cr_assert(nothing_held(), "%s: held after %d ms", what, limit_ms);
	cr_assert(lab_works(0) && lab_works(1), "%s: does not work", what);
}

static size_t count_sets(enum umbra_set_state wanted)
{
	_cleanup_engine_ struct umbra_engine *e = NULL;
	_cleanup_set_list_ struct umbra_set_list list = {0};
	size_t i, n = 0;

	cr_assert_eq(umbra_engine_open(state, UMBRA_CATALOG_READ, &e, NULL), 0);
	cr_assert_eq(umbra_catalog_load(umbra_engine_catalog(e), UMBRA_LOAD_FULL, &list, NULL), 0);
	for (i = 0; i < list.n; i++)
		n += list.sets[i]->state == wanted;
	return n;
}

/* A creation with these faults leaves nothing held, and the next one works. */
static void survive(const char *faults)
{
	struct umbra_error err = {0};
	struct umbra_id id;
	pid_t pid = start_create(faults);
	bool ended;

	/* Until it began to hold, or never will. */
	ended = child_has_ended(pid, 700);
	wait_until_free(faults, LIMIT_MS + 2000);
	if (!ended && !child_has_ended(pid, 3000)) {
		/* Stopped where nothing is held. */
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
	/* Where processes are slow it began to hold only now. */
	while (children_end(is_guard) > 0)
		;
	wait_until_free(faults, LIMIT_MS + 2000);
	while (end_children() > 0)
		;
	cr_assert(nothing_held(), "%s", faults);
	cr_assert_eq(create(&id, NULL, &err), 0, "after %s: %s", faults, err.text);
	cr_assert_eq(count_sets(UMBRA_SET_PREPARING), 0, "%s", faults);
	cr_assert_eq(lists(), 0, "after %s", faults);
	cr_assert(nothing_held());
}

Test(hold, a_creation_holds_and_releases)
{
	_cleanup_engine_ struct umbra_engine *e = NULL;
	_cleanup_set_ struct umbra_set *set = NULL;
	struct umbra_error err = {0};
	size_t warnings;
	struct umbra_id id;

	cr_assert_eq(create(&id, &warnings, &err), 0, "%s", err.text);
	cr_assert_eq(warnings, 0);
	cr_assert(nothing_held());
	cr_assert_eq(lists(), 0);
	cr_assert_eq(umbra_engine_open(state, UMBRA_CATALOG_READ, &e, NULL), 0);
	cr_assert_eq(umbra_catalog_load_one(umbra_engine_catalog(e), id.s, &set, NULL), 0);
	cr_assert_gt(set->hold_us, 0);
	cr_assert_lt(set->hold_us, LIMIT_MS * 1000);
	cr_assert_eq(set->skew_us, 0);
	cr_assert_eq(end_children(), 0, "guards that are not needed are not there");
}

/* What was held and released, in order. */
static char *holds(void)
{
	_cleanup_close_ int dir = open(state, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_free_ char *calls = NULL;
	char *out = calloc(1, 100), *at, *line;

	cr_assert_eq(umbra_read_file(dir, "calls", 10000, &calls, NULL), 0);
	at = calls;
	while (strlen(out) < 80 && (line = strsep(&at, "\n")))
		if (strncmp(line, "hold", 4) == 0 || strncmp(line, "release", 7) == 0)
			sprintf(out + strlen(out), "%s;", line);
	return out;
}

/* So many of them, by now? */
static bool was_held(unsigned int n)
{
	_cleanup_close_ int dir = open(state, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_free_ char *calls = NULL;
	const char *at;

	if (umbra_read_file(dir, "calls", 10000, &calls, NULL) < 0)
		return false;
	for (at = calls; n > 0 && (at = strstr(at, "hold ")); at++)
		n--;
	return n == 0;
}

/* Held after what it lies on it could not write out any more. */
Test(hold, what_lies_on_another_is_held_first)
{
	struct umbra_error err = {0};
	_cleanup_free_ char *order = NULL;
	struct umbra_id id;

	fake_plan.upper = "b";
	cr_assert_eq(create(&id, NULL, &err), 0, "%s", err.text);
	order = holds();
	cr_assert_str_eq(order, "hold b;hold a;release a;release b;");
	fake_plan.upper = ""; /* both */
	cr_assert_eq(create(&id, NULL, &err), -ELOOP);
	cr_assert(strstr(err.text, "on each other"), "%s", err.text);
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
	pid = start_create("create.held:kill:2");
	for (ms = 0; ms < 5000 && !was_held(2); ms += 10)
		usleep(10000);
	cr_assert(was_held(2));
	wait_until_free("that", 3000);
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
	pid = start_create("create.held:kill:2");
	waitpid(pid, NULL, 0);
	wait_until_free(upper, LIMIT_MS);
	cr_assert_lt(d[lab_minors[first]].order, d[lab_minors[then]].order, "%s", upper);
	while (children_end(is_guard) > 0)
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
		_exit(create(&(struct umbra_id){0}, NULL, &(struct umbra_error){0}) == 0);
	}
	close(ends[1]);
	p.fd = ends[0];
	while (n > 0 && umbra_now_us() < until)
		if (poll(&p, 1, 100) > 0)
			n = read(ends[0], buf, sizeof(buf));
	cr_assert_eq(n, 0);
	cr_assert(child_has_ended(pid, 3000));
	for (ms = 0; ms < LIMIT_MS + 3000 && !nothing_held(); ms += 10)
		usleep(10000);
	cr_assert(nothing_held(), "the other one releases");
	cr_assert_gt(end_children(), 0, "the guard that was stopped");
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
		cr_assert_lt(create(&id, NULL, &err), 0);
		unsetenv("UMBRA_TEST_FAULT");
		usleep(600000); /* the second is a little behind */
		cr_assert_eq(lab_suspended(0) + lab_suspended(1), i < 2 ? 2 - (int)i : 0, "%s",
			     at[i]);
		cr_assert_eq(create(&id, NULL, &err), 0, "%s", err.text);
		cr_assert(nothing_held());
		cr_assert_eq(lists(), 0);
	}
}

static bool wait_until_held(void)
{
	int ms;

	for (ms = 0; ms < 1000 && !(lab_suspended(0) && lab_suspended(1)); ms += 10)
		usleep(10000);
	return lab_suspended(0) && lab_suspended(1);
}

/* As umbrad looks, four times a second. */
Test(hold, all_three_stopped_are_released_by_who_looks)
{
	struct umbra_error err = {0};
	struct umbra_id id;
	pid_t pid;
	int ms;

	pid = start_create("create.held:stop:2,guard.watching:stop,second.watching:stop");
	cr_assert(wait_until_held());
	for (ms = 0; ms < LIMIT_MS + 1500 && !nothing_held(); ms += 250) {
		umbra_coordinator_release_leftovers();
		usleep(250000);
	}
	cr_assert_gt(ms, 250, "not before its time");
	cr_assert(nothing_held());
	cr_assert(lab_works(0) && lab_works(1));
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	while (end_children() > 0)
		;
	cr_assert_eq(create(&id, NULL, &err), 0, "%s", err.text);
	cr_assert_eq(lists(), 0);
}

/* As the name of its list says. */
static pid_t holder(void)
{
	_cleanup_dir_ DIR *dir = opendir(held_dir);
	struct dirent *d;
	pid_t pid = 0;

	while (dir && (d = readdir(dir)))
		if (d->d_name[0] != '.')
			pid = atoi(d->d_name);
	return pid;
}

/* By hand, say: what was committed after that is of another instant. */
Test(hold, a_set_that_somebody_else_resumed_fails)
{
	pid_t pid = start_create("create.held:stop:2");
	int status;

	cr_assert(wait_until_held());
	lab_resume(0);
	kill(holder(), SIGCONT);
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 1);
	cr_assert_eq(count_sets(UMBRA_SET_CREATED) + count_sets(UMBRA_SET_PREPARING), 0);
	cr_assert(nothing_held());
	cr_assert_eq(lists(), 0);
}

/* The next creation may be at it when the second guard of a killed one comes. */
Test(hold, what_one_guard_has_released_the_other_leaves_alone)
{
	pid_t pid = start_create("create.held:kill:2");
	int ms;

	waitpid(pid, NULL, 0);
	for (ms = 0; ms < 250 && (!nothing_held() || lists() > 0); ms += 5)
		usleep(5000);
	cr_assert(nothing_held() && lists() == 0, "the first does not wait");
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
	pid = start_create("create.held:stop:2");
	cr_assert(wait_until_held());
	cr_assert_neq(sched_getscheduler(holder()), SCHED_IDLE);
	cr_assert_neq(syscall(SYS_ioprio_get, 1, holder()) >> 13, 3);
	kill(holder(), SIGKILL);
	waitpid(pid, NULL, 0);
	wait_until_free("then", 3000);
}

/* Resuming the first waits for a disk: that keeps no other. */
Test(hold, what_cannot_be_resumed_keeps_no_other)
{
	pid_t pid;
	int ms;

	lab_two_storeys(1);
	pid = start_create("create.held:stop:2");
	cr_assert(wait_until_held());
	lab_block(1);
	kill(holder(), SIGKILL);
	for (ms = 0; ms < 1000 && lab_suspended(0); ms += 10)
		usleep(10000);
	cr_assert(!lab_suspended(0) && lab_works(0), "kept by the other");
	cr_assert(lab_suspended(1));
	lab_go_on();
	wait_until_free("then", 1000);
	waitpid(pid, NULL, 0);
}

#ifdef HOLD_LAB_REAL
/* It waits for a disk, cannot be killed meanwhile, and then has suspended something all the same.
 */
Test(hold, a_holder_that_does_not_die_is_not_given_up)
{
	pid_t pid;

	lab_hang(1);
	pid = start_create(NULL);
	sleep(9); /* much longer than a dead one is looked after */
	cr_assert(!lab_suspended(0), "what can be released is");
	kill(pid, SIGKILL); /* it would be the next to look */
	waitpid(pid, NULL, 0);
	lab_go_on();
	sleep(1);
	cr_assert(nothing_held());
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
	pid = start_create("create.held:stop:2,guard.watching:stop");
	for (ms = 0; ms < 2000 && nothing_held(); ms += 10)
		usleep(10000);
	cr_assert(!nothing_held());
	begun = umbra_now_us();
	while (!nothing_held() && umbra_now_us() - begun < 10500000)
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
	cr_assert_eq(create(&id, NULL, &err), -ETIME, "%s: %s", point, err.text);
	unsetenv("UMBRA_TEST_FAULT");
	cr_assert(strstr(err.text, "in time"), "%s", err.text);
	cr_assert(nothing_held());
	cr_assert_eq(count_sets(UMBRA_SET_CREATED) + count_sets(UMBRA_SET_PREPARING), 0);
	cr_assert_eq(lists(), 0);
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
	cr_assert_eq(create(&id, NULL, &err), -ETIME, "%s", err.text);
	cr_assert(strstr(err.text, "in time"), "%s", err.text);
	cr_assert(nothing_held());
	cr_assert_eq(lists(), 0);
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
	cr_assert_eq(create(&id, NULL, &err), -ETIME, "%s", err.text);
	cr_assert(nothing_held());
}

Test(hold, release_that_is_late_does_not_spoil_the_set)
{
	struct umbra_error err = {0};
	struct umbra_id id;

	setenv("UMBRA_TEST_HOLD_MS", "1300", 1);
	setenv("UMBRA_TEST_FAULT", "create.released:delay", 1);
	cr_assert_eq(create(&id, NULL, &err), 0, "%s", err.text);
	cr_assert(nothing_held());
}

Test(hold, a_lost_guard_is_said)
{
	struct umbra_error err = {0};
	struct umbra_id id;
	size_t warnings;

	setenv("UMBRA_TEST_FAULT", "guard.disarmed:kill", 1);
	cr_assert_eq(create(&id, &warnings, &err), 0, "%s", err.text);
	cr_assert_eq(warnings, 1);
	setenv("UMBRA_TEST_FAULT", "second.disarmed:stop", 1);
	cr_assert_eq(create(&id, &warnings, &err), 0, "%s", err.text);
	cr_assert_eq(warnings, 1);
}

/* Nobody would release in its place if more went wrong. */
Test(hold, a_set_that_lost_a_guard_while_it_was_held_fails)
{
	struct umbra_error err = {0};
	struct umbra_id id;

	setenv("UMBRA_TEST_HOLD_MS", "9000", 1);
	setenv("UMBRA_TEST_FAULT", "second.watching:kill,create.held:delay", 1);
	cr_assert_eq(create(&id, NULL, &err), -EPIPE, "%s", err.text);
	cr_assert(strstr(err.text, "was killed while volumes were held"), "%s", err.text);
	cr_assert(nothing_held());
	cr_assert_eq(count_sets(UMBRA_SET_CREATED), 0);
}

Test(hold, without_guards_nothing_is_held)
{
	struct umbra_error err = {0};
	struct umbra_id id;

	setenv("UMBRA_TEST_FAULT", "guard.armed:kill", 1);
	cr_assert_lt(create(&id, NULL, &err), 0);
	cr_assert(strstr(err.text, "umbra-guard"), "%s", err.text);
	setenv("UMBRA_TEST_FAULT", "second.armed:stop", 1);
	cr_assert_lt(create(&id, NULL, &err), 0);
	cr_assert(strstr(err.text, "does not answer"), "%s", err.text);
	cr_assert(nothing_held());
	cr_assert_eq(lists(), 0);
}

/* Held by somebody else: it is not ours to resume. */
Test(hold, what_was_suspended_before_stays_so)
{
	struct umbra_error err = {0};
	struct umbra_id id;

	lab_suspend(1);
	cr_assert_eq(create(&id, NULL, &err), -EBUSY, "%s", err.text);
	cr_assert(!lab_suspended(0));
	cr_assert(lab_suspended(1));
	lab_resume(1);
}
