/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/util.h"
#include "place.h"
#include "snapshot/engine.h"

TestSuite(engine, .init = place_begin, .fini = place_end, .timeout = 60);

/* Five sets, a minute apart; ids begin with their number, the last two alike. */
static void fill(struct umbra_set_list *list)
{
	static const char *const ids[] = {"00000000", "11111111", "22222222", "abcd1111",
					  "abcd2222"};

	list->sets = calloc(5, sizeof(struct umbra_set *));
	for (list->n = 0; list->n < 5; list->n++) {
		struct umbra_set *set = umbra_set_new();

		memcpy(set->id.s, ids[list->n], 8);
		set->seq = (int64_t)list->n + 1;
		set->time = 1795143000 + (int64_t)list->n * 60;
		list->sets[list->n] = set;
	}
}

static int found(const char *name)
{
	_cleanup_set_list_ struct umbra_set_list list = {0};
	const struct umbra_set *set = NULL;
	struct umbra_error err = {0};

	fill(&list);
	if (umbra_set_list_find(&list, name, &set, &err) < 0)
		return -(int)err.code;
	return (int)set->seq;
}

Test(engine, names_of_sets)
{
	cr_assert_eq(found("latest"), 5);
	cr_assert_eq(found("latest~0"), 5);
	cr_assert_eq(found("latest~4"), 1);
	cr_assert_eq(found("oldest"), 1);
	cr_assert_eq(found("@GMT-2026.11.20-02.51.00"), 2);
	cr_assert_eq(found("2222"), 3);
	cr_assert_eq(found("abcd1"), 4);
	cr_assert_eq(found("ABCD2"), 5);
	cr_assert_eq(found("latest~5"), -UMBRA_E_NOT_FOUND);
	cr_assert_eq(found("latest~"), -UMBRA_E_NOT_FOUND);
	cr_assert_eq(found("latest~-1"), -UMBRA_E_NOT_FOUND);
	cr_assert_eq(found("latest~99999999999999999999999"), -UMBRA_E_NOT_FOUND);
	cr_assert_eq(found("222"), -UMBRA_E_NOT_FOUND, "too short to mean anything");
	cr_assert_eq(found("abcd"), -UMBRA_E_USAGE, "ambiguous");
	cr_assert_eq(found("@GMT-2026.11.20"), -UMBRA_E_USAGE);
	cr_assert_eq(found("@GMT-2020.01.01-00.00.00"), -UMBRA_E_NOT_FOUND);
	cr_assert_eq(found(""), -UMBRA_E_NOT_FOUND);
}

Test(engine, makes_a_private_state_directory)
{
	_cleanup_free_ char *path = umbra_asprintf("%s/a/b/state", place);
	_cleanup_engine_ struct umbra_engine *e = NULL;
	struct stat st;

	cr_assert_eq(umbra_engine_open(path, UMBRA_CATALOG_WRITE, &e, NULL), 0);
	cr_assert_eq(stat(path, &st), 0);
	cr_assert_eq(st.st_mode & 07777, 0700);
	cr_assert_str_eq(umbra_engine_state_dir(e), path);
}

Test(engine, a_named_state_directory_must_have_held_state)
{
	_cleanup_free_ char *none = umbra_asprintf("%s/none", place);
	_cleanup_free_ char *usual = NULL;
	_cleanup_engine_ struct umbra_engine *e = NULL;
	struct umbra_error err = {0};

	cr_assert_eq(umbra_state_known(none, &err), -ENOENT);
	cr_assert_not_null(strstr(err.text, "there is no umbra state in"), "%s", err.text);
	cr_assert_eq(access(none, F_OK), -1);
	cr_assert_eq(umbra_state_known("/dev/null", NULL), -ENOTDIR);
	cr_assert_eq(umbra_state_known(place, NULL), -ENOENT, "any directory");
	cr_assert_eq(umbra_engine_open(place, UMBRA_CATALOG_WRITE, &e, NULL), 0);
	cr_assert_eq(umbra_state_known(place, NULL), 0);
	unsetenv("UMBRA_STATE");
	cr_assert_eq(umbra_state_dir(NULL, &usual, NULL), 0);
	cr_assert_eq(umbra_state_known(usual, NULL), 0, "the default need not be there");
}

Test(engine, closes_a_state_directory_that_others_can_enter)
{
	_cleanup_engine_ struct umbra_engine *e = NULL;
	struct stat st;

	cr_assert_eq(chmod(place, 0755), 0);
	cr_assert_eq(umbra_engine_open(place, UMBRA_CATALOG_WRITE, &e, NULL), 0);
	cr_assert_eq(stat(place, &st), 0);
	cr_assert_eq(st.st_mode & 07777, 0700);
}

Test(engine, a_reader_makes_nothing)
{
	_cleanup_free_ char *path = umbra_asprintf("%s/none", place);
	_cleanup_engine_ struct umbra_engine *e = NULL;
	_cleanup_set_list_ struct umbra_set_list list = {0};

	cr_assert_eq(umbra_engine_open(path, UMBRA_CATALOG_READ, &e, NULL), 0);
	cr_assert_eq(umbra_engine_sets(e, UMBRA_LOAD_FULL, &list, NULL), 0);
	cr_assert_eq(list.n, 0);
	cr_assert_eq(access(path, F_OK), -1);
}

Test(engine, two_names_of_one_state_directory_are_one)
{
	_cleanup_free_ char *link = umbra_asprintf("%s/link", place), *a = NULL, *b = NULL;
	_cleanup_free_ char *below = umbra_asprintf("%s/link/x/y", place);
	_cleanup_free_ char *want = umbra_asprintf("%s/x/y", place);

	cr_assert_eq(symlink(place, link), 0);
	cr_assert_eq(umbra_state_dir(link, &a, NULL), 0);
	cr_assert_str_eq(a, place);
	cr_assert_eq(umbra_state_dir(below, &b, NULL), 0);
	cr_assert_str_eq(b, want);
}

Test(engine, the_state_directory_of_a_user)
{
	_cleanup_free_ char *chosen = NULL, *from_env = NULL;

	setenv("UMBRA_STATE", place, 1);
	cr_assert_eq(umbra_state_dir(NULL, &from_env, NULL), 0);
	cr_assert_str_eq(from_env, place);
	cr_assert_eq(umbra_state_dir("/", &chosen, NULL), 0);
	cr_assert_str_eq(chosen, "/");
}

Test(engine, knows_what_is_its_own)
{
	_cleanup_engine_ struct umbra_engine *e = NULL;
	_cleanup_free_ char *inside = umbra_asprintf("%s/copies", place);
	_cleanup_free_ char *beside = umbra_asprintf("%sx", place);

	cr_assert_eq(umbra_engine_open(place, UMBRA_CATALOG_READ, &e, NULL), 0);
	cr_assert(umbra_engine_owns(e, place));
	cr_assert(umbra_engine_owns(e, inside));
	cr_assert_not(umbra_engine_owns(e, beside));
	cr_assert_not(umbra_engine_owns(e, "/"));
}

static int try_open(enum umbra_catalog_mode mode, struct umbra_error *err)
{
	_cleanup_engine_ struct umbra_engine *e = NULL;

	return umbra_engine_open(place, mode, &e, err);
}

static void expect_mode(mode_t mode)
{
	struct stat st;

	cr_assert_eq(stat(place, &st), 0);
	cr_assert_eq(st.st_mode & 07777, mode);
}

Test(engine, only_its_own_directory_is_closed_to_others)
{
	_cleanup_free_ char *sub = umbra_asprintf("%s/lib", place);
	struct umbra_error err = {0};

	cr_assert_eq(chmod(place, 0755) | mkdir(sub, 0755), 0);
	cr_assert_eq(try_open(UMBRA_CATALOG_WRITE, &err), -EEXIST);
	cr_assert_not_null(strstr(err.text, "--state"));
	expect_mode(0755);
	cr_assert_eq(rmdir(sub), 0);
	cr_assert_eq(try_open(UMBRA_CATALOG_WRITE, NULL), 0);
	expect_mode(0700);
	cr_assert_eq(chmod(place, 0755), 0);
	cr_assert_eq(try_open(UMBRA_CATALOG_WRITE, NULL), 0);
	expect_mode(0700);
}

Test(engine, what_others_could_write_is_not_believed)
{
	struct umbra_error err = {0};

	cr_assert_eq(try_open(UMBRA_CATALOG_WRITE, NULL), 0);
	cr_assert_eq(chmod(place, 0777), 0);
	cr_assert_eq(try_open(UMBRA_CATALOG_WRITE, &err), -EPERM);
	cr_assert_not_null(strstr(err.text, "chmod 0700"));
}
