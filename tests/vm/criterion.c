/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * PROGRAM [--filter 'SUITE/TEST'] [--list]: runs the tests that match, prints TAP.
 */
#include "criterion/criterion.h"

#include <fnmatch.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SUITES_MAX      64
#define DEFAULT_TIMEOUT 10

enum { PASSED = 0, FAILED = 1, SKIPPED = 77, ELSEWHERE = 99 };

static struct criterion_test *first, **last = &first;
static struct {
	const char *name;
	const struct criterion_settings *settings;
} suites[SUITES_MAX];
static size_t n_suites;

/* Of the test that runs in this process. */
static jmp_buf over;
static pid_t self;
static char *reason; /* shared with the parent: why it was skipped */
#define REASON_SIZE 4096

void criterion_add_test(struct criterion_test *test)
{
	*last = test;
	last = &test->next;
}

void criterion_add_suite(const char *suite, const struct criterion_settings *settings)
{
	if (n_suites == SUITES_MAX)
		abort();
	suites[n_suites].name = suite;
	suites[n_suites++].settings = settings;
}

__attribute__((noreturn)) static void end(int status)
{
	if (getpid() != self) /* a child of the test */
		_exit(ELSEWHERE);
	longjmp(over, status);
}

void criterion_fail(const char *file, int line, const char *what, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "%s:%d: %s", file, line, what);
	if (fmt[1]) { /* it begins with a space */
		fputc(':', stderr);
		va_start(ap, fmt);
		vfprintf(stderr, fmt, ap);
		va_end(ap);
	}
	fputc('\n', stderr);
	end(FAILED);
}

void criterion_skip(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(reason, REASON_SIZE, fmt, ap);
	va_end(ap);
	end(SKIPPED);
}

void criterion_log(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

static struct criterion_settings settings_of(const struct criterion_test *test)
{
	struct criterion_settings s = test->settings;
	size_t i;

	for (i = 0; i < n_suites; i++)
		if (strcmp(suites[i].name, test->suite) == 0) {
			s.init = s.init ? s.init : suites[i].settings->init;
			s.fini = s.fini ? s.fini : suites[i].settings->fini;
			s.timeout = s.timeout > 0 ? s.timeout : suites[i].settings->timeout;
		}
	if (s.timeout <= 0)
		s.timeout = DEFAULT_TIMEOUT;
	return s;
}

static int run_here(const struct criterion_test *test, const struct criterion_settings *s)
{
	volatile int status = PASSED;
	int why;

	self = getpid();
	why = setjmp(over);
	if (why == 0) {
		if (s->init)
			s->init();
		test->run();
	} else {
		status = why;
	}
	if (setjmp(over) == 0) {
		if (s->fini)
			s->fini();
	} else {
		status = FAILED;
	}
	return status;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* A negative number: its time is over. It is killed, but a process in the kernel may stay. */
static int wait_for(pid_t pid, double limit)
{
	double stop = now() + limit;
	int status;

	while (now() < stop) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
		usleep(2000);
	}
	kill(-pid, SIGKILL);
	return -1;
}

static int run_test(const struct criterion_test *test)
{
	const struct criterion_settings s = settings_of(test);
	pid_t pid;

	*reason = '\0';
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		int status;

		setpgid(0, 0);
		status = run_here(test, &s);
		fflush(NULL);
		_exit(status);
	}
	return wait_for(pid, s.timeout);
}

static bool report(int number, const struct criterion_test *test, int status, double begun)
{
	bool good = status == PASSED || status == SKIPPED;

	if (status < 0)
		fprintf(stderr, "its time is over\n");
	else if (status >= 128)
		fprintf(stderr, "killed by signal %d\n", status - 128);
	printf("%sok %d - %s::%s%s%s (%.2fs)\n", good ? "" : "not ", number, test->suite,
	       test->name, status == SKIPPED ? " # SKIP " : "", status == SKIPPED ? reason : "",
	       now() - begun);
	return good;
}

static bool matches(const struct criterion_test *test, const char *filter)
{
	char name[256];

	snprintf(name, sizeof(name), "%s/%s", test->suite, test->name);
	return fnmatch(filter, name, 0) == 0;
}

int main(int argc, char **argv)
{
	const char *filter = "*";
	const struct criterion_test *t;
	int n = 0, number = 0, i;
	bool good = true;

	for (i = 1; i + 1 < argc; i++)
		if (strcmp(argv[i], "--filter") == 0)
			filter = argv[i + 1];
	reason = mmap(NULL, REASON_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (reason == MAP_FAILED)
		return 1;
	for (t = first; t; t = t->next)
		n += matches(t, filter);
	printf("1..%d\n", n);
	for (t = first; t; t = t->next)
		if (matches(t, filter)) {
			double begun = now();

			good = report(++number, t, run_test(t), begun) && good;
		}
	return good ? 0 : 1;
}
