/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "fake_copies.h"
#include "snapshot/difference.h"

TestSuite(difference, .init = fake_begin, .fini = fake_end, .timeout = 60);

static char seen[4096];

static int note(struct umbra_difference *d, enum umbra_change change, const char *path,
		const struct umbra_node *old, const struct umbra_node *new, int differs,
		struct umbra_error *err)
{
	_cleanup_free_ char *what = umbra_differs_text(differs);
	size_t used = strlen(seen);

	(void)d;
	(void)err;
	cr_assert_eq(old == NULL, change == UMBRA_ADDED);
	cr_assert_eq(new == NULL, change == UMBRA_REMOVED);
	snprintf(seen + used, sizeof(seen) - used, "%c %s %s\n", "+-~"[change],
		 umbra_path_below(path, fake_live()), what);
	return 0;
}

/* From the first set to the live tree. */
static void differs(enum umbra_compare_how how, const char *expected)
{
	_cleanup_view_ struct umbra_view *from = NULL, *to = NULL;
	struct umbra_difference d = {.how = how, .change = note};
	struct umbra_error err = {0};

	from = umbra_view_of_set(fake_opener(), fake_sets()->sets[0]);
	to = umbra_view_live(fake_opener());
	d.from = from;
	d.to = to;
	seen[0] = '\0';
	cr_assert_eq(umbra_difference_walk(&d, fake_live(), &err), 1, "%s", err.text);
	cr_assert_str_eq(seen, expected, "%s", seen);
}

Test(difference, nothing)
{
	fake_run("mkdir -p d/e; echo x >d/e/f; ln -s f d/e/l; mkfifo p");
	fake_set(1);
	differs(UMBRA_COMPARE_EXACT, "");
}

Test(difference, each_kind)
{
	fake_run("mkdir a gone; echo 1 >a/same; echo 1 >a/text; echo 1 >a/mode; ln -s x a/link; "
		 "echo 1 >gone/f; echo 1 >kind; echo 1 >touched; touch -d @5 touched");
	fake_set(1);
	fake_run("echo 22 >a/text; chmod 600 a/mode; ln -sfn y a/link; rm -r gone; rm kind; "
		 "mkdir kind; echo 1 >kind/new; touch -d @6 touched; >a/z");
	differs(UMBRA_COMPARE_QUICK, "~ a/link content, time\n"
				     "~ a/mode mode\n"
				     "~ a/text content, time\n"
				     "+ a/z \n"
				     "- gone \n"
				     "- gone/f \n"
				     "~ kind type\n"
				     "+ kind/new \n"
				     "~ touched time\n");
}

Test(difference, another_owner)
{
	place_need_root("to give a file to others");
	fake_run("echo 1 >f");
	fake_set(1);
	fake_run("chgrp 12345 f");
	differs(UMBRA_COMPARE_QUICK, "~ f owner\n");
}

Test(difference, equal_size_and_time_needs_exact)
{
	fake_run("echo 1 >f; touch -d @5 f");
	fake_set(1);
	fake_run("echo 2 >f; touch -d @5 f");
	differs(UMBRA_COMPARE_QUICK, "");
	differs(UMBRA_COMPARE_EXACT, "~ f content\n");
}

Test(difference, names_of_any_bytes_in_order)
{
	fake_run(">$(printf 'a\\001'); >b; >$(printf '\\377')");
	fake_set(1);
	fake_run("rm $(printf '\\377'); >$(printf 'a\\377'); >'a b'");
	differs(UMBRA_COMPARE_QUICK, "+ a b \n"
				     "+ a\xff \n"
				     "- \xff \n");
}

static void says_not_in_the_copy(struct umbra_difference *d, const struct umbra_error *why)
{
	(void)d;
	cr_assert_not_null(strstr(why->text, "/f' is not in the copy"), "%s", why->text);
}

/* Not "the same", though size and time are. */
Test(difference, content_that_is_not_in_the_copy_is_told)
{
	static const enum umbra_compare_how hows[] = {UMBRA_COMPARE_QUICK, UMBRA_COMPARE_EXACT};
	size_t i;

	fake_run("echo 1 >f; echo 1 >g");
	fake_unreadable(fake_set(1), "f");
	for (i = 0; i < UMBRA_ARRAY_SIZE(hows); i++) {
		_cleanup_view_ struct umbra_view *from = NULL, *to = NULL;
		struct umbra_difference d = {
			.how = hows[i], .change = note, .warn = says_not_in_the_copy};

		from = umbra_view_of_set(fake_opener(), fake_sets()->sets[0]);
		to = umbra_view_live(fake_opener());
		d.from = from;
		d.to = to;
		seen[0] = '\0';
		cr_assert_eq(umbra_difference_walk(&d, fake_live(), NULL), 1);
		cr_assert_eq(d.failed, 1);
		cr_assert_str_eq(seen, "");
	}
}
