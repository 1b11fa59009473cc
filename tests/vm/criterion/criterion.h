/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * As much of Criterion as our tests use, for programs that run in the guest: Criterion itself puts
 * memory at addresses that a process of User-Mode Linux does not have. Each test runs in a process
 * of its own; its .fini runs also when it fails or is skipped, not when its time is over.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct criterion_settings {
	void (*init)(void);
	void (*fini)(void);
	double timeout; /* seconds; 10 when 0 */
	int sentinel_;
};

struct criterion_test {
	const char *suite, *name;
	void (*run)(void);
	struct criterion_settings settings;
	struct criterion_test *next;
};

void criterion_add_test(struct criterion_test *test);
void criterion_add_suite(const char *suite, const struct criterion_settings *settings);

void criterion_fail(const char *file, int line, const char *what, const char *fmt, ...)
	__attribute__((format(printf, 4, 5), noreturn));
void criterion_skip(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));
void criterion_log(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#define TestSuite(suite, ...)                                                                      \
	__attribute__((constructor(200))) static void criterion_suite_##suite(void)                \
	{                                                                                          \
		static const struct criterion_settings settings = {__VA_ARGS__};                   \
		criterion_add_suite(#suite, &settings);                                            \
	}                                                                                          \
	struct criterion_settings

#define Test(suite_, name_, ...)                                                                   \
	static void criterion_run_##suite_##_##name_(void);                                        \
	__attribute__((constructor(300))) static void criterion_add_##suite_##_##name_(void)       \
	{                                                                                          \
		static struct criterion_test test = {                                              \
			.suite = #suite_,                                                          \
			.name = #name_,                                                            \
			.run = criterion_run_##suite_##_##name_,                                   \
			.settings = {.sentinel_ = 0, ##__VA_ARGS__},                               \
		};                                                                                 \
		criterion_add_test(&test);                                                         \
	}                                                                                          \
	static void criterion_run_##suite_##_##name_(void)

#define criterion_check(condition, what, ...)                                                      \
	do {                                                                                       \
		if (!(condition))                                                                  \
			criterion_fail(__FILE__, __LINE__, what, " " __VA_ARGS__);                 \
	} while (0)

#define cr_assert(c, ...)            criterion_check(c, #c, __VA_ARGS__)
#define cr_assert_not(c, ...)        criterion_check(!(c), "not " #c, __VA_ARGS__)
#define cr_assert_eq(a, b, ...)      criterion_check((a) == (b), #a " == " #b, __VA_ARGS__)
#define cr_assert_neq(a, b, ...)     criterion_check((a) != (b), #a " != " #b, __VA_ARGS__)
#define cr_assert_lt(a, b, ...)      criterion_check((a) < (b), #a " < " #b, __VA_ARGS__)
#define cr_assert_leq(a, b, ...)     criterion_check((a) <= (b), #a " <= " #b, __VA_ARGS__)
#define cr_assert_gt(a, b, ...)      criterion_check((a) > (b), #a " > " #b, __VA_ARGS__)
#define cr_assert_geq(a, b, ...)     criterion_check((a) >= (b), #a " >= " #b, __VA_ARGS__)
#define cr_assert_null(p, ...)       criterion_check((p) == NULL, #p " is NULL", __VA_ARGS__)
#define cr_assert_not_null(p, ...)   criterion_check((p) != NULL, #p " is not NULL", __VA_ARGS__)
#define cr_assert_fail(...)          criterion_fail(__FILE__, __LINE__, "failed", " " __VA_ARGS__)
#define cr_assert_str_eq(a, b, ...)  criterion_check(strcmp(a, b) == 0, #a " == " #b, __VA_ARGS__)
#define cr_assert_str_neq(a, b, ...) criterion_check(strcmp(a, b) != 0, #a " != " #b, __VA_ARGS__)
#define cr_assert_arr_eq(a, b, size, ...)                                                          \
	criterion_check(memcmp(a, b, size) == 0, #a " == " #b, __VA_ARGS__)
#define cr_skip      criterion_skip
#define cr_skip_test criterion_skip
#define cr_log_warn  criterion_log
