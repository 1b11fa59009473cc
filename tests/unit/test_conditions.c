/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What was noted of shadow copies that cannot be read. */
#include <criterion/criterion.h>
#include <string.h>

#include "common/util.h"
#include "place.h"
#include "snapshot/conditions.h"

TestSuite(conditions, .init = place_begin, .fini = place_end, .timeout = 60);

static struct umbra_set *two_copies(void)
{
	struct umbra_set *set = umbra_set_new();

	cr_assert_eq(umbra_set_add_shadow(set, umbra_shadow_new("/a", "dm")), 0);
	cr_assert_eq(umbra_set_add_shadow(set, umbra_shadow_new("/b", "dm")), 0);
	return set;
}

static void note(const struct umbra_shadow *shadow, const char *text)
{
	cr_assert_eq(umbra_put_file(place_fd, UMBRA_CONDITIONS_NAME, shadow->id.s, text), 0);
}

Test(conditions, a_set_is_what_the_best_of_its_copies_is)
{
	_cleanup_set_ struct umbra_set *set = two_copies();

	cr_expect_eq(umbra_conditions_show(place_fd, &set, 1, NULL), 0);
	cr_expect_eq(umbra_set_condition(set), UMBRA_CONDITION_GOOD);
	note(set->shadows[0], "lost\nterm: a reason\nof two lines");
	note(set->shadows[1], "missing\nvolume missing: it is not there");
	cr_expect_eq(umbra_conditions_show(place_fd, &set, 1, NULL), 0);
	cr_expect_eq(set->shadows[0]->condition, UMBRA_CONDITION_LOST);
	cr_expect_str_eq(set->shadows[0]->why, "term: a reason\nof two lines");
	cr_expect_eq(umbra_set_condition(set), UMBRA_CONDITION_MISSING);
}

/* Who shows it twice sees what changed between. */
Test(conditions, what_is_dropped_is_good_again)
{
	_cleanup_set_ struct umbra_set *set = two_copies();

	note(set->shadows[0], "inactive\nnot activated: yet");
	cr_expect_eq(umbra_conditions_show(place_fd, &set, 1, NULL), 0);
	cr_expect_eq(set->shadows[0]->condition, UMBRA_CONDITION_INACTIVE);
	umbra_conditions_drop(place_fd, set->shadows[0]->id.s);
	cr_expect_eq(umbra_conditions_show(place_fd, &set, 1, NULL), 0);
	cr_expect_eq(set->shadows[0]->condition, UMBRA_CONDITION_GOOD);
	cr_expect_null(set->shadows[0]->why);
}

Test(conditions, a_note_that_says_nothing_is_none)
{
	static const char *const notes[] = {"", "lost", "broken\nterm: why", "\n", "LOST\nwhy"};
	_cleanup_set_ struct umbra_set *set = two_copies();
	size_t i;

	for (i = 0; i < UMBRA_ARRAY_SIZE(notes); i++) {
		note(set->shadows[0], notes[i]);
		cr_expect_eq(umbra_conditions_show(place_fd, &set, 1, NULL), 0, "note %zu", i);
		cr_expect_eq(set->shadows[0]->condition, UMBRA_CONDITION_GOOD, "note %zu", i);
		cr_expect_null(set->shadows[0]->why, "note %zu", i);
	}
}

Test(conditions, terms)
{
	char term[UMBRA_TERM_MAX], longest[200];

	cr_expect_str_eq(umbra_condition_term("volume missing: '/a: b' is gone: yes", term),
			 "volume missing");
	cr_expect_str_eq(umbra_condition_term("no term", term), "no term");
	cr_expect_str_eq(umbra_condition_term("", term), "");
	memset(longest, 'x', sizeof(longest));
	longest[sizeof(longest) - 1] = '\0';
	cr_expect_eq(strlen(umbra_condition_term(longest, term)), UMBRA_TERM_MAX - 1);
}
