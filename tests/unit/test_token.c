/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "common/token.h"

Test(token, round_trip)
{
	char s[UMBRA_TOKEN_LEN + 1];
	int64_t back;

	umbra_token_format(1795143000, s);
	cr_assert_str_eq(s, "@GMT-2026.11.20-02.50.00");
	cr_assert_eq(umbra_token_parse(s, &back), 0);
	cr_assert_eq(back, 1795143000);
}

Test(token, refuses_what_is_no_date)
{
	static const char *const bad[] = {
		"",
		"@GMT-2026.02.30-00.00.00",
		"@GMT-2026.13.01-00.00.00",
		"@GMT-2026.11.20-24.00.00",
		"@GMT-2026.11.20-00.00.60",
		"@GMT-1969.12.31-23.59.59",
		"@GMT-2026.11.20-00.00.0",
		"@GMT-2026.11.20-00.00.000",
		"@GMT-2026-11-20-00.00.00",
		"@GMT- 026.11.20-00.00.00",
		"@gmt-2026.11.20-00.00.00",
	};
	int64_t t = 42;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_assert_eq(umbra_token_parse(bad[i], &t), -EINVAL, "%s", bad[i]);
	cr_assert_eq(t, 42);
}

Test(token, clamps)
{
	char s[UMBRA_TOKEN_LEN + 1];

	umbra_token_format(-5, s);
	cr_assert_str_eq(s, "@GMT-1970.01.01-00.00.00");
	umbra_token_format(INT64_MAX, s);
	cr_assert_str_eq(s, "@GMT-9999.12.31-23.59.59");
}

Test(token, leap_day)
{
	int64_t t;

	cr_assert_eq(umbra_token_parse("@GMT-2028.02.29-12.00.00", &t), 0);
	cr_assert_eq(umbra_token_parse("@GMT-2027.02.29-12.00.00", &t), -EINVAL);
}
