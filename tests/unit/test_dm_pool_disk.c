/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/provider/dm/pool/pool_disk.h"

#include <criterion/criterion.h>
#include <string.h>
#include <zlib.h>

#include "snapshot/provider/dm/pool/le.h"

TestSuite(dm_pool_disk, .timeout = 120);

static const struct umbra_id area = {"01234567-89ab-4def-8123-456789abcdef"};
static const struct umbra_id copy = {"11234567-89ab-4def-8123-456789abcdef"};

struct slot {
	void *data;
	size_t len;
};

static struct umbra_pool *make(void)
{
	const struct umbra_pool_geometry g = {32, 16, 64};
	const struct umbra_pool_extent extents[] = {{0, 5000, 1000}, {1000, 9000, 48000}};
	struct umbra_pool *pool;

	cr_assert_eq(umbra_pool_new(&g, &area, "LVM-x", &pool, NULL), 0);
	cr_assert_eq(umbra_pool_set_extents(pool, extents, 2, NULL), 0);
	cr_assert_eq(umbra_pool_set_stamp(pool, "mounted 7 times", NULL), 0);
	cr_assert_eq(umbra_pool_prepare(pool, &copy, 0, NULL), 0);
	return pool;
}

static struct slot encode(struct umbra_pool *pool)
{
	struct slot s;

	cr_assert_eq(umbra_pool_encode(pool, &s.data, &s.len, NULL), 0);
	umbra_pool_written(pool);
	return s;
}

/* Makes the checksum right, so that what lies behind it is looked at. */
static void seal(struct slot *s)
{
	const uint64_t len = umbra_le64((char *)s->data + 16);

	umbra_put_le32((char *)s->data + 12, 0);
	umbra_put_le32((char *)s->data + 12, (uint32_t)crc32_z(0, s->data, len));
}

Test(dm_pool_disk, what_is_written_is_read)
{
	_cleanup_pool_ struct umbra_pool *pool = make(), *again = NULL;
	const struct slot s = encode(pool);

	cr_assert_eq(s.len, 4096);
	cr_assert_eq(umbra_pool_load(s.data, s.len, s.data, s.len, &again, NULL), 0);
	cr_assert_str_eq(again->area.s, area.s);
	cr_assert_str_eq(again->volume, "LVM-x");
	cr_assert_str_eq(again->stamp, "mounted 7 times");
	cr_assert_eq(again->n_extents, 2);
	cr_assert_eq(again->extents[1].physical, 9000);
	cr_assert_eq(again->generation, 1);
	cr_assert_eq(again->n_copies, 1);
	cr_assert_str_eq(again->copies[0].id.s, copy.s);
	cr_assert_eq(again->copies[0].state, UMBRA_POOL_PREPARED);
	cr_assert_eq(again->stores[0].segments.n, 64);
	cr_assert_eq(umbra_pool_record_at(&again->copies[0]), 3U << 20);
	cr_assert_eq(umbra_pool_segment_at(again, 1), 512 + 16);
	free(s.data);
}

Test(dm_pool_disk, any_damaged_bit_is_seen)
{
	_cleanup_pool_ struct umbra_pool *pool = make(), *again = NULL;
	const struct slot s = encode(pool);
	unsigned char *data = s.data;
	const uint64_t len = umbra_le64(data + 16);
	uint64_t i;

	for (i = 0; i < len * 8; i++) {
		data[i / 8] ^= (unsigned char)(1U << i % 8);
		cr_assert_eq(umbra_pool_decode(data, s.len, &again, NULL), -EBADMSG, "bit %u",
			     (unsigned int)i);
		data[i / 8] ^= (unsigned char)(1U << i % 8);
	}
	for (i = 0; i < len; i++)
		cr_assert_eq(umbra_pool_decode(data, i, &again, NULL), -EBADMSG);
	cr_assert_eq(umbra_pool_decode(data, len, &again, NULL), 0);
	free(s.data);
}

/* Every word in turn becomes something else and the checksum right: refused, or a consistent pool.
 */
Test(dm_pool_disk, hostile_words_give_no_inconsistent_pool)
{
	static const uint32_t words[] = {0, 1, 2, 16, 63, 64, 65, 600, 65535, 65536, 1U << 31, ~0U};
	_cleanup_pool_ struct umbra_pool *pool = make();
	const struct slot s = encode(pool);
	struct umbra_pool *again;
	uint32_t i, j, was, taken = 0;

	for (i = 16; i + 4 <= umbra_le64((char *)s.data + 16); i += 4) {
		was = umbra_le32((char *)s.data + i);
		for (j = 0; j < UMBRA_ARRAY_SIZE(words); j++) {
			umbra_put_le32((char *)s.data + i, words[j]);
			if (umbra_pool_encoded_length(s.data) == s.len)
				seal(&(struct slot){s.data, s.len});
			again = NULL;
			if (umbra_pool_decode(s.data, s.len, &again, NULL) == 0) {
				cr_assert_eq(umbra_pool_check(again, NULL), 0);
				taken++;
			}
			umbra_pool_free(again);
		}
		umbra_put_le32((char *)s.data + i, was);
	}
	cr_assert_gt(taken, 0);
	free(s.data);
}

Test(dm_pool_disk, one_good_slot_is_enough)
{
	_cleanup_pool_ struct umbra_pool *pool = make();
	struct umbra_pool *again;
	struct umbra_error err;
	struct slot old = encode(pool), new;

	cr_assert_eq(umbra_pool_commit(pool, &copy, NULL), 0);
	new = encode(pool);
	cr_assert_eq(umbra_pool_load(new.data, new.len, old.data, old.len, &again, NULL),
		     UMBRA_POOL_TORN);
	cr_assert_eq(again->generation, 2);
	umbra_pool_free(again);
	cr_assert_eq(umbra_pool_load(old.data, old.len, new.data, new.len, &again, NULL),
		     UMBRA_POOL_TORN);
	cr_assert_eq(again->generation, 2);
	umbra_pool_free(again);
	cr_assert_eq(umbra_pool_load(NULL, 0, old.data, old.len, &again, NULL), UMBRA_POOL_TORN);
	cr_assert_eq(again->generation, 1);
	umbra_pool_free(again);
	memcpy((char *)new.data + 700, "torn", 4);
	cr_assert_eq(umbra_pool_load(new.data, new.len, old.data, old.len, &again, NULL),
		     UMBRA_POOL_TORN);
	cr_assert_eq(again->generation, 1);
	umbra_pool_free(again);
	cr_assert_eq(umbra_pool_load(new.data, new.len, NULL, 0, &again, &err), -EBADMSG);
	cr_assert_eq(err.code, UMBRA_E_DAMAGED);
	free(old.data);
	free(new.data);
}

Test(dm_pool_disk, slots_that_contradict_each_other_are_damage)
{
	_cleanup_pool_ struct umbra_pool *pool = make(), *other = make(), *again = NULL;
	struct slot a = encode(pool), b;

	memcpy(other->stamp, "else", 5);
	b = encode(other);
	cr_assert_eq(umbra_pool_load(a.data, a.len, b.data, b.len, &again, NULL), -EBADMSG);
	free(b.data);
	other->area.s[0] = 'f';
	b = encode(other);
	cr_assert_eq(umbra_pool_load(a.data, a.len, b.data, b.len, &again, NULL), -EBADMSG);
	free(a.data);
	free(b.data);
}

Test(dm_pool_disk, another_version_is_told_from_damage)
{
	_cleanup_pool_ struct umbra_pool *pool = make(), *again = NULL;
	struct slot s = encode(pool);
	struct umbra_error err;

	umbra_put_le32((char *)s.data + 8, 2);
	seal(&s);
	cr_assert_eq(umbra_pool_load(s.data, s.len, s.data, s.len, &again, &err), -EPROTONOSUPPORT);
	cr_assert_eq(err.code, UMBRA_E_UNSUPPORTED);
	free(s.data);
}

/* 16384 stores in 65536 segments, none beside the other. */
Test(dm_pool_disk, the_largest_pool_fits)
{
	_cleanup_pool_ struct umbra_pool *pool = NULL, *again = NULL;
	const struct umbra_pool_geometry g = {32, 16, UMBRA_SEGMENTS_MAX};
	struct umbra_segments list;
	struct umbra_error err;
	struct slot s;
	uint32_t i;

	cr_assert_eq(umbra_pool_new(&g, &area, "", &pool, NULL), 0);
	pool->extents = calloc(UMBRA_POOL_EXTENTS_MAX, sizeof(*pool->extents));
	pool->stores = calloc(UMBRA_POOL_STORES_MAX, sizeof(*pool->stores));
	pool->n_extents = UMBRA_POOL_EXTENTS_MAX;
	for (i = 0; i < UMBRA_POOL_EXTENTS_MAX; i++)
		pool->extents[i] = (struct umbra_pool_extent){i * 8ULL, i * 16ULL, 8};
	for (i = 0; i < UMBRA_POOL_STORES_MAX; i++) {
		list = (struct umbra_segments){0};
		umbra_segments_reserve(&list, 4);
		umbra_segments_push(&list, i);
		umbra_segments_push(&list, i + 32768);
		umbra_segments_push(&list, i + 16384);
		umbra_segments_push(&list, i + 49152);
		pool->stores[i] = (struct umbra_pool_store){
			.number = pool->next_store++,
			.sealed = i + 1 < UMBRA_POOL_STORES_MAX,
			.used = i + 1 < UMBRA_POOL_STORES_MAX ? 64 : 0,
			.segments = list,
		};
	}
	pool->n_stores = pool->stores_room = UMBRA_POOL_STORES_MAX;
	memset(pool->map.use, UMBRA_SEGMENT_OWNED, UMBRA_SEGMENTS_MAX);
	for (i = 0; i < UMBRA_POOL_COPIES_MAX; i++) {
		pool->copies[i] = (struct umbra_pool_copy){
			.state = UMBRA_POOL_KEPT, .record = i, .n_stores = i ? 1 : 15785};
		snprintf(pool->copies[i].id.s, sizeof(pool->copies[i].id.s),
			 "%08x-89ab-4def-8123-456789abcdef", i);
	}
	pool->n_copies = UMBRA_POOL_COPIES_MAX;
	cr_assert_eq(umbra_pool_encode(pool, &s.data, &s.len, &err), 0, "%s", err.text);
	cr_assert_leq(s.len, UMBRA_POOL_SLOT_BYTES);
	cr_assert_eq(umbra_pool_load(s.data, s.len, s.data, s.len, &again, &err), 0, "%s",
		     err.text);
	cr_assert_eq(again->stores[16383].segments.at[1], 16383 + 32768);
	free(s.data);
}
