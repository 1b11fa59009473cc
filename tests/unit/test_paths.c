/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "cli/paths.h"
#include "common/util.h"
#include "place.h"

static void setup(void)
{
	place_begin();
	cr_assert_eq(chdir(place), 0);
	cr_assert_eq(mkdir("real", 0755), 0);
	cr_assert_eq(symlink("real", "link"), 0);
	cr_assert_eq(symlink("loop", "loop"), 0);
	cr_assert_eq(symlink(place, "real/up"), 0);
}

TestSuite(paths, .init = setup, .fini = place_end, .timeout = 60);

/* word is resolved in the place and must come out as its path + expected. */
static void gives(const char *word, const char *expected)
{
	_cleanup_free_ char *want = umbra_asprintf("%s%s", place, expected), *out = NULL;
	struct umbra_error err = {0};

	cr_assert_eq(umbra_cli_path(word, &out, &err), 0, "%s: %s", word, err.text);
	cr_assert_str_eq(out, want, "%s: %s, not %s", word, out, want);
}

Test(paths, what_exists_is_made_real)
{
	gives(".", "");
	gives("real/..//./real/", "/real");
	gives("link/x", "/real/x");
	gives("real/up/real/up/link/.", "/real");
}

Test(paths, the_last_link_is_not_followed)
{
	gives("link", "/link");
	gives("link/", "/real");
	gives("loop", "/loop");
}

Test(paths, what_is_missing_is_taken_as_written)
{
	gives("gone", "/gone");
	gives("gone/deep//er/./x", "/gone/deep/er/x");
	gives("gone/deep/../../link/y", "/real/y");
	gives("gone/..", "");
	gives("link/gone/../../z", "/z");
}

Test(paths, a_file_where_a_directory_was_counts_as_missing)
{
	umbra_close(open("file", O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
	gives("file/below/x", "/file/below/x");
}

Test(paths, the_root_and_above)
{
	_cleanup_free_ char *out = NULL;

	cr_assert_eq(umbra_cli_path("/../..//.", &out, NULL), 0);
	cr_assert_str_eq(out, "/");
}

Test(paths, longer_than_path_max)
{
	_cleanup_free_ char *word = NULL, *want = NULL;
	size_t at = 0;

	word = calloc(1, 2 * (size_t)PATH_MAX + 300);
	while (at < 2 * (size_t)PATH_MAX) {
		memset(word + at, 'd', 200);
		word[at + 200] = '/';
		at += 201;
	}
	strcpy(word + at, "x");
	want = umbra_asprintf("/%s", word);
	gives(word, want);
}

Test(paths, in_a_deleted_directory)
{
	cr_assert_eq(mkdir("doomed", 0755), 0);
	cr_assert_eq(chdir("doomed"), 0);
	cr_assert_eq(rmdir("../doomed"), 0);
	{
		_cleanup_free_ char *pwd = umbra_asprintf("%s/doomed", place);

		setenv("PWD", pwd, 1);
	}
	gives("x", "/doomed/x");
}

Test(paths, errors)
{
	struct umbra_error err = {0};
	char *out = NULL;

	cr_assert_eq(umbra_cli_path("", &out, &err), -EINVAL);
	cr_assert_eq(err.code, UMBRA_E_USAGE);
	cr_assert_eq(umbra_cli_path("loop/x", &out, &err), -ELOOP);
	cr_assert(strstr(err.text, "loop/x"), "%s", err.text);
}
