/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Another runner for Criterion tests, compiled in or preloaded: each test in a process that is
 * simply forked. Criterion's own needs addresses above 2^45, and a process of User-Mode Linux has
 * 2^39; and it starts each test as a program, which takes valgrind a second or more.
 *
 *	LD_PRELOAD=umbra-plain.so umbra-unit [--filter SUITE/TEST]
 *
 * TAP is on standard output; what the tests print, on standard error. As with Criterion, teardown
 * runs when a test failed, not when it was skipped. Parameterized tests and theories are not known
 * here and fail.
 */
#include <criterion/criterion.h>
#include <criterion/internal/ordered-set.h>
#include <criterion/options.h>
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
#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#else
#define VALGRIND_ENABLE_ERROR_REPORTING
#endif

#define DEFAULT_TIMEOUT 120.0 /* seconds */
#define GRACE           5.0   /* after it was killed */

/* What a test tells its runner; shared with whatever the test forks. */
struct verdict {
	bool failed, skipped;
	char reason[256];
};

static struct verdict *verdict;
static pid_t self; /* the process of the test */
static const struct criterion_suite *suite;
static const struct criterion_test *test;
static jmp_buf leave;

/* A failed assertion leaves the phase: setup, test or teardown. */
static void phase(void (*first)(void), void (*then)(void))
{
	if (setjmp(leave))
		return;
	if (first)
		first();
	if (then)
		then();
}

void criterion_internal_test_setup(void)
{
	phase(suite->data ? suite->data->init : NULL, test->data->init);
}

void criterion_internal_test_main(void (*body)(void))
{
	if (!verdict->failed)
		phase(body, NULL);
}

void criterion_internal_test_teardown(void)
{
	phase(test->data->fini, suite->data ? suite->data->fini : NULL);
}

void criterion_send_assert(struct criterion_assert_stats *assertion)
{
	if (assertion->passed)
		return;
	verdict->failed = true;
	fprintf(stderr, "%s:%u: %s\n", assertion->file, assertion->line, assertion->message);
}

void cri_asserts_passed_incr(void)
{
}

void criterion_abort_test(void)
{
	verdict->failed = true;
	if (getpid() != self) /* forked by the test */
		_exit(1);
	longjmp(leave, 1);
}

void criterion_continue_test(void)
{
	verdict->failed = true;
}

__attribute__((format(printf, 1, 2))) void criterion_skip_test(const char *format, ...)
{
	va_list args;

	verdict->skipped = true;
	va_start(args, format);
	vsnprintf(verdict->reason, sizeof(verdict->reason), format, args);
	va_end(args);
	exit(0); /* without teardown, as there */
}

void cr_log(enum criterion_severity severity, const char *format, ...)
{
	va_list args;

	(void)severity;
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
}

static double time_limit(void)
{
	if (test->data->timeout > 0)
		return test->data->timeout;
	if (suite->data && suite->data->timeout > 0)
		return suite->data->timeout;
	return criterion_options.timeout > 0 ? criterion_options.timeout : DEFAULT_TIMEOUT;
}

/* Blocked while it is waited for. */
static void heed_children(int how)
{
	sigset_t child;

	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(how, &child, NULL);
}

/* In the test's own process. */
static void run(void)
{
	self = getpid();
	setpgid(0, 0);
	heed_children(SIG_UNBLOCK);
	dup2(STDERR_FILENO, STDOUT_FILENO);
	test->test();
	exit(0);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Waits so many seconds for it; without pidfd_open(), which valgrind does not know. */
static bool ended(pid_t pid, double limit, int *status)
{
	struct timespec tick = {.tv_nsec = 200 * 1000 * 1000};
	double end = now() + limit;
	sigset_t child;

	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	while (waitpid(pid, status, WNOHANG) == 0) {
		if (now() > end)
			return false;
		sigtimedwait(&child, NULL, &tick);
	}
	return true;
}

static bool expected(int status)
{
	if (!WIFSIGNALED(status))
		return WEXITSTATUS(status) == test->data->exit_code && test->data->signal == 0;
	if (WTERMSIG(status) == test->data->signal)
		return true;
	fprintf(stderr, "killed by signal %d\n", WTERMSIG(status));
	return false;
}

/* Returns true when it came to the end that was expected. One that waits in the kernel for ever is
 * left there. */
static bool wait_for(pid_t pid, double limit)
{
	int status;

	if (ended(pid, limit, &status))
		return expected(status);
	fprintf(stderr, "its %g s are over\n", limit);
	kill(-pid, SIGKILL);
	ended(pid, GRACE, &status);
	return false;
}

static bool passes(void)
{
	pid_t pid;

	*verdict = (struct verdict){0};
	if (test->data->kind_ != CR_TEST_NORMAL) {
		fprintf(stderr, "not a plain test\n");
		return false;
	}
	fflush(NULL);
	pid = fork();
	if (pid == 0)
		run();
	return pid > 0 && wait_for(pid, time_limit()) && !verdict->failed;
}

static bool wanted(void)
{
	char name[512];

	snprintf(name, sizeof(name), "%s/%s", suite->name, test->name);
	return !criterion_options.pattern ||
	       fnmatch(criterion_options.pattern, name, FNM_EXTMATCH) == 0;
}

static bool disabled(void)
{
	return test->data->disabled || (suite->data && suite->data->disabled);
}

struct tally {
	int tests, failed;
};

static void count(struct tally *tally)
{
	tally->tests++;
}

static void report(struct tally *tally)
{
	double begun = now();
	bool ok = disabled() || passes();

	tally->tests++;
	tally->failed += !ok;
	printf("%sok %d - %s::%s (%.2fs)", ok ? "" : "not ", tally->tests, suite->name, test->name,
	       now() - begun);
	if (disabled())
		printf(" # SKIP disabled");
	else if (ok && verdict->skipped)
		printf(" # SKIP %s", verdict->reason);
	putchar('\n');
	fflush(stdout);
}

static struct tally for_each(struct criterion_test_set *set, void (*visit)(struct tally *))
{
	struct tally tally = {0};

	FOREACH_SET(struct criterion_suite_set * s, set->suites)
	{
		suite = &s->suite;
		FOREACH_SET(struct criterion_test * t, s->tests)
		{
			test = t;
			if (wanted())
				visit(&tally);
		}
	}
	return tally;
}

/* Instead of the one in Criterion's library. */
int main(int argc, char *argv[])
{
	struct criterion_test_set *set = criterion_initialize();

	VALGRIND_ENABLE_ERROR_REPORTING; /* Criterion disables it */
	unsetenv("LD_PRELOAD");          /* not for what the tests start */
	if (!criterion_handle_args(argc, argv, true))
		return 0;
	verdict = mmap(NULL, sizeof(*verdict), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		       -1, 0);
	if (verdict == MAP_FAILED) {
		perror("mmap");
		return 1;
	}
	heed_children(SIG_BLOCK);
	printf("1..%d\n", for_each(set, count).tests);
	return for_each(set, report).failed ? 1 : 0;
}
