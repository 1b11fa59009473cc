/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <criterion/criterion.h>
#include <string.h>
#include <unistd.h>

#include "fake_copies.h"
#include "snapshot/versions.h"

TestSuite(versions, .init = fake_begin, .fini = fake_end, .timeout = 60);

static size_t warnings;
static struct umbra_error warning; /* the last */

static void warn(void *arg, const struct umbra_error *why)
{
	(void)arg;
	cr_assert(strlen(why->text) > 0);
	warning = *why;
	warnings++;
}

static struct umbra_versions find(const char *name, unsigned int flags)
{
	_cleanup_free_ char *path = fake_path(name);
	struct umbra_versions v = {0};
	struct umbra_error err = {0};

	cr_assert_eq(
		umbra_versions_find(fake_opener(), fake_sets(), path, flags, warn, NULL, &v, &err),
		0, "%s", err.text);
	return v;
}

static const struct umbra_set *choose(const char *name, int expected)
{
	_cleanup_free_ char *path = fake_path(name);
	const struct umbra_set *set = NULL;
	struct umbra_error err = {0};
	int r = umbra_versions_choose(fake_opener(), fake_sets(), path, warn, NULL, &set, &err);

	cr_assert_eq(r, expected, "%d %s", r, err.text);
	return set;
}

Test(versions, each_different_one_once_newest_first)
{
	_cleanup_versions_ struct umbra_versions v = {0};
	fake_run("echo one >f; touch -d @1000 f");
	fake_set(1);
	fake_set(2);
	fake_run("echo two >f; touch -d @2000 f");
	fake_set(3);
	fake_run("rm f");
	fake_set(4);
	v = find("f", UMBRA_VERSIONS_LIVE);
	cr_assert_eq(v.n, 2);
	cr_assert_eq(v.covering, 4);
	cr_assert_eq(v.v[0].n_sets, 1);
	cr_assert_eq(v.v[0].sets[0], fake_sets()->sets[2]);
	cr_assert_eq(v.v[1].n_sets, 2);
	cr_assert_eq(v.v[1].sets[0], fake_sets()->sets[1]);
	cr_assert_eq(v.v[1].sets[1], fake_sets()->sets[0]);
	cr_assert_not(v.live_exists);
}

Test(versions, same_size_and_time_is_compared_exactly)
{
	_cleanup_versions_ struct umbra_versions v = {0};

	fake_run("echo one >f; touch -d @1000 f");
	fake_set(1);
	fake_run("echo two >f; touch -d @1000 f");
	fake_set(2);
	v = find("f", UMBRA_VERSIONS_LIVE);
	cr_assert_eq(v.n, 2);
	cr_assert(v.v[0].live);
	cr_assert_not(v.v[1].live);
}

Test(versions, what_came_back_is_one_version)
{
	_cleanup_versions_ struct umbra_versions v = {0};

	for (int i = 0; i < 4; i++) {
		fake_run("echo %d >f; touch -d @%d f", i % 2, 1000 + i % 2);
		fake_set(i + 1);
	}
	v = find("f", 0);
	cr_assert_eq(v.n, 2);
	cr_assert_eq(v.v[0].n_sets, 2);
	cr_assert_eq(v.v[1].n_sets, 2);
}

Test(versions, all_are_shown_on_demand)
{
	_cleanup_versions_ struct umbra_versions v = {0};

	fake_run("echo one >f");
	fake_set(1);
	fake_set(2);
	v = find("f", UMBRA_VERSIONS_ALL | UMBRA_VERSIONS_LIVE);
	cr_assert_eq(v.n, 2);
	cr_assert(v.v[0].live && v.v[1].live);
}

Test(versions, types_are_told_apart_and_links_not_followed)
{
	_cleanup_versions_ struct umbra_versions v = {0};

	fake_run("mkdir f");
	fake_set(1);
	fake_run("rmdir f; ln -s /etc/passwd f");
	fake_set(2);
	v = find("f", 0);
	cr_assert_eq(v.n, 2);
	cr_assert(S_ISLNK(v.v[0].st.st_mode));
	cr_assert(S_ISDIR(v.v[1].st.st_mode));
}

Test(versions, nothing_below_a_link)
{
	_cleanup_versions_ struct umbra_versions v = {0};

	fake_run("ln -s /etc d");
	fake_set(1);
	v = find("d/passwd", 0);
	cr_assert_eq(v.n, 0);
	cr_assert_eq(v.covering, 1);
}

Test(versions, a_damaged_copy_does_not_hide_the_others)
{
	_cleanup_versions_ struct umbra_versions v = {0};

	fake_run("echo one >f");
	fake_set(1);
	fake_damage(fake_set(2));
	fake_set(3);
	warnings = 0;
	v = find("f", 0);
	cr_assert_eq(v.n, 1);
	cr_assert_eq(v.v[0].n_sets, 2);
	cr_assert_eq(v.damaged, 1);
	cr_assert_eq(warnings, 1);
}

/* Reading fails, nothing else: for an ordinary user. */
static struct umbra_versions find_as_nobody(unsigned int flags)
{
	struct umbra_versions v;

	cr_assert_eq(chmod(place, 0755), 0);
	cr_assert_eq(seteuid(65534), 0);
	warnings = 0;
	v = find("f", flags);
	cr_assert_eq(seteuid(0), 0);
	return v;
}

static void make_unreadable(const struct umbra_set *set)
{
	fake_run("chmod 0 '%s/f'", set->shadows[0]->volume);
}

Test(versions, a_live_file_that_cannot_be_read_is_another)
{
	_cleanup_versions_ struct umbra_versions v = {0};
	struct umbra_set *set;

	place_need_root("to be somebody else");
	fake_run("echo one >f; touch -d @1000 f");
	set = fake_set(1);
	fake_run("chmod 0 f");
	v = find_as_nobody(UMBRA_VERSIONS_LIVE);
	cr_assert_eq(v.n, 1);
	cr_assert_not(v.v[0].live);
	cr_assert_eq(v.damaged + warnings, 0, "%s", warning.text);
	cr_assert_eq(seteuid(65534), 0);
	cr_assert_eq(choose("f", 1), set);
	cr_assert_eq(seteuid(0), 0);
}

Test(versions, a_version_that_cannot_be_read_is_another)
{
	_cleanup_versions_ struct umbra_versions v = {0};

	place_need_root("to be somebody else");
	fake_run("echo one >f; touch -d @1000 f");
	fake_set(1);
	make_unreadable(fake_set(2));
	v = find_as_nobody(0);
	cr_assert_eq(v.n, 2);
	cr_assert_eq(v.damaged + warnings, 0, "%s", warning.text);
}

Test(versions, a_copy_that_cannot_be_read_is_named_with_its_set)
{
	_cleanup_versions_ struct umbra_versions v = {0};
	char token[UMBRA_TOKEN_LEN + 1];
	struct umbra_set *one;

	place_need_root("to be somebody else");
	fake_run("echo one >f; touch -d @1000 f");
	one = fake_set(1);
	make_unreadable(fake_set(2));
	fake_set(3);
	umbra_token_format(2, token);
	v = find_as_nobody(0);
	cr_assert_eq(v.n, 1);
	cr_assert_eq(v.v[0].n_sets, 2);
	cr_assert(v.damaged == 1 && warnings == 1 && strstr(warning.text, token), "%s",
		  warning.text);
	warning = (struct umbra_error){0};
	fake_run("echo two >f; touch -d @1000 f");
	fake_damage(fake_sets()->sets[2]);
	cr_assert_eq(seteuid(65534), 0);
	cr_assert_eq(choose("f", 1), one);
	cr_assert_eq(seteuid(0), 0);
	cr_assert(strstr(warning.text, token), "%s", warning.text);
}

static const struct umbra_set *newest(const char *name, int expected)
{
	_cleanup_free_ char *path = fake_path(name);
	const struct umbra_set *set = NULL;
	struct umbra_error err = {0};
	int r = umbra_versions_newest(fake_opener(), fake_sets(), path, warn, NULL, &set, &err);

	cr_assert_eq(r, expected, "%d %s", r, err.text);
	return set;
}

Test(versions, newest_does_not_depend_on_the_live_file)
{
	struct umbra_set *two;

	fake_run("echo one >f");
	fake_set(1);
	fake_run("echo two >f");
	two = fake_set(2);
	cr_assert_eq(newest("f", 0), two);
	fake_run("echo three >f");
	cr_assert_eq(newest("f", 0), two);
	fake_run("rm f");
	fake_set(3);
	cr_assert_eq(newest("f", 0), two);
	newest("g", -ENOENT);
	warnings = 0;
	fake_damage(two);
	cr_assert_eq(newest("f", 0), fake_sets()->sets[0]);
	cr_assert_eq(warnings, 1);
}

Test(versions, choose_takes_the_newest_that_differs)
{
	struct umbra_set *one;

	fake_run("echo one >f; touch -d @1000 f");
	one = fake_set(1);
	fake_run("echo two >f; touch -d @1000 f");
	fake_set(2);
	fake_set(3);
	cr_assert_eq(choose("f", 1), one);
	fake_run("echo three >f");
	cr_assert_eq(choose("f", 1), fake_sets()->sets[2]);
	fake_run("rm f");
	cr_assert_eq(choose("f", 1), fake_sets()->sets[2]);
}

Test(versions, choose_says_when_all_are_as_the_live_one)
{
	fake_run("echo one >f");
	fake_set(1);
	fake_set(2);
	cr_assert_eq(choose("f", 2), fake_sets()->sets[1]);
	choose("g", -ENOENT);
}

Test(versions, holes_and_data_of_the_same_bytes_are_the_same)
{
	fake_run("truncate -s 3M f; printf x | dd of=f bs=1 seek=2000000 conv=notrunc status=none; "
		 "touch -d @1000 f");
	fake_set(1);
	fake_run("cp --sparse=never f g; mv g f; touch -d @1000 f");
	choose("f", 2);
	fake_run("printf y | dd of=f bs=1 seek=1000000 conv=notrunc status=none");
	choose("f", 1);
}
