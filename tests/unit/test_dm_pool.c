/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/provider/dm/pool/pool.h"

#include <criterion/criterion.h>
#include <string.h>

#include "snapshot/provider/dm/pool/pool_disk.h"
#include "snapshot/set.h"

TestSuite(dm_pool, .timeout = 60);

static const struct umbra_id area = {"01234567-89ab-4def-8123-456789abcdef"};

static struct umbra_id id_of(unsigned int n)
{
	struct umbra_id id;

	snprintf(id.s, sizeof(id.s), "%08x-89ab-4def-8123-456789abcdef", n);
	return id;
}

static struct umbra_pool *make(uint32_t segments)
{
	const struct umbra_pool_geometry g = {1, 8, segments};
	struct umbra_pool *pool;

	cr_assert_eq(umbra_pool_new(&g, &area, "LVM-x", &pool, NULL), 0);
	return pool;
}

/* What a write and a reading make of it; the pool stays. */
static void write_down(struct umbra_pool *pool)
{
	_cleanup_pool_ struct umbra_pool *again = NULL;
	_cleanup_free_ void *data = NULL, *same = NULL;
	struct umbra_error err;
	size_t len, n;

	cr_assert_eq(umbra_pool_encode(pool, &data, &len, &err), 0, "%s", err.text);
	cr_assert_eq(umbra_pool_encoded_length(data), len);
	cr_assert_eq(umbra_pool_load(data, len, data, len, &again, &err), 0, "%s", err.text);
	umbra_pool_written(pool);
	cr_assert_eq(again->generation, pool->generation);
	again->generation--;
	cr_assert_eq(umbra_pool_encode(again, &same, &n, &err), 0, "%s", err.text);
	cr_assert_eq(n, len);
	cr_assert_eq(memcmp(same, data, len), 0);
}

/* A creation without trouble; the store before uses `used` chunks. */
static void create(struct umbra_pool *pool, unsigned int n, uint64_t used)
{
	const struct umbra_pool_store *live = umbra_pool_live(pool);
	const uint64_t before = live ? live->number : 0;
	const struct umbra_id id = id_of(n);
	struct umbra_error err;
	uint32_t granted;

	cr_assert_eq(umbra_pool_prepare(pool, &id, umbra_pool_keep(pool, used, 4), &err), 0, "%s",
		     err.text);
	write_down(pool);
	cr_assert_eq(umbra_pool_commit(pool, &id, &err), 0, "%s", err.text);
	if (before)
		cr_assert_eq(umbra_pool_seal(pool, before, used, &err), 0, "%s", err.text);
	if (umbra_pool_free_segments(pool) > 0)
		cr_assert_eq(umbra_pool_grant(pool, umbra_pool_live(pool)->number,
					      UMBRA_SEGMENTS_MAX, &granted, &err),
			     0, "%s", err.text);
	write_down(pool);
}

static void expect(const struct umbra_pool *pool, const char *states, const char *stores)
{
	static const char letters[] = "?PKHL";
	char have[2][64] = {"", ""};
	uint32_t i;

	for (i = 0; i < pool->n_copies; i++) {
		have[0][i] = letters[pool->copies[i].state];
		have[1][i] = (char)('0' + pool->copies[i].n_stores);
	}
	cr_assert_str_eq(have[0], states);
	cr_assert_str_eq(have[1], stores);
	cr_assert_eq(umbra_pool_check(pool, NULL), 0);
}

Test(dm_pool, the_newest_copy_owns_what_is_free)
{
	_cleanup_pool_ struct umbra_pool *pool = make(100);

	cr_assert_null(umbra_pool_live(pool));
	create(pool, 1, 0);
	cr_assert_eq(umbra_pool_live(pool)->segments.n, 100);
	create(pool, 2, 20);
	cr_assert_eq(pool->stores[0].segments.n, 3);
	cr_assert_eq(umbra_pool_live(pool)->segments.n, 97);
	cr_assert_eq(umbra_pool_free_segments(pool), 0);
	expect(pool, "KK", "11");
}

Test(dm_pool, half_of_what_is_left_goes_to_the_next)
{
	_cleanup_pool_ struct umbra_pool *pool = make(100);
	const struct umbra_id id = id_of(2);

	create(pool, 1, 0);
	cr_assert_eq(umbra_pool_keep(pool, 17, 7), 3 + 48);
	cr_assert_eq(umbra_pool_keep(pool, 0, 0), 1 + 49);
	cr_assert_eq(umbra_pool_keep(pool, 792, 0), 99);
	cr_assert_eq(umbra_pool_keep(pool, 792, 1), 100);
	cr_assert_eq(umbra_pool_keep(pool, UINT64_MAX, UINT64_MAX), 100);
	cr_assert_eq(umbra_pool_prepare(pool, &id, 100, NULL), -ENOSPC);
	cr_assert_eq(umbra_pool_prepare(pool, &id, 101, NULL), -EINVAL);
	cr_assert_eq(umbra_pool_prepare(pool, &id, 51, NULL), 0);
	expect(pool, "KP", "11");
	cr_assert_eq(umbra_pool_live(pool)->segments.n, 49);
	cr_assert_eq(umbra_pool_discard(pool, &id, NULL), 0);
	cr_assert_eq(umbra_pool_free_segments(pool), 49);
	expect(pool, "K", "1");
}

Test(dm_pool, deletion_is_bookkeeping)
{
	_cleanup_pool_ struct umbra_pool *pool = make(100);
	struct umbra_id id;
	unsigned int i;

	for (i = 1; i <= 5; i++)
		create(pool, i, 20);
	expect(pool, "KKKKK", "11111");
	id = id_of(3);
	cr_assert_eq(umbra_pool_remove(pool, &id, NULL), 0);
	expect(pool, "KKKK", "1211");
	id = id_of(1);
	cr_assert_eq(umbra_pool_remove(pool, &id, NULL), 0);
	expect(pool, "KKK", "211");
	cr_assert_eq(umbra_pool_free_segments(pool), 0);
	cr_assert_eq(umbra_pool_settle(pool, NULL), 0, "not durable yet");
	write_down(pool);
	cr_assert_eq(umbra_pool_settle(pool, NULL), 3);
	id = id_of(5);
	cr_assert_eq(umbra_pool_remove(pool, &id, NULL), 0);
	expect(pool, "KKH", "211");
	create(pool, 6, 20);
	expect(pool, "KKK", "221");
	cr_assert_eq(umbra_pool_remove(pool, &id, NULL), -ENOENT);
}

Test(dm_pool, what_the_volume_is_reverted_to_stays)
{
	_cleanup_pool_ struct umbra_pool *pool = make(100);
	struct umbra_id second = id_of(2), third = id_of(3);
	unsigned int i;

	for (i = 1; i <= 3; i++)
		create(pool, i, 20);
	cr_assert_null(umbra_pool_reverting(pool));
	cr_assert_eq(umbra_pool_revert(pool, &second, NULL), 0);
	write_down(pool);
	cr_assert_str_eq(umbra_pool_reverting(pool)->id.s, second.s);
	cr_assert_eq(umbra_pool_remove(pool, &second, NULL), -EBUSY);
	cr_assert_eq(umbra_pool_remove(pool, &third, NULL), 0);
	cr_assert_eq(umbra_pool_revert(pool, &third, NULL), -EINVAL, "it is hidden");
	expect(pool, "KKH", "111");
	cr_assert_eq(umbra_pool_lose(pool, NULL, NULL), 0);
	expect(pool, "LL", "00");
	cr_assert_str_eq(umbra_pool_reverting(pool)->id.s, second.s);
	cr_assert_eq(umbra_pool_remove(pool, &second, NULL), 0);
	cr_assert_null(umbra_pool_reverting(pool));
}

Test(dm_pool, a_volume_is_reverted_to_one_copy_at_a_time)
{
	_cleanup_pool_ struct umbra_pool *pool = make(100);
	struct umbra_id first = id_of(1), second = id_of(2);

	create(pool, 1, 0);
	create(pool, 2, 20);
	cr_assert_eq(umbra_pool_revert(pool, &first, NULL), 0);
	cr_assert_eq(umbra_pool_revert(pool, &second, NULL), 0);
	cr_assert_str_eq(umbra_pool_reverting(pool)->id.s, second.s);
	pool->copies[0].reverting = true;
	cr_assert_eq(umbra_pool_check(pool, NULL), -EBADMSG);
	cr_assert_eq(umbra_pool_revert(pool, NULL, NULL), 0);
	cr_assert_null(umbra_pool_reverting(pool));
	expect(pool, "KK", "11");
}

Test(dm_pool, what_a_view_maps_is_not_free)
{
	_cleanup_pool_ struct umbra_pool *pool = make(100);
	const struct umbra_id id = id_of(1);
	bool mapped[100] = {false};

	create(pool, 1, 0);
	create(pool, 2, 20);
	cr_assert_eq(umbra_pool_remove(pool, &id, NULL), 0);
	write_down(pool);
	mapped[1] = true;
	cr_assert_eq(umbra_pool_settle(pool, mapped), 2);
	cr_assert_eq(pool->map.use[1], UMBRA_SEGMENT_PENDING);
	write_down(pool);
	mapped[1] = false;
	cr_assert_eq(umbra_pool_settle(pool, mapped), 1);
}

Test(dm_pool, an_unfinished_creation_comes_first)
{
	_cleanup_pool_ struct umbra_pool *pool = make(100);
	const struct umbra_id one = id_of(1), two = id_of(2), three = id_of(3);

	create(pool, 1, 0);
	cr_assert_eq(umbra_pool_prepare(pool, &two, 50, NULL), 0);
	cr_assert_eq(umbra_pool_remove(pool, &one, NULL), -EBUSY);
	cr_assert_eq(umbra_pool_prepare(pool, &three, 10, NULL), -EBUSY);
	cr_assert_eq(umbra_pool_hide(pool, &two, NULL), 0);
	cr_assert_eq(umbra_pool_remove(pool, &one, NULL), -EBUSY);
	cr_assert_eq(umbra_pool_seal(pool, 2, 3, NULL), -EINVAL);
	cr_assert_eq(umbra_pool_seal(pool, 1, 401, NULL), -EINVAL);
	cr_assert_eq(umbra_pool_seal(pool, 1, 400, NULL), 0);
	cr_assert_eq(umbra_pool_seal(pool, 1, 400, NULL), -EINVAL);
	expect(pool, "KH", "11");
	cr_assert_eq(umbra_pool_remove(pool, &one, NULL), 0);
	expect(pool, "H", "1");
	cr_assert(!umbra_pool_needed(pool));
	cr_assert_eq(umbra_pool_clear(pool, NULL), 0);
	expect(pool, "", "");
	write_down(pool);
	cr_assert_eq(umbra_pool_settle(pool, NULL), 100);
}

Test(dm_pool, a_hidden_copy_alone_is_dissolved)
{
	_cleanup_pool_ struct umbra_pool *pool = make(100);
	const struct umbra_id one = id_of(1), two = id_of(2);

	create(pool, 1, 0);
	cr_assert_eq(umbra_pool_remove(pool, &one, NULL), 0);
	cr_assert_eq(umbra_pool_prepare(pool, &two, 50, NULL), 0);
	expect(pool, "HP", "11");
	write_down(pool);
	cr_assert_eq(umbra_pool_commit(pool, &two, NULL), 0);
	cr_assert_eq(umbra_pool_seal(pool, 1, 30, NULL), 0);
	expect(pool, "K", "1");
	cr_assert_eq(umbra_segment_map_count(&pool->map, UMBRA_SEGMENT_PENDING), 4);
}

Test(dm_pool, a_copy_that_nothing_was_written_after_costs_nothing)
{
	_cleanup_pool_ struct umbra_pool *pool = make(100);
	unsigned int i;

	for (i = 1; i <= 5; i++)
		create(pool, i, i == 3 ? 10 : 0);
	expect(pool, "KKKKK", "01001");
	cr_assert_eq(umbra_pool_live(pool)->segments.n, 98);
}

Test(dm_pool, what_is_lost_is_lost_with_all_older_ones)
{
	_cleanup_pool_ struct umbra_pool *pool = make(100);
	const struct umbra_id two = id_of(2), three = id_of(3);
	unsigned int i;

	for (i = 1; i <= 4; i++)
		create(pool, i, 20);
	cr_assert_eq(umbra_pool_lose(pool, &two, NULL), 0);
	expect(pool, "LLKK", "0011");
	cr_assert_eq(umbra_pool_remove(pool, &three, NULL), 0);
	expect(pool, "LLK", "001");
	cr_assert_eq(umbra_pool_remove(pool, &two, NULL), 0);
	expect(pool, "LK", "01");
	cr_assert_eq(umbra_pool_lose(pool, NULL, NULL), 0);
	expect(pool, "LL", "00");
	cr_assert_null(umbra_pool_live(pool));
	write_down(pool);
	cr_assert_eq(umbra_pool_settle(pool, NULL), 100);
	create(pool, 7, 0);
	expect(pool, "LLK", "001");
}

Test(dm_pool, as_many_copies_as_vss_has)
{
	_cleanup_pool_ struct umbra_pool *pool = make(2000);
	const struct umbra_id more = id_of(9999);
	struct umbra_id id;
	unsigned int i;

	for (i = 1; i <= UMBRA_VOLUME_SHADOWS_MAX; i++)
		create(pool, i, 3);
	cr_assert_eq(umbra_pool_prepare(pool, &more, umbra_pool_keep(pool, 3, 0), NULL), -EMLINK);
	id = id_of(UMBRA_VOLUME_SHADOWS_MAX);
	cr_assert_eq(umbra_pool_remove(pool, &id, NULL), 0);
	create(pool, 9999, 3);
	cr_assert_eq(pool->n_copies, UMBRA_VOLUME_SHADOWS_MAX);
}

Test(dm_pool, a_store_is_replaced)
{
	_cleanup_pool_ struct umbra_pool *pool = make(100);
	_cleanup_segments_ struct umbra_segments segments = {0};
	const struct umbra_id one = id_of(1), two = id_of(2);
	const uint64_t drop[] = {1, 2}, twice[] = {1, 1}, foreign[] = {3};
	unsigned int i;

	for (i = 1; i <= 4; i++)
		create(pool, i, 20);
	cr_assert_eq(umbra_pool_remove(pool, &two, NULL), 0);
	expect(pool, "KKK", "211");
	cr_assert_eq(umbra_pool_reserve(pool, 4, &segments, NULL), -ENOSPC);
	cr_assert_eq(umbra_pool_shrink(pool, 20, NULL), 0);
	cr_assert_eq(umbra_pool_reserve(pool, 4, &segments, NULL), 0);
	write_down(pool);
	cr_assert_eq(umbra_pool_replace(pool, &one, &segments, 24, drop, 2, NULL), -EINVAL);
	cr_assert_eq(umbra_pool_replace(pool, &one, &segments, 32, twice, 2, NULL), -EINVAL);
	cr_assert_eq(umbra_pool_replace(pool, &one, &segments, 32, foreign, 1, NULL), -EINVAL);
	cr_assert_eq(umbra_pool_replace(pool, &one, &segments, 32, drop, 2, NULL), 0);
	expect(pool, "KKK", "111");
	cr_assert_eq(pool->stores[0].number, 5);
	cr_assert_eq(segments.n, 0);
	write_down(pool);
	cr_assert_eq(umbra_pool_settle(pool, NULL), 6);
}

/* What it has must cover what the others have. */
Test(dm_pool, a_new_store_is_the_first_of_its_copy)
{
	_cleanup_pool_ struct umbra_pool *pool = make(100);
	_cleanup_segments_ struct umbra_segments segments = {0};
	const struct umbra_id two = id_of(2), three = id_of(3);
	const uint64_t drop[] = {3};
	unsigned int i;

	for (i = 1; i <= 4; i++)
		create(pool, i, 20);
	cr_assert_eq(umbra_pool_remove(pool, &three, NULL), 0);
	expect(pool, "KKK", "121");
	cr_assert_eq(umbra_pool_shrink(pool, 20, NULL), 0);
	cr_assert_eq(umbra_pool_reserve(pool, 1, &segments, NULL), 0);
	cr_assert_eq(umbra_pool_replace(pool, &two, &segments, 8, drop, 1, NULL), 0);
	expect(pool, "KKK", "121");
	cr_assert_eq(pool->stores[0].number, 1);
	cr_assert_eq(pool->stores[1].number, 5);
	cr_assert_eq(pool->stores[2].number, 2);
	cr_assert_eq(pool->stores[3].number, 4);
}

Test(dm_pool, size_can_change)
{
	_cleanup_pool_ struct umbra_pool *pool = make(100);

	create(pool, 1, 0);
	cr_assert_eq(umbra_pool_resize(pool, 99, NULL), -EBUSY);
	cr_assert_eq(umbra_pool_shrink(pool, 40, NULL), 0);
	cr_assert_eq(umbra_pool_resize(pool, 40, NULL), 0);
	cr_assert_eq(umbra_pool_resize(pool, UMBRA_SEGMENTS_MAX + 1, NULL), -EFBIG);
	cr_assert_eq(umbra_pool_resize(pool, UMBRA_SEGMENTS_MAX, NULL), 0);
	cr_assert_eq(umbra_pool_free_segments(pool), UMBRA_SEGMENTS_MAX - 40);
	write_down(pool);
}

Test(dm_pool, segments_of_sealed_stores_can_move)
{
	_cleanup_pool_ struct umbra_pool *pool = make(100);
	uint32_t end;

	create(pool, 1, 20);
	create(pool, 2, 20);
	cr_assert_eq(umbra_pool_store_of(pool, 0), 0);
	cr_assert_eq(umbra_pool_move(pool, 0, 99, NULL), -EINVAL);
	cr_assert_eq(umbra_pool_shrink(pool, 20, NULL), 0);
	for (end = pool->map.n; pool->map.use[end - 1] == UMBRA_SEGMENT_FREE;)
		end--;
	cr_assert_eq(umbra_pool_move(pool, umbra_pool_live(pool)->segments.at[0], end, NULL),
		     -EBUSY);
	cr_assert_eq(umbra_pool_move(pool, end, end + 1, NULL), -EBUSY);
	cr_assert_eq(umbra_pool_move(pool, 0, 100, NULL), -EINVAL);
	cr_assert_eq(umbra_pool_move(pool, 0, end, NULL), 0);
	cr_assert_eq(pool->stores[0].segments.at[0], end);
	cr_assert_eq(umbra_pool_store_of(pool, 0), pool->n_stores);
	cr_assert_eq(umbra_pool_settle(pool, NULL), 0, "not before it is durable");
	write_down(pool);
	cr_assert_eq(umbra_pool_settle(pool, NULL), 1);
}

Test(dm_pool, what_an_area_holds)
{
	const struct umbra_pool_geometry g = {32, 16, 8};

	cr_assert_eq(umbra_pool_sectors_of(&g, 8), 10 * 2048);
	cr_assert_eq(umbra_pool_segments_in(&g, 10 * 2048), 8);
	cr_assert_eq(umbra_pool_segments_in(&g, 10 * 2048 - 1), 7);
	cr_assert_eq(umbra_pool_segments_in(&g, 0), 0);
	cr_assert_eq(umbra_pool_segments_in(&g, UINT64_MAX), UMBRA_SEGMENTS_MAX);
}

Test(dm_pool, geometry_follows_the_size)
{
	const uint64_t mib = 2048;
	struct umbra_pool_geometry g;

	cr_assert_eq(umbra_pool_geometry(0, 32, &g, NULL), -ENOSPC);
	cr_assert_eq(umbra_pool_geometry(9 * mib, 32, &g, NULL), -ENOSPC);
	cr_assert_eq(umbra_pool_geometry(10 * mib, 32, &g, NULL), 0);
	cr_assert_eq(g.segment_chunks, 16);
	cr_assert_eq(g.segments, 8);
	cr_assert_eq(umbra_pool_geometry(320 * mib, 32, &g, NULL), 0);
	cr_assert_eq(g.segments, 312 * 4);
	cr_assert_eq(umbra_pool_geometry(64 * 1024 * mib, 32, &g, NULL), 0);
	cr_assert_eq(g.segment_chunks, 512);
	cr_assert_eq(umbra_pool_geometry(UINT64_MAX, 32, &g, NULL), 0);
	cr_assert_eq(g.segment_chunks, 1024);
	cr_assert_eq(g.segments, UMBRA_SEGMENTS_MAX);
	cr_assert(umbra_pool_geometry_valid(&g));
	cr_assert_eq(umbra_pool_geometry(320 * mib, 3, &g, NULL), -EINVAL);
}
