/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <criterion/criterion.h>
#include <string.h>

#include "snapshot/provider/dm/device/names.h"
#include "snapshot/sys/dm_table.h"

Test(dm_table, lines_follow_each_other)
{
	_cleanup_dm_table_ struct umbra_dm_table t = {0};
	unsigned int i;

	cr_assert_eq(umbra_dm_table_sectors(&t), 0);
	for (i = 1; i <= 1000; i++)
		cr_assert_eq(umbra_dm_table_add(&t, i, "linear", NULL, "7:0 %u", i), 0);
	cr_assert_eq(umbra_dm_table_add(&t, 0, "linear", NULL, "7:0 0"), 0);
	cr_assert_eq(t.n, 1000);
	cr_assert_eq(umbra_dm_table_sectors(&t), 500500);
	cr_assert_eq(t.v[999].start, 499500);
	cr_assert_str_eq(t.v[999].params, "7:0 1000");
}

Test(dm_table, same)
{
	_cleanup_dm_table_ struct umbra_dm_table a = {0}, b = {0}, none = {0};

	cr_assert(umbra_dm_table_same(&none, &none));
	umbra_dm_table_add(&a, 8, "linear", NULL, "7:0 0");
	cr_assert_not(umbra_dm_table_same(&a, &none));
	umbra_dm_table_add_line(&b, 0, 8, "linear", "7:0 0", NULL);
	cr_assert(umbra_dm_table_same(&a, &b));
	b.v[0].params[0] = '8';
	cr_assert_not(umbra_dm_table_same(&a, &b));
	b.v[0].params[0] = '7';
	b.v[0].length++;
	cr_assert_not(umbra_dm_table_same(&a, &b));
}

Test(dm_table, a_target_that_is_too_long_is_refused)
{
	_cleanup_dm_table_ struct umbra_dm_table t = {0};
	struct umbra_error err = {0};

	cr_assert_eq(umbra_dm_table_add(&t, 8, "0123456789abcdef", &err, "x"), -EINVAL);
	cr_assert_eq(t.n, 0);
	cr_assert(strstr(err.text, "0123456789abcdef"));
}

Test(dm_table, names)
{
	const struct umbra_id area = {"01234567-89ab-cdef-0123-456789abcdef"};
	const struct umbra_id other = {"01234567-89ab-cdef-0123-456789abcdee"};
	struct umbra_device_name n;

	umbra_device_name(&area, "cow7", &n);
	cr_assert_str_eq(n.name, "umbra-0123456789ab-cow7");
	cr_assert_str_eq(n.uuid, "UMBRA-01234567-89ab-cdef-0123-456789abcdef-cow7");
	cr_assert_str_eq(umbra_device_role(&area, n.uuid), "cow7");
	cr_assert_null(umbra_device_role(&other, n.uuid));
	cr_assert_null(umbra_device_role(&area, "LVM-x"));
}
