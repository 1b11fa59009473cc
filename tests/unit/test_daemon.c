/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Is umbrad there when copies depend on it? */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/util.h"
#include "coordinator/client.h"
#include "fake_provider.h"
#include "place.h"

static char state[80], vol[80];

static void setup(void)
{
	place_begin();
	snprintf(state, sizeof(state), "%s/state", place);
	snprintf(vol, sizeof(vol), "%s/vol", place);
	cr_assert_eq(mkdir(vol, 0755), 0);
	fake_plan = (struct fake_plan){0};
	setenv(FAKE_STORAGE, "1", 1);
}

static bool is_locked(void)
{
	_cleanup_free_ char *path = umbra_asprintf("%s/umbrad.lock", state);
	_cleanup_close_ int fd = open(path, O_RDWR | O_CLOEXEC);

	return fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0;
}

static pid_t looker(void)
{
	_cleanup_close_ int dir = open(state, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_free_ char *text = NULL;

	return umbra_read_file(dir, "looker", 100, &text, NULL) < 0 ? 0 : atoi(text);
}

/* It is at work, and has a look in a moment. */
static pid_t wait_for_looker(void)
{
	pid_t pid = looker();
	int ms;

	for (ms = 0; ms < 5000 && pid <= 0; ms += 10) {
		usleep(10000);
		pid = looker();
	}
	cr_assert_gt(pid, 0);
	return pid;
}

static void finish(void)
{
	pid_t pid = looker();
	int ms;

	if (pid > 0)
		kill(pid, SIGTERM);
	for (ms = 0; ms < 3000 && is_locked(); ms += 10)
		usleep(10000);
	place_end();
}

TestSuite(daemon, .init = setup, .fini = finish, .timeout = 60);

static int create_of(const char *other, struct umbra_error *err)
{
	_cleanup_coordinator_ struct umbra_coordinator *c = NULL;
	const char *paths[] = {vol, other};
	struct umbra_create_request request = {.paths = paths, .n_paths = other ? 2 : 1};
	json_t *warnings = NULL;
	struct umbra_id id;
	int r = umbra_coordinator_connect(state, &c, err);

	if (r == 0)
		r = umbra_coordinator_create(c, &request, NULL, &id, &warnings, err);
	json_decref(warnings);
	return r;
}

static int create(struct umbra_error *err)
{
	return create_of(NULL, err);
}

/* Two copies of one device can be of no one instant. */
Test(daemon, a_volume_that_is_mounted_twice_is_copied_once)
{
	_cleanup_free_ char *calls = NULL, *again = umbra_asprintf("%s/again", place);
	struct umbra_error err = {0};
	int dir, r;

	place_need_root("to mount");
	if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		cr_skip_test("no mounts of one's own here");
	cr_assert_eq(mkdir(again, 0755), 0);
	cr_assert_eq(mount(vol, vol, NULL, MS_BIND, NULL), 0);
	cr_assert_eq(mount(vol, again, NULL, MS_BIND, NULL), 0);
	r = create_of(again, &err);
	umount2(again, MNT_DETACH);
	umount2(vol, MNT_DETACH);
	cr_assert_eq(r, 0, "%s", err.text);
	dir = open(state, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cr_assert_eq(umbra_read_file(dir, "calls", 1000, &calls, NULL), 0);
	close(dir);
	cr_assert(strstr(calls, "prepare vol"));
	cr_assert_not(strstr(calls, "again"), "%s", calls);
}

Test(daemon, is_at_work_before_a_copy_is_made)
{
	struct umbra_error err = {0};

	setenv("UMBRA_TEST_FAULT", "umbrad.started:delay", 1);
	cr_assert_eq(create(&err), 0, "%s", err.text);
	cr_assert(is_locked());
}

Test(daemon, without_it_there_is_no_copy)
{
	_cleanup_free_ char *calls = NULL;
	struct umbra_error err = {0};
	int dir;

	setenv("UMBRA_TEST_FAULT", "umbrad.started:kill", 1);
	cr_assert_lt(create(&err), 0);
	cr_assert(strstr(err.text, "umbrad"), "%s", err.text);
	dir = open(state, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cr_assert_eq(umbra_read_file(dir, "calls", 1000, &calls, NULL), 0);
	close(dir);
	cr_assert_str_eq(calls, "prepare vol\nabort vol\n");
}

static bool is_stopped(pid_t pid)
{
	_cleanup_free_ char *path = umbra_asprintf("/proc/%d/stat", (int)pid);
	_cleanup_close_ int fd = pid > 0 ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	char text[200] = "", *name;
	ssize_t n = fd >= 0 ? read(fd, text, sizeof(text) - 1) : 0;

	name = n > 0 ? strrchr(text, ')') : NULL;
	return name && name[1] == ' ' && name[2] == 'T';
}

/* One that is about to end was seen by who creates a copy just then. */
Test(daemon, does_not_end_when_it_is_needed_again)
{
	_cleanup_free_ char *needed = umbra_asprintf("%s/needed", state);
	struct umbra_error err = {0};
	pid_t pid;
	int ms;

	setenv("UMBRA_TEST_FAULT", "umbrad.idle:stop", 1);
	cr_assert_eq(create(&err), 0, "%s", err.text);
	for (ms = 0; ms < 30000 && !is_stopped(looker()); ms += 50)
		usleep(50000);
	pid = looker();
	cr_assert(is_stopped(pid) && is_locked());
	/* First, as it goes on by itself when a creation takes longer than usual. */
	close(open(needed, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
	cr_assert_eq(create(&err), 0, "%s", err.text);
	cr_assert_eq(looker(), pid);
	kill(pid, SIGCONT);
	usleep(500000);
	cr_assert_eq(kill(pid, 0), 0);
	cr_assert(is_locked());
	unlink(needed);
}

static void put(const char *name)
{
	_cleanup_free_ char *path = umbra_asprintf("%s/%s", state, name);

	mkdir(state, 0700);
	close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
}

static void need_it(void)
{
	put("needed");
}

/* Of several volumes: the others are in use from now on, and need somebody who looks after them. */
Test(daemon, is_started_also_when_a_volume_cannot_be_activated)
{
	_cleanup_coordinator_ struct umbra_coordinator *c = NULL;
	struct umbra_activate_call call = {0};
	struct umbra_error err = {0};
	json_t *report;
	int ms;

	need_it();
	put("broken");
	cr_assert_eq(umbra_coordinator_connect(state, &c, &err), 0, "%s", err.text);
	cr_assert_eq(umbra_coordinator_activate(c, &call, NULL, &report, &err), -EBADMSG);
	cr_assert_str_eq(err.text, "told to be broken");
	for (ms = 0; ms < 5000 && !is_locked(); ms += 10)
		usleep(10000);
	cr_assert(is_locked());
}

/* Whoever looks by then, another than this one; 0: nobody. */
static pid_t next_looker(pid_t pid, int limit_ms)
{
	pid_t now = pid;

	for (; limit_ms > 0 && (now == pid || now == 0); limit_ms -= 10) {
		usleep(10000);
		now = looker();
	}
	return now == pid ? 0 : now;
}

/* What is made from then on it does not let go any more. */
Test(daemon, nobody_relies_on_one_that_is_told_to_end)
{
	struct umbra_error err = {0};
	pid_t pid;
	int ms;

	need_it();
	setenv("UMBRA_TEST_FAULT", "umbrad.leaving:stop", 1);
	cr_assert_eq(create(&err), 0, "%s", err.text);
	unsetenv("UMBRA_TEST_FAULT");
	pid = wait_for_looker();
	kill(pid, SIGTERM);
	for (ms = 0; ms < 5000 && !is_stopped(pid); ms += 10)
		usleep(10000);
	cr_assert_eq(create(&err), 0, "%s", err.text);
	kill(pid, SIGCONT);
	cr_assert_gt(next_looker(pid, 10000), 0);
	cr_assert(is_locked());
}

Test(daemon, killed_after_a_look_it_has_a_successor_every_time)
{
	struct umbra_error err = {0};
	pid_t pid;
	int i;

	need_it();
	setenv("UMBRA_TEST_FAULT", "umbrad.looked:kill:5", 1);
	cr_assert_eq(create(&err), 0, "%s", err.text);
	pid = wait_for_looker();
	for (i = 0; i < 3; i++) {
		pid = next_looker(pid, 10000);
		cr_assert_gt(pid, 0, "after %d", i);
		cr_assert(is_locked());
	}
}

Test(daemon, a_second_that_is_killed_or_stopped_is_no_hindrance)
{
	static const char *const how[] = {"standby.ready:kill", "standby.ready:stop"};
	struct umbra_error err = {0};
	pid_t pid;
	size_t i;

	need_it();
	for (i = 0; i < UMBRA_ARRAY_SIZE(how); i++) {
		setenv("UMBRA_TEST_FAULT", how[i], 1);
		cr_assert_eq(create(&err), 0, "%s", err.text);
		pid = wait_for_looker();
		cr_assert_eq(next_looker(pid, 1000), 0, "%s", how[i]);
		cr_assert(is_locked());
		kill(pid, SIGTERM);
		while (is_locked())
			usleep(10000);
	}
}

static bool is_second(pid_t pid)
{
	_cleanup_free_ char *path = umbra_asprintf("/proc/%d/comm", pid), *name = NULL;

	return umbra_read_file(AT_FDCWD, path, 100, &name, NULL) == 0 &&
	       strcmp(name, "umbra-standby\n") == 0;
}

/* Of its children, others of which find out what is lost, and of which a dead one may be there
 * still; 0: there is none. */
static pid_t second_of(pid_t first, pid_t dead)
{
	_cleanup_free_ char *path = umbra_asprintf("/proc/%d/task/%d/children", first, first);
	_cleanup_fclose_ FILE *f = fopen(path, "re");
	int child;

	while (f && fscanf(f, "%d", &child) == 1)
		if (child != dead && is_second(child))
			return child;
	return 0;
}

static pid_t wait_for_second(pid_t first, pid_t dead)
{
	pid_t second = 0;
	int ms;

	for (ms = 0; ms < 5000 && !(second = second_of(first, dead)); ms += 10)
		usleep(10000);
	cr_assert_gt(second, 0);
	return second;
}

static int64_t last_look_us(void)
{
	_cleanup_free_ char *path = umbra_asprintf("%s/looker", state);
	struct stat st;

	cr_assert_eq(stat(path, &st), 0);
	return (int64_t)st.st_mtim.tv_sec * 1000000 + st.st_mtim.tv_nsec / 1000;
}

/* One that a debugger has is not gone before that one looks; as little is one that hangs. */
Test(daemon, a_second_that_cannot_be_ended_is_no_hindrance)
{
	struct umbra_error err = {0};
	int64_t last, before;
	pid_t second;
	int ms;

	place_need_root("to trace umbrad");
	need_it();
	cr_assert_eq(create(&err), 0, "%s", err.text);
	second = wait_for_second(wait_for_looker(), 0);
	cr_assert_eq(ptrace(PTRACE_SEIZE, second, NULL, NULL), 0);
	kill(second, SIGSTOP);
	usleep(4000000); /* it is silent for three seconds, and then killed */
	last = before = last_look_us();
	for (ms = 0; ms < 10000 && last == before; ms += 10) {
		usleep(10000);
		last = last_look_us();
	}
	cr_assert_neq(last, before);
	waitpid(second, NULL, __WALL);
}

/* Writers wait for it, whoever started it. */
Test(daemon, is_not_idle_when_who_started_it_was)
{
	const struct sched_param none = {0};
	struct umbra_error err = {0};
	pid_t pid;

	need_it();
	cr_assert_eq(sched_setscheduler(0, SCHED_IDLE, &none), 0);
	cr_assert_eq(create(&err), 0, "%s", err.text);
	pid = wait_for_looker();
	cr_assert_neq(sched_getscheduler(pid), SCHED_IDLE);
	cr_assert_neq(sched_getscheduler(wait_for_second(pid, 0)), SCHED_IDLE);
}

static void begin_both(pid_t *first, pid_t *second)
{
	struct umbra_error err = {0};

	need_it();
	cr_assert_eq(create(&err), 0, "%s", err.text);
	*first = wait_for_looker();
	*second = wait_for_second(*first, 0);
}

/* It would end when it has taken the first one's place. */
Test(daemon, a_second_that_is_told_to_end_is_no_hindrance)
{
	pid_t first, second;

	begin_both(&first, &second);
	usleep(300000); /* for it to be ready */
	kill(second, SIGTERM);
	usleep(1000000);
	kill(first, SIGKILL);
	second = next_looker(first, 10000);
	cr_assert_gt(second, 0);
	usleep(1000000);
	cr_assert_eq(kill(second, 0), 0);
	cr_assert(is_locked());
}

/* As a service manager tells both: the second must not leave writers to one that hangs. */
Test(daemon, told_to_end_while_the_first_hangs)
{
	pid_t first, second;
	int ms;

	place_need_root("to trace umbrad");
	begin_both(&first, &second);
	usleep(300000); /* for it to be ready */
	cr_assert_eq(ptrace(PTRACE_SEIZE, first, NULL, NULL), 0);
	kill(first, SIGSTOP);
	kill(first, SIGTERM);
	kill(second, SIGTERM);
	for (ms = 0; ms < 20000 && is_locked(); ms += 10)
		usleep(10000);
	cr_assert_not(is_locked());
	waitpid(first, NULL, __WALL);
}

/* It has not had a look yet. */
Test(daemon, killed_as_soon_as_it_has_taken_over_it_has_a_successor)
{
	pid_t first, second;

	setenv("UMBRA_TEST_FAULT", "umbrad.looked:delay", 1);
	begin_both(&first, &second);
	kill(first, SIGKILL);
	cr_assert_eq(next_looker(first, 10000), second);
	kill(second, SIGKILL);
	cr_assert_gt(next_looker(second, 10000), 0);
	cr_assert(is_locked());
}

/* Two at once: whoever is left, stopped, goes on. */
Test(daemon, stopped_while_the_other_is_killed_it_goes_on)
{
	int64_t last;
	pid_t first, second;
	int ms;

	begin_both(&first, &second);
	kill(first, SIGSTOP);
	kill(second, SIGKILL);
	last = last_look_us();
	for (ms = 0; ms < 10000 && last_look_us() == last; ms += 10)
		usleep(10000);
	cr_assert_neq(last_look_us(), last);
	second = wait_for_second(first, second);
	usleep(300000); /* for it to be ready */
	kill(second, SIGSTOP);
	kill(first, SIGKILL);
	cr_assert_eq(next_looker(first, 10000), second);
}

/* The first and the one that took its place: the next creation has a new one. */
Test(daemon, both_killed)
{
	struct umbra_error err = {0};
	pid_t pid;
	int ms;

	need_it();
	setenv("UMBRA_TEST_FAULT", "standby.taken-over:kill", 1);
	cr_assert_eq(create(&err), 0, "%s", err.text);
	pid = wait_for_looker();
	usleep(300000); /* for the second to be there */
	kill(pid, SIGKILL);
	for (ms = 0; ms < 5000 && is_locked(); ms += 10)
		usleep(10000);
	cr_assert_not(is_locked());
	unsetenv("UMBRA_TEST_FAULT");
	cr_assert_eq(create(&err), 0, "%s", err.text);
	cr_assert(is_locked());
	for (ms = 0; ms < 5000 && looker() == pid; ms += 10)
		usleep(10000); /* it is at work, and looks in a moment */
	cr_assert_neq(looker(), pid);
}
