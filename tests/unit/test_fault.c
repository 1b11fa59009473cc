/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/fault.h"
#include "common/token.h"
#include "common/util.h"

TestSuite(fault, .timeout = 30);

static int pass_first(void)
{
	return umbra_fault("test.first");
}

static int pass_second(struct umbra_error *err)
{
	return umbra_fault_fail("test.second", err);
}

static void set(const char *value)
{
	setenv("UMBRA_TEST_FAULT", value, 1);
	umbra_fault_init();
}

Test(fault, points_do_nothing_unless_told)
{
	unsetenv("UMBRA_TEST_FAULT");
	umbra_fault_init();
	cr_assert_eq(pass_first(), 0);
	set("test.elsewhere:fail");
	cr_assert_eq(pass_first(), 0);
}

Test(fault, fails_once_the_time_that_was_said)
{
	struct umbra_error err = {0};

	set("test.first:fail,test.second:fail:3");
	cr_assert_eq(pass_first(), -EIO);
	cr_assert_eq(pass_first(), 0);
	cr_assert_eq(pass_second(&err), 0);
	cr_assert_eq(pass_second(&err), 0);
	cr_assert_eq(pass_second(&err), -EIO);
	cr_assert(strstr(err.text, "'test.second'"), "%s", err.text);
	cr_assert_eq(pass_second(&err), 0);
}

Test(fault, delays)
{
	int64_t start = umbra_now_us();

	set("test.first:delay");
	cr_assert_eq(pass_first(), 0);
	cr_assert_geq(umbra_now_us() - start, 1000000);
}

/* What becomes of a process that passes the first point. */
static int status_of(const char *value, int options)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		set(value);
		_exit(pass_first() == 0 ? 0 : 1);
	}
	cr_assert_eq(waitpid(pid, &status, options), pid);
	if (WIFSTOPPED(status)) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
	return status;
}

Test(fault, kills_and_stops)
{
	int status = status_of("test.first:kill", 0);

	cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	status = status_of("test.first:stop", WUNTRACED);
	cr_assert(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
}

Test(fault, a_word_that_means_nothing_ends_the_program)
{
	static const char *const words[] = {
		"test.first",        "test.first:",       "test.first:explode", ":kill",
		"test.first:kill:0", "test.first:kill:x", "test.first:fail,",   ","};
	size_t i;

	for (i = 0; i < UMBRA_ARRAY_SIZE(words); i++)
		cr_assert_eq(WEXITSTATUS(status_of(words[i], 0)), 2, "%s", words[i]);
}

Test(fault, all_points_can_be_listed)
{
	char text[4096];
	int fds[2];
	ssize_t n;
	pid_t pid;

	cr_assert_eq(pipe(fds), 0);
	pid = fork();
	if (pid == 0) {
		dup2(fds[1], STDOUT_FILENO);
		set("list");
		_exit(9);
	}
	close(fds[1]);
	waitpid(pid, NULL, 0);
	n = read(fds[0], text, sizeof(text) - 1);
	text[n > 0 ? n : 0] = '\0';
	cr_assert(strstr(text, "test.first\ntest.second\n"), "%s", text);
	close(fds[0]);
}
