/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/fault.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/util.h"

#define VARIABLE   "UMBRA_TEST_FAULT"
#define FAULTS_MAX 16
#define POINT_MAX  64

enum action { KILL, STOP, FAIL, DELAY };

static struct fault {
	char name[POINT_MAX];
	enum action action;
	int count;
	atomic_int passed;
} faults[FAULTS_MAX];
static size_t n_faults;

bool umbra_faults_set;

/* The linker's ends of the section that the macro fills; none when no point is linked. */
extern const char *const __start_umbra_faults[] __attribute__((weak));
extern const char *const __stop_umbra_faults[] __attribute__((weak));

static int by_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* A point in a function that is inlined twice is there twice. */
static _Noreturn void list(void)
{
	size_t n = ((uintptr_t)__stop_umbra_faults - (uintptr_t)__start_umbra_faults) /
		   sizeof(const char *);
	size_t i;
	_cleanup_free_ const char **names = calloc(n + 1, sizeof(*names));

	if (!names)
		_exit(1);
	memcpy(names, __start_umbra_faults, n * sizeof(*names));
	qsort(names, n, sizeof(*names), by_name);
	for (i = 0; i < n; i++)
		if (i == 0 || strcmp(names[i], names[i - 1]) != 0)
			puts(names[i]);
	fflush(stdout);
	_exit(0);
}

static _Noreturn void refuse(const char *word)
{
	fprintf(stderr, VARIABLE ": '%s' is not NAME:kill|stop|fail|delay[:COUNT]\n", word);
	_exit(2);
}

static int parse_action(const char *word, enum action *out)
{
	static const char *const words[] = {
		[KILL] = "kill", [STOP] = "stop", [FAIL] = "fail", [DELAY] = "delay"};
	size_t i;

	for (i = 0; i < UMBRA_ARRAY_SIZE(words); i++) {
		if (strcmp(word, words[i]) == 0) {
			*out = (enum action)i;
			return 0;
		}
	}
	return -EINVAL;
}

/* "NAME:ACTION[:COUNT]", which is cut up. */
static int parse(char *word, struct fault *f)
{
	const char *name = strsep(&word, ":"), *action = strsep(&word, ":");
	char *end = word;

	f->count = 1;
	f->passed = 0;
	if (!action || !*name || strlen(name) >= sizeof(f->name))
		return -EINVAL;
	if (word)
		f->count = (int)strtol(word, &end, 10);
	memcpy(f->name, name, strlen(name) + 1);
	return (word && (*end || f->count < 1)) ? -EINVAL : parse_action(action, &f->action);
}

void umbra_fault_init(void)
{
	const char *value = secure_getenv(VARIABLE);
	_cleanup_free_ char *copy = NULL;
	char *at, *word;

	n_faults = 0;
	umbra_faults_set = false;
	if (!value || !*value)
		return;
	if (strcmp(value, "list") == 0)
		list();
	at = copy = strdup(value);
	while (at && (word = strsep(&at, ",")))
		if (n_faults == FAULTS_MAX || parse(word, &faults[n_faults++]) < 0)
			refuse(value);
	umbra_faults_set = n_faults > 0;
}

static int act(enum action action)
{
	struct timespec left = {.tv_sec = 1};

	switch (action) {
	case KILL:
		raise(SIGKILL);
		break;
	case STOP:
		raise(SIGSTOP);
		break;
	case DELAY:
		while (nanosleep(&left, &left) < 0 && errno == EINTR)
			;
		break;
	case FAIL:
		return -EIO;
	}
	return 0;
}

int umbra_fault_pass(const char *name)
{
	size_t i;
	int r = 0;

	for (i = 0; i < n_faults; i++)
		if (strcmp(faults[i].name, name) == 0 &&
		    atomic_fetch_add(&faults[i].passed, 1) + 1 == faults[i].count)
			r = act(faults[i].action);
	return r;
}
