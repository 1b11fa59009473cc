/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is worth to be compacted; that copies stay what they are is test_dm_model.c's. */
#include "snapshot/provider/dm/pool/compact.h"

#include <criterion/criterion.h>
#include <string.h>

#include "snapshot/provider/dm/pool/le.h"

TestSuite(dm_compact, .timeout = 60);

#define STORES 4U

static const struct umbra_id area = {"01234567-89ab-4def-8123-456789abcdef"};

/* A copy with some stores, and a newest one. */
struct rig {
	struct umbra_pool *pool;
	struct umbra_exceptions lists[STORES];
};

static struct umbra_id id_of(unsigned int n)
{
	struct umbra_id id;

	snprintf(id.s, sizeof(id.s), "%08x-89ab-4def-8123-456789abcdef", n);
	return id;
}

/* Store i has the chunks from old[i] on, n[i] of them. */
static void make(struct rig *rig, const uint64_t *old, const uint64_t *n, uint32_t stores)
{
	const struct umbra_pool_geometry g = {1, 8, 1000};
	struct umbra_id id;
	uint32_t i, granted;
	uint64_t j, used;

	memset(rig, 0, sizeof(*rig));
	cr_assert_eq(umbra_pool_new(&g, &area, "", &rig->pool, NULL), 0);
	for (i = 0; i <= stores; i++) {
		id = id_of(i + 1);
		cr_assert_eq(umbra_pool_prepare(rig->pool, &id, i ? 500 : 0, NULL), 0);
		cr_assert_eq(umbra_pool_commit(rig->pool, &id, NULL), 0);
		if (i > 0) {
			used = umbra_dm_store_chunks(32, n[i - 1]);
			cr_assert_eq(umbra_pool_seal(rig->pool, i, used, NULL), 0);
			cr_assert_eq(umbra_pool_grant(rig->pool, i + 1, 1000, &granted, NULL), 0);
		}
		if (i == stores)
			break;
		for (j = 0; j < n[i]; j++)
			umbra_exceptions_add(&rig->lists[i], old[i] + j, umbra_dm_data_at(32, j));
	}
	for (i = 1; i < stores; i++) {
		id = id_of(i + 1);
		cr_assert_eq(umbra_pool_remove(rig->pool, &id, NULL), 0);
	}
	cr_assert_eq(umbra_pool_shrink(rig->pool, 500, NULL), 0);
}

static void finish(struct rig *rig)
{
	uint32_t i;

	for (i = 0; i < STORES; i++)
		umbra_exceptions_finish(&rig->lists[i]);
	umbra_pool_free(rig->pool);
}

static int plan_for(const struct rig *rig, uint64_t chunks, uint32_t segments,
		    struct umbra_compact *plan)
{
	const struct umbra_compact_limits limits = {chunks, segments};

	return umbra_compact_plan(rig->pool, 0, rig->lists, &limits, plan, NULL);
}

Test(dm_compact, what_nobody_reads_goes_without_a_write)
{
	_cleanup_compact_ struct umbra_compact plan = {0};
	const uint64_t old[] = {0, 10, 20}, n[] = {100, 50, 60};
	struct rig rig;

	make(&rig, old, n, 3);
	cr_assert_eq(plan_for(&rig, 1000, 1000, &plan), 1);
	cr_assert_eq(plan.used, 0);
	cr_assert_eq(plan.segments, 0);
	cr_assert_eq(plan.n_drop, 2);
	cr_assert_eq(plan.freed, 7 + 8);
	cr_assert_eq(umbra_compact_metadata_chunks(rig.pool, &plan), 0);
	finish(&rig);
}

Test(dm_compact, what_is_needed_moves_to_a_new_store)
{
	_cleanup_compact_ struct umbra_compact plan = {0};
	const uint64_t old[] = {0, 10}, n[] = {100, 100};
	const uint64_t from = 8ULL << 11; /* the area's first segment */
	char chunk[512];
	struct rig rig;

	make(&rig, old, n, 2);
	cr_assert_eq(plan_for(&rig, 1000, 1000, &plan), 1);
	cr_assert_eq(plan.n_drop, 1);
	cr_assert_eq(plan.drop[0], 2);
	cr_assert_eq(plan.moves.n, 10);
	cr_assert_eq(plan.used, 12);
	cr_assert_eq(plan.segments, 2);
	cr_assert_eq(plan.freed, 14);
	cr_assert_eq(plan.moves.e[0].old, 100);
	cr_assert_gt(plan.moves.e[0].new, from);
	cr_assert_eq(umbra_compact_target(rig.pool, 3), 5);
	cr_assert_eq(umbra_compact_metadata_chunks(rig.pool, &plan), 2);
	cr_assert_eq(umbra_compact_metadata(rig.pool, &plan, 1, chunk), 1);
	cr_assert_eq(umbra_le64(chunk + 9 * 16), 109);
	cr_assert_eq(umbra_le64(chunk + 9 * 16 + 8), 11);
	cr_assert_eq(umbra_le64(chunk + 10 * 16 + 8), 0);
	finish(&rig);
}

Test(dm_compact, nothing_is_done_for_little)
{
	_cleanup_compact_ struct umbra_compact plan = {0};
	const uint64_t old[] = {0, 290}, n[] = {300, 300};
	struct rig rig;

	make(&rig, old, n, 2);
	cr_assert_eq(plan_for(&rig, 1000, 1000, &plan), 0);
	cr_assert_eq(plan_for(&rig, 0, 0, &plan), 0);
	finish(&rig);
}

Test(dm_compact, limits_bound_a_piece)
{
	_cleanup_compact_ struct umbra_compact plan = {0};
	const uint64_t old[] = {0, 10, 300}, n[] = {100, 200, 50};
	struct rig rig;

	make(&rig, old, n, 3);
	/* 110 of store 2 are needed: more than a piece. */
	cr_assert_eq(plan_for(&rig, 40, 1000, &plan), 1);
	cr_assert_eq(plan.n_drop, 0);
	cr_assert_eq(plan.moves.n, 40);
	cr_assert_eq(plan.moves.e[0].old, 100);
	cr_assert_eq(plan.moves.e[39].old, 139);
	umbra_compact_finish(&plan);
	/* Begun only where all pieces have room. */
	cr_assert_eq(plan_for(&rig, 40, 17, &plan), 0);
	cr_assert_eq(plan_for(&rig, 40, 18, &plan), 1);
	finish(&rig);
}

Test(dm_compact, the_newest_and_unfinished_ones_are_left_alone)
{
	_cleanup_compact_ struct umbra_compact plan = {0};
	const uint64_t old[] = {0, 0}, n[] = {100, 100};
	const struct umbra_compact_limits limits = {1000, 1000};
	const struct umbra_id id = id_of(77);
	struct rig rig;

	make(&rig, old, n, 2);
	cr_assert_eq(umbra_compact_plan(rig.pool, 1, rig.lists, &limits, &plan, NULL), 0);
	cr_assert_eq(umbra_compact_plan(rig.pool, 2, rig.lists, &limits, &plan, NULL), 0);
	cr_assert_eq(umbra_pool_prepare(rig.pool, &id, 100, NULL), 0);
	cr_assert_eq(plan_for(&rig, 1000, 1000, &plan), 0);
	finish(&rig);
}

Test(dm_compact, an_exception_beyond_its_store_is_damage)
{
	_cleanup_compact_ struct umbra_compact plan = {0};
	const uint64_t old[] = {0, 10}, n[] = {100, 100};
	struct rig rig;

	make(&rig, old, n, 2);
	rig.lists[1].e[99].new = 1000;
	cr_assert_eq(plan_for(&rig, 1000, 1000, &plan), -EBADMSG);
	finish(&rig);
}
