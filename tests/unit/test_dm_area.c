/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/provider/dm/device/area_parts.h"

#include <criterion/criterion.h>

TestSuite(dm_area, .timeout = 60);

/* In three pieces, of which two lie one behind the other on the volume, in the other order. */
static struct umbra_area *open_area(void)
{
	_cleanup_json_ json_t *record =
		json_pack("{s:s,s:s,s:i,s:s,s:[[i,i,i],[i,i,i],[i,i,i]]}", "id",
			  "01234567-89ab-4def-8123-456789abcdef", "kind", "inside", "bytes", 28672,
			  "place", "/nonexistent/.umbra/diff-area", "extents", 0, 65536, 8192, 8192,
			  57344, 8192, 16384, 131072, 12288);
	struct umbra_area *a;

	cr_assert_not_null(record);
	cr_assert_eq(umbra_area_open(record, 0, false, &a, NULL), 0);
	return a;
}

static void expect(const struct umbra_area *a, uint64_t offset, size_t len, bool owned,
		   size_t so_far)
{
	cr_assert_eq(umbra_area_owns(a, offset, &len), owned, "at %llu",
		     (unsigned long long)offset);
	cr_assert_eq(len, so_far, "at %llu: %zu", (unsigned long long)offset, len);
}

Test(dm_area, which_bytes_of_the_volume_are_its_own)
{
	_cleanup_area_ struct umbra_area *a = open_area();

	expect(a, 0, 4096, false, 4096);
	expect(a, 0, 1 << 20, false, 57344);
	expect(a, 57343, 2, false, 1);
	expect(a, 57344, 4096, true, 4096);
	expect(a, 57344, 1 << 20, true, 8192);
	expect(a, 65536, 1 << 20, true, 8192);
	expect(a, 73728, 1 << 20, false, 131072 - 73728);
	expect(a, 131073, 1 << 20, true, 12287);
	expect(a, 143360, 1 << 20, false, 1 << 20);
}

Test(dm_area, cut_it_has_less_of_the_volume)
{
	_cleanup_area_ struct umbra_area *a = open_area();
	_cleanup_json_ json_t *record = NULL;

	umbra_area_cut(a, 12288);
	cr_assert_eq(umbra_area_sectors(a), 24);
	expect(a, 57344, 4096, true, 4096);
	expect(a, 61440, 4096, false, 4096);
	expect(a, 131072, 4096, false, 4096);
	umbra_area_mark(a, true);
	record = umbra_area_record(a);
	cr_assert(umbra_area_resizing(record));
	cr_assert_eq(json_array_size(json_object_get(record, "extents")), 2);
	umbra_area_cut(a, 8192);
	umbra_area_mark(a, false);
	json_decref(record);
	record = umbra_area_record(a);
	cr_assert_not(umbra_area_resizing(record));
	cr_assert_eq(json_array_size(json_object_get(record, "extents")), 1);
}

/* The same blocks as far as the area reaches, and others behind, or not. */
Test(dm_area, a_file_that_grows_begins_with_what_it_was)
{
	_cleanup_area_ struct umbra_area *a = open_area();
	struct umbra_fixed_extent now[] = {
		{0, 65536, 8192}, {8192, 57344, 8192}, {16384, 131072, 20480}, {36864, 0, 4096}};

	cr_assert(umbra_area_begins(a, now, 4));
	cr_assert(umbra_area_begins(a, now, 3));
	cr_assert_not(umbra_area_begins(a, now, 2));
	now[2].length = 8192;
	cr_assert_not(umbra_area_begins(a, now, 3));
	now[2] = (struct umbra_fixed_extent){16384, 135168, 20480};
	cr_assert_not(umbra_area_begins(a, now, 3));
	now[2] = (struct umbra_fixed_extent){16384, 131072, 20480};
	now[1].length = 12288;
	cr_assert_not(umbra_area_begins(a, now, 3));
}
