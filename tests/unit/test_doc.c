/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <criterion/criterion.h>
#include <string.h>

#include "common/doc.h"

static void round_trip(const char *name)
{
	_cleanup_json_ json_t *doc = json_object(), *again = NULL;
	_cleanup_free_ char *text = NULL, *back = NULL;

	cr_assert_eq(umbra_doc_set_path(doc, "path", name), 0);
	text = json_dumps(doc, 0);
	cr_assert_not_null(text);
	cr_assert_eq(umbra_doc_parse(text, strlen(text), "test", &again, NULL), 0);
	cr_assert_eq(umbra_doc_get_path(again, "path", &back), 0);
	cr_assert_str_eq(back, name);
}

Test(doc, names_of_any_bytes_come_back)
{
	round_trip("plain");
	round_trip("");
	round_trip("new\nline \"quoted\" \\xff back\\slash");
	round_trip("\xc3\xa4 \xe2\x82\xac \xf0\x9f\x8c\x92");
	round_trip("\xff\xfe");
	round_trip("cut \xe2\x82");
	round_trip("surrogate \xed\xa0\x80");
	round_trip("overlong \xc0\xaf");
}

Test(doc, refuses_bad_hex)
{
	static const char *const bad[] = {"f", "zz", "00", "FF"};
	char *out = NULL;

	for (size_t i = 0; i < UMBRA_ARRAY_SIZE(bad); i++) {
		_cleanup_json_ json_t *doc = json_pack("{s:s}", "p_hex", bad[i]);

		cr_assert_eq(umbra_doc_get_path(doc, "p", &out), -EBADMSG, "%s", bad[i]);
	}
}

Test(doc, parse_says_what_is_wrong)
{
	struct umbra_error err = {0};
	json_t *doc;

	cr_assert_eq(umbra_doc_parse("[1]", 3, "the thing", &doc, &err), -EBADMSG);
	cr_assert_eq(err.code, UMBRA_E_DAMAGED);
	cr_assert(strstr(err.text, "the thing"));
	cr_assert_eq(umbra_doc_parse("{\"a\":1,\"a\":2}", 13, "x", &doc, &err), -EBADMSG);
}
