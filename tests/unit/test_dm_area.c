/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/provider/dm/area.h"

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
	cr_assert_eq(umbra_area_open(record, 0, &a, NULL), 0);
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
