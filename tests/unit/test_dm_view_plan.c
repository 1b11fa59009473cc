/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What views are made of; that they show the right thing is test_dm_model.c's. */
#include "snapshot/provider/dm/pool/view_plan.h"

#include <criterion/criterion.h>
#include <string.h>

#include "common/token.h"
#include "snapshot/provider/dm/pool/le.h"

TestSuite(dm_view_plan, .timeout = 60);

static const struct umbra_id area = {"01234567-89ab-4def-8123-456789abcdef"};

static struct umbra_pool *make(uint32_t chunk_sectors, uint32_t segment_chunks, uint32_t segments)
{
	const struct umbra_pool_geometry g = {chunk_sectors, segment_chunks, segments};
	struct umbra_pool *pool;

	cr_assert_eq(umbra_pool_new(&g, &area, "", &pool, NULL), 0);
	return pool;
}

static struct umbra_pool_store store_at(uint32_t first, uint32_t n)
{
	struct umbra_pool_store s = {.number = 1, .sealed = true};

	cr_assert_eq(umbra_segments_reserve(&s.segments, n), 0);
	while (n-- > 0)
		umbra_segments_push(&s.segments, first++);
	return s;
}

/* n exceptions of chunks from `old` on, every `step`, in a store of its own from segment first. */
static void add(struct umbra_dm_view_plan *plan, const struct umbra_pool *pool, uint32_t first,
		uint64_t old, uint64_t step, uint64_t n)
{
	const uint64_t epa = umbra_dm_epa(pool->geometry.chunk_sectors);
	const uint32_t size = pool->geometry.segment_chunks;
	struct umbra_pool_store s =
		store_at(first, (uint32_t)((umbra_dm_store_chunks(epa, n) + size - 1) / size));
	_cleanup_exceptions_ struct umbra_exceptions list = {0};
	uint64_t i;

	for (i = 0; i < n; i++)
		umbra_exceptions_add(&list, old + i * step, umbra_dm_data_at(epa, i));
	cr_assert_eq(umbra_dm_view_add(plan, pool, &s, &list, NULL), 0);
	umbra_segments_finish(&s.segments);
}

static void expect_line(const struct umbra_dm_view_layout *l, size_t i,
			enum umbra_dm_view_what what, uint64_t start, uint64_t count,
			uint64_t offset)
{
	cr_assert_lt(i, l->n_lines);
	cr_assert_eq(l->lines[i].what, what, "line %zu", i);
	cr_assert_eq(l->lines[i].start, start, "line %zu: %u", i, (unsigned int)l->lines[i].start);
	cr_assert_eq(l->lines[i].count, count, "line %zu: %u", i, (unsigned int)l->lines[i].count);
	cr_assert_eq(l->lines[i].offset, offset, "line %zu: %u", i,
		     (unsigned int)l->lines[i].offset);
}

Test(dm_view_plan, without_exceptions_there_is_an_empty_store)
{
	_cleanup_view_layout_ struct umbra_dm_view_layout l = {0};
	_cleanup_view_plan_ struct umbra_dm_view_plan plan = {0};
	_cleanup_pool_ struct umbra_pool *pool = make(1, 8, 10);
	char chunk[512], zero[512] = "";

	cr_assert_eq(umbra_dm_view_layout(&plan, pool, &l, NULL), 0);
	cr_assert_eq(l.n_lines, 1);
	cr_assert_eq(l.chunks, 2);
	cr_assert_eq(l.scratch_chunks, 2);
	expect_line(&l, 0, UMBRA_DM_VIEW_SCRATCH, 0, 2, 0);
	umbra_dm_view_scratch(&plan, &l, 0, chunk);
	cr_assert_eq(umbra_le32(chunk), 0x70416e53);
	umbra_dm_view_scratch(&plan, &l, 1, chunk);
	cr_assert_eq(memcmp(chunk, zero, sizeof(zero)), 0);
}

/* epa is 32: 32 exceptions fill the first area, so the second must be there and be empty. */
Test(dm_view_plan, behind_a_full_area_comes_an_empty_one)
{
	_cleanup_view_layout_ struct umbra_dm_view_layout l = {0};
	_cleanup_view_plan_ struct umbra_dm_view_plan plan = {0};
	_cleanup_pool_ struct umbra_pool *pool = make(1, 32, 10);
	char chunk[512], zero[512] = "";
	const uint64_t first = umbra_pool_segment_at(pool, 3);

	add(&plan, pool, 3, 0, 1, 30);
	cr_assert_eq(umbra_dm_view_layout(&plan, pool, &l, NULL), 0);
	cr_assert_eq(l.n_lines, 2);
	cr_assert_eq(l.scratch_chunks, 2);
	expect_line(&l, 1, UMBRA_DM_VIEW_AREA, 2, 32, first);
	umbra_dm_view_layout_finish(&l);

	add(&plan, pool, 5, 100, 1, 2);
	cr_assert_eq(umbra_dm_view_layout(&plan, pool, &l, NULL), 0);
	cr_assert_eq(l.scratch_chunks, 3);
	expect_line(&l, 0, UMBRA_DM_VIEW_SCRATCH, 0, 2, 0);
	expect_line(&l, 1, UMBRA_DM_VIEW_AREA, 2, 32, first);
	expect_line(&l, 2, UMBRA_DM_VIEW_SCRATCH, 34, 1, 2);
	expect_line(&l, 3, UMBRA_DM_VIEW_AREA, 35, 32, first + 64);
	umbra_dm_view_scratch(&plan, &l, 2, chunk);
	cr_assert_eq(memcmp(chunk, zero, sizeof(zero)), 0);
	umbra_dm_view_scratch(&plan, &l, 1, chunk);
	cr_assert_eq(umbra_le64(chunk + 31 * 16), 101);
	cr_assert_eq(umbra_le64(chunk + 31 * 16 + 8), 35 + 3);
}

/* The place of an area that the exceptions do not need is a hole, so that no data lies there. */
Test(dm_view_plan, segments_that_are_hardly_used_leave_holes)
{
	_cleanup_view_layout_ struct umbra_dm_view_layout l = {0};
	_cleanup_view_plan_ struct umbra_dm_view_plan plan = {0};
	_cleanup_pool_ struct umbra_pool *pool = make(1, 32, 100);
	bool mapped[100] = {false};
	uint32_t i;

	for (i = 0; i < 3; i++)
		add(&plan, pool, 10 * i, i, 1, 1);
	cr_assert_eq(umbra_dm_view_layout(&plan, pool, &l, NULL), 0);
	cr_assert_eq(l.n_lines, 6);
	cr_assert_eq(l.scratch_chunks, 2);
	expect_line(&l, 2, UMBRA_DM_VIEW_NONE, 34, 1, 0);
	expect_line(&l, 4, UMBRA_DM_VIEW_NONE, 67, 1, 0);
	cr_assert_eq(l.chunks, 100);
	umbra_dm_view_mark(&l, mapped);
	for (i = 0; i < 100; i++)
		cr_assert_eq(mapped[i], i % 10 == 0 && i < 30);
}

Test(dm_view_plan, neighbours_are_one_line)
{
	_cleanup_view_layout_ struct umbra_dm_view_layout l = {0};
	_cleanup_view_plan_ struct umbra_dm_view_plan plan = {0};
	_cleanup_pool_ struct umbra_pool *pool = make(32, 16, 100);

	add(&plan, pool, 50, 0, 1, 500);
	add(&plan, pool, 18, 1000, 1, 500);
	cr_assert_eq(umbra_dm_view_layout(&plan, pool, &l, NULL), 0);
	cr_assert_eq(l.n_lines, 2);
	expect_line(&l, 1, UMBRA_DM_VIEW_AREA, 2, 1024, umbra_pool_segment_at(pool, 18));
}

Test(dm_view_plan, the_oldest_store_wins)
{
	_cleanup_view_plan_ struct umbra_dm_view_plan plan = {0};
	_cleanup_view_layout_ struct umbra_dm_view_layout l = {0};
	_cleanup_pool_ struct umbra_pool *pool = make(1, 8, 1000);
	uint64_t at;
	uint32_t i;

	for (i = 0; i < 100; i++)
		add(&plan, pool, i * 10, 100 - i, 1, 10);
	cr_assert_eq(umbra_dm_view_layout(&plan, pool, &l, NULL), 0);
	cr_assert_eq(plan.chunks.n, 109);
	for (i = 0; i < 109; i++) {
		cr_assert_eq(plan.chunks.e[i].old, i + 1);
		at = i < 99 ? umbra_pool_segment_at(pool, (99 - i) * 10)
			    : umbra_pool_segment_at(pool, 0) + i - 99;
		cr_assert_eq(plan.chunks.e[i].new, at + 2, "chunk %u", i + 1);
	}
}

Test(dm_view_plan, an_exception_beyond_the_store_is_damage)
{
	_cleanup_exceptions_ struct umbra_exceptions list = {0};
	_cleanup_view_plan_ struct umbra_dm_view_plan plan = {0};
	_cleanup_pool_ struct umbra_pool *pool = make(1, 8, 10);
	struct umbra_pool_store s = store_at(0, 2);
	struct umbra_error err;

	umbra_exceptions_add(&list, 0, 16);
	cr_assert_eq(umbra_dm_view_add(&plan, pool, &s, &list, &err), -EBADMSG);
	cr_assert_eq(err.code, UMBRA_E_DAMAGED);
	umbra_segments_finish(&s.segments);
}

/* 64 stores of 16 GiB of changes altogether, half of them of the same chunks. */
Test(dm_view_plan, a_million_exceptions)
{
	_cleanup_view_plan_ struct umbra_dm_view_plan plan = {0};
	_cleanup_view_layout_ struct umbra_dm_view_layout l = {0};
	_cleanup_pool_ struct umbra_pool *pool = make(32, 1024, 2048);
	const int64_t begin = umbra_now_us();
	int64_t took;
	uint32_t i;

	for (i = 0; i < 64; i++)
		add(&plan, pool, i * 17, i / 2 * 1000, 37, 16384);
	cr_assert_eq(umbra_dm_view_layout(&plan, pool, &l, NULL), 0);
	took = umbra_now_us() - begin;
	cr_log_info("%zu of %u exceptions, %zu lines, %lld us", plan.chunks.n, 64 * 16384,
		    l.n_lines, (long long)took);
	cr_assert_leq(l.n_lines, 2 * 64 * 17 + 1);
	cr_assert_eq(l.scratch_chunks, 2 + plan.chunks.n / 1024);
	for (i = 1; i < plan.chunks.n; i++)
		cr_assert_lt(plan.chunks.e[i - 1].old, plan.chunks.e[i].old);
}
