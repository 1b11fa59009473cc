/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <criterion/criterion.h>
#include <string.h>

#include "common/error.h"
#include "common/text.h"
#include "common/util.h"
#include "snapshot/volume.h"

Test(text, printable_keeps_letters_and_shows_the_rest)
{
	char out[64];

	umbra_text_printable("a\xc3\xa4\xe2\x82\xac", out, sizeof(out));
	cr_assert_str_eq(out, "a\xc3\xa4\xe2\x82\xac");
	umbra_text_printable("\x1b[31m\n\x7f\xff\xc2\x9b", out, sizeof(out));
	cr_assert_str_eq(out, "\\x1b[31m\\x0a\\x7f\\xff\\xc2\\x9b");
}

Test(text, printable_never_cuts_a_letter_nor_overruns)
{
	char out[8];

	for (size_t size = 1; size <= sizeof(out); size++) {
		memset(out, 'Z', sizeof(out));
		umbra_text_printable("\xc3\xa4\xff\xc3\xa4\xc3\xa4", out, size);
		cr_assert_lt(strlen(out), size);
		cr_assert(umbra_text_is_utf8(out, strlen(out)));
	}
}

Test(text, sizes)
{
	char out[16];

	umbra_text_size(1023, out, sizeof(out));
	cr_assert_str_eq(out, "1023B");
	umbra_text_size(1536, out, sizeof(out));
	cr_assert_str_eq(out, "1.5K");
	umbra_text_size(UINT64_MAX, out, sizeof(out));
	cr_assert_str_eq(out, "16.0E");
}

Test(error, context_is_put_in_front)
{
	struct umbra_error err = {0};

	cr_assert_eq(umbra_fail_errno(&err, ENOSPC, "writing '%s'", "a\nb"), -ENOSPC);
	cr_assert_eq(err.code, UMBRA_E_NO_SPACE);
	cr_assert_eq(umbra_wrap(&err, -ENOSPC, "copying '%s'", "/x"), -ENOSPC);
	cr_assert_str_eq(err.text, "copying '/x': writing 'a\\x0ab': No space left on device");
}

Test(error, long_texts_are_cut)
{
	struct umbra_error err = {0};
	char path[5000];

	memset(path, 'p', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	umbra_fail(&err, UMBRA_E_IO, EIO, "%s", path);
	for (int i = 0; i < 5; i++)
		umbra_wrap(&err, -EIO, "again '%s'", path);
	cr_assert_lt(strlen(err.text), sizeof(err.text));
}

static void name_is(const char *path, const char *want)
{
	_cleanup_free_ char *name = umbra_volume_name(path);

	cr_assert_str_eq(name, want);
}

Test(volume, names_tell_paths_apart)
{
	name_is("/", "-");
	name_is("/srv/data", "srv-data");
	name_is("/srv/da-ta", "srv-da\\x2dta");
	name_is("/srv/da/ta", "srv-da-ta");
	name_is("/.hidden", "\\x2ehidden");
	name_is("/\xff\n", "\\xff\\x0a");
}

Test(volume, long_names_are_cut_and_still_differ)
{
	char path[400];
	char *a, *b;

	memset(path, 'x', sizeof(path));
	path[0] = '/';
	path[sizeof(path) - 1] = '\0';
	a = umbra_volume_name(path);
	path[sizeof(path) - 2] = 'y';
	b = umbra_volume_name(path);
	cr_assert_leq(strlen(a), 255);
	cr_assert_str_neq(a, b);
	free(a);
	free(b);
}

Test(path, below)
{
	cr_assert_str_eq(umbra_path_below("/a/b", "/a"), "b");
	cr_assert_str_eq(umbra_path_below("/a", "/a"), "");
	cr_assert_str_eq(umbra_path_below("/a/b", "/"), "a/b");
	cr_assert_null(umbra_path_below("/ab", "/a"));
	cr_assert_null(umbra_path_below("/", "/a"));
}

/* Characters of three bytes, so that a cut anywhere hits the middle of one. */
static void long_path(char *path, size_t size)
{
	size_t i;

	for (i = 0; i + 3 < size; i += 3)
		memcpy(path + i, "\xe2\x82\xac", 3);
	path[i] = '\0';
}

Test(error, long_names_do_not_hide_the_reason)
{
	struct umbra_error err;
	char path[4096];

	long_path(path, sizeof(path));
	for (size_t shift = 0; shift < 8; shift++) {
		umbra_fail_errno(&err, ENOSPC, "writing %.*s'%s'", (int)shift, "12345678", path);
		cr_assert_not_null(strstr(err.text, strerror(ENOSPC)));
		for (int i = 0; i < 3; i++) {
			umbra_wrap(&err, -ENOSPC, "%.*s'%s'", (int)shift, "12345678", path);
			cr_assert_not_null(strstr(err.text, strerror(ENOSPC)));
			cr_assert(umbra_text_is_utf8(err.text, strlen(err.text)));
		}
	}
	umbra_fail(&err, UMBRA_E_NOT_FOUND, ENOENT, "'%s' does not exist", path);
	cr_assert_not_null(strstr(err.text, "' does not exist"));
	cr_assert(umbra_text_is_utf8(err.text, strlen(err.text)));
}

Test(text, a_word_for_the_shell)
{
	char longest[2 * UMBRA_WORD_MAX];

	cr_assert_str_eq(UMBRA_WORD("/srv/a-b_c.d+e,f:g@h%i=1"), "/srv/a-b_c.d+e,f:g@h%i=1");
	cr_assert_str_eq(UMBRA_WORD("/my home"), "/my\\ home");
	cr_assert_str_eq(UMBRA_WORD("/a'b\"c$d`e;f&g\\h~"), "/a\\'b\\\"c\\$d\\`e\\;f\\&g\\\\h\\~");
	cr_assert_str_eq(UMBRA_WORD("/gr\xc3\xbc\xc3\x9f"), "/gr\xc3\xbc\xc3\x9f");
	memset(longest, ' ', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	cr_assert_eq(UMBRA_WORD(longest), longest);
}
