/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "snapshot/provider/dm/pool/le.h"
#include "snapshot/provider/dm/volume/proof.h"

#define DISK_BYTES (1U << 20)
#define LOG_AT     (512U << 10) /* block 128 of 4 KiB */
#define LOG_BLOCKS 512U         /* of 512 bytes */

/* A disk in memory. */
struct disk {
	uint8_t data[DISK_BYTES];
	bool broken;
};

static int read_disk(void *arg, uint64_t offset, void *buf, size_t len, struct umbra_error *err)
{
	const struct disk *disk = arg;

	cr_assert_eq(offset % 512, 0);
	cr_assert_eq(len % 512, 0);
	if (disk->broken)
		return umbra_fail(err, UMBRA_E_IO, EIO, "broken");
	cr_assert_leq(offset + len, DISK_BYTES);
	memcpy(buf, disk->data + offset, len);
	return 0;
}

static struct disk *new_disk(void)
{
	struct disk *disk = calloc(1, sizeof(*disk));

	cr_assert_not_null(disk);
	return disk;
}

static void stamp(struct disk *disk, bool used, char out[UMBRA_STAMP_MAX])
{
	cr_assert_eq(umbra_proof_stamp(read_disk, disk, DISK_BYTES, used, out, NULL), 0);
}

static void put_be32(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 24);
	p[1] = (uint8_t)(v >> 16);
	p[2] = (uint8_t)(v >> 8);
	p[3] = (uint8_t)v;
}

/* --- ext4 --- */

static void make_ext(struct disk *disk, uint16_t mounts, uint32_t mounted, bool clean)
{
	uint8_t *sb = disk->data + 1024;

	memset(sb + 0x68, 0x5a, 16);
	umbra_put_le32(sb + 0x2C, mounted);
	sb[0x34] = (uint8_t)mounts;
	sb[0x35] = (uint8_t)(mounts >> 8);
	sb[0x38] = 0x53;
	sb[0x39] = 0xEF;
	sb[0x3A] = 1;
	umbra_put_le32(sb + 0x60, clean ? 0x2C0 : 0x2C4);
}

Test(proof, ext_in_use_is_the_same_until_it_is_mounted_again)
{
	struct disk *disk = new_disk();
	char then[UMBRA_STAMP_MAX], now[UMBRA_STAMP_MAX];

	make_ext(disk, 7, 1000, false);
	stamp(disk, true, then);
	umbra_put_le32(disk->data + 1024 + 0x30, 77); /* written, as it is all the time */
	stamp(disk, false, now);
	cr_assert(umbra_proof_holds(then, now, false));
	cr_assert_not(umbra_proof_holds(then, now, true), "he who has it mounted goes on");
	make_ext(disk, 8, 1000, false);
	stamp(disk, false, now);
	cr_assert_not(umbra_proof_holds(then, now, false));
	make_ext(disk, 7, 1001, false);
	stamp(disk, false, now);
	cr_assert_not(umbra_proof_holds(then, now, false));
	free(disk);
}

Test(proof, reverted_in_part_holds_whatever_it_was)
{
	struct disk *disk = new_disk();
	char then[UMBRA_STAMP_MAX], now[UMBRA_STAMP_MAX];

	make_ext(disk, 7, 1000, true);
	stamp(disk, false, then);
	memset(disk->data, 0, 4096);
	stamp(disk, false, now);
	cr_assert_not(umbra_proof_holds(then, now, false), "wiped by somebody else");
	memcpy(disk->data, UMBRA_PROOF_REVERTING, strlen(UMBRA_PROOF_REVERTING));
	stamp(disk, false, now);
	cr_assert(umbra_proof_holds(then, now, false));
	cr_assert(umbra_proof_holds(now, now, false));
	cr_assert_not(umbra_proof_holds(now, now, true));
	cr_assert_not(umbra_proof_holds(now, then, false), "somebody made a filesystem");
	free(disk);
}

Test(proof, ext_that_was_cleaned_by_somebody_else_proves_nothing)
{
	struct disk *disk = new_disk();
	char then[UMBRA_STAMP_MAX], now[UMBRA_STAMP_MAX];

	make_ext(disk, 7, 1000, false);
	stamp(disk, true, then);
	make_ext(disk, 7, 1000, true);
	stamp(disk, false, now);
	cr_assert_not(umbra_proof_holds(then, now, false));
	cr_assert_not(umbra_proof_holds(now, then, false));
	free(disk);
}

Test(proof, ext_unmounted_is_the_same_to_the_last_byte)
{
	struct disk *disk = new_disk();
	char then[UMBRA_STAMP_MAX], now[UMBRA_STAMP_MAX];

	make_ext(disk, 7, 1000, true);
	stamp(disk, false, then);
	stamp(disk, false, now);
	cr_assert(umbra_proof_holds(then, now, false));
	cr_assert(umbra_proof_holds(then, now, true), "mounted read-only");
	disk->data[1024 + 0x30]++; /* when it was written */
	stamp(disk, false, now);
	cr_assert_not(umbra_proof_holds(then, now, false));
	free(disk);
}

Test(proof, ext2_without_a_journal_says_by_its_state_that_it_is_in_use)
{
	struct disk *disk = new_disk();
	char then[UMBRA_STAMP_MAX], now[UMBRA_STAMP_MAX];

	make_ext(disk, 7, 1000, true);
	disk->data[1024 + 0x3A] = 0;
	stamp(disk, true, then);
	cr_assert(umbra_proof_holds(then, then, false));
	disk->data[1024 + 0x3A] = 1;
	stamp(disk, false, now);
	cr_assert_not(umbra_proof_holds(then, now, false));
	free(disk);
}

/* --- XFS --- */

static void make_xfs(struct disk *disk)
{
	uint8_t *sb = disk->data;

	put_be32(sb, 0x58465342);
	put_be32(sb + 4, 4096);
	memset(sb + 32, 0xa5, 16);
	put_be32(sb + 52, LOG_AT / 4096); /* low half of sb_logstart */
	put_be32(sb + 84, 256);           /* blocks of an allocation group */
	put_be32(sb + 96, LOG_BLOCKS / 8);
	sb[124] = 8; /* its logarithm */
}

static uint8_t *log_block(struct disk *disk, uint32_t block)
{
	return disk->data + LOG_AT + (size_t)(block % LOG_BLOCKS) * 512;
}

/* Everything before `end` is of this cycle, everything behind of the one before. */
static void make_cycles(struct disk *disk, uint32_t cycle, uint32_t end)
{
	uint32_t i;

	for (i = 0; i < LOG_BLOCKS; i++) {
		memset(log_block(disk, i), 0, 512);
		put_be32(log_block(disk, i), i < end ? cycle : cycle - 1);
	}
}

/* A record whose last block is right before `end`. */
static void make_record(struct disk *disk, uint32_t cycle, uint32_t end, uint32_t operations,
			uint8_t flags)
{
	uint8_t *header = log_block(disk, LOG_BLOCKS + end - 2);

	put_be32(header, 0xFEEDBABE);
	put_be32(header + 4, cycle);
	put_be32(header + 8, 2);
	put_be32(header + 12, 512);
	put_be32(header + 40, operations);
	memset(header + 304, 0xa5, 16);
	put_be32(header + 320, 32768);
	log_block(disk, LOG_BLOCKS + end - 1)[9] = flags;
}

static void clean_log(struct disk *disk, uint32_t cycle, uint32_t end)
{
	make_cycles(disk, cycle, end ? end : LOG_BLOCKS);
	make_record(disk, cycle, end, 1, 0x20);
}

Test(proof, xfs_unmounted_ends_its_log_at_the_same_place)
{
	static const uint32_t ends[] = {2, 3, 100, 256, LOG_BLOCKS - 1, 0};
	struct disk *disk = new_disk();
	char then[UMBRA_STAMP_MAX], now[UMBRA_STAMP_MAX];
	size_t i;

	make_xfs(disk);
	for (i = 0; i < UMBRA_ARRAY_SIZE(ends); i++) {
		clean_log(disk, 9, ends[i]);
		stamp(disk, false, then);
		cr_assert_not_null(strstr(then, " clean "), "%u: %s", ends[i], then);
		cr_assert(umbra_proof_holds(then, then, false));
		cr_assert_not(umbra_proof_holds(then, then, true), "it writes before it says so");
		clean_log(disk, 9, 200);
		stamp(disk, false, now);
		cr_assert_not(umbra_proof_holds(then, now, false));
		clean_log(disk, 10, ends[i]);
		stamp(disk, false, now);
		cr_assert_not(umbra_proof_holds(then, now, false));
	}
	free(disk);
}

Test(proof, xfs_stopped_uncleanly_stays_so)
{
	struct disk *disk = new_disk();
	char clean[UMBRA_STAMP_MAX], used[UMBRA_STAMP_MAX], unclean[UMBRA_STAMP_MAX];

	make_xfs(disk);
	clean_log(disk, 9, 100);
	stamp(disk, false, clean);
	stamp(disk, true, used);
	make_cycles(disk, 9, 102);
	make_record(disk, 9, 102, 5, 0);
	stamp(disk, false, unclean);
	cr_assert_not_null(strstr(unclean, " unclean"));
	cr_assert(umbra_proof_holds(unclean, unclean, false));
	cr_assert_not(umbra_proof_holds(unclean, clean, false), "who replayed it?");
	cr_assert_not(umbra_proof_holds(clean, unclean, false), "who mounted it?");
	cr_assert(umbra_proof_holds(used, unclean, false));
	cr_assert(umbra_proof_holds(used, clean, false), "nothing was logged");
	clean_log(disk, 9, 104);
	stamp(disk, false, clean);
	cr_assert_not(umbra_proof_holds(used, clean, false), "mounted and unmounted");
	free(disk);
}

Test(proof, a_new_xfs_has_zeros_behind_its_first_record)
{
	struct disk *disk = new_disk();
	char now[UMBRA_STAMP_MAX];

	make_xfs(disk);
	clean_log(disk, 1, 2);
	stamp(disk, false, now);
	cr_assert_not_null(strstr(now, " clean 1:2 "));
	memset(disk->data + LOG_AT, 0, (size_t)LOG_BLOCKS * 512);
	stamp(disk, false, now);
	cr_assert_str_empty(now, "a log of zeros tells nothing");
	free(disk);
}

/* --- both --- */

static void assert_size_counts(struct disk *disk)
{
	char then[UMBRA_STAMP_MAX], now[UMBRA_STAMP_MAX];

	stamp(disk, true, then);
	cr_assert_eq(umbra_proof_stamp(read_disk, disk, DISK_BYTES - 4096, false, now, NULL), 0);
	cr_assert_not(umbra_proof_holds(then, now, false), "%s, %s", then, now);
	stamp(disk, false, now);
	cr_assert(umbra_proof_holds(then, now, false), "%s, %s", then, now);
}

/* As lvextend leaves it when the power is cut right after. */
Test(proof, a_volume_that_was_resized_had_another_table)
{
	struct disk *disk = new_disk();

	make_ext(disk, 7, 1000, false);
	assert_size_counts(disk);
	memset(disk->data, 0, DISK_BYTES);
	make_xfs(disk);
	make_cycles(disk, 9, 102);
	make_record(disk, 9, 102, 5, 0);
	assert_size_counts(disk);
	clean_log(disk, 9, 100);
	assert_size_counts(disk);
	free(disk);
}

/* --- what is not theirs --- */

Test(proof, what_is_not_known_proves_nothing)
{
	struct disk *disk = new_disk();
	char ext[UMBRA_STAMP_MAX], xfs[UMBRA_STAMP_MAX], none[UMBRA_STAMP_MAX];

	stamp(disk, false, none);
	cr_assert_str_empty(none);
	cr_assert_not(umbra_proof_holds(none, none, false));
	make_ext(disk, 7, 1000, true);
	stamp(disk, false, ext);
	cr_assert_not(umbra_proof_holds("", ext, false));
	cr_assert_not(umbra_proof_holds(ext, "", false));
	make_xfs(disk);
	clean_log(disk, 9, 100);
	stamp(disk, false, none);
	cr_assert_str_empty(none, "both at once");
	memset(disk->data + 1024, 0, 1024);
	stamp(disk, false, xfs);
	cr_assert_not(umbra_proof_holds(ext, xfs, false));
	disk->broken = true;
	cr_assert_eq(umbra_proof_stamp(read_disk, disk, DISK_BYTES, false, none, NULL), -EIO);
	free(disk);
}

Test(proof, another_filesystem_is_told_from_the_same)
{
	struct disk *disk = new_disk();
	char ext[UMBRA_STAMP_MAX], xfs[UMBRA_STAMP_MAX];

	make_ext(disk, 7, 1000, true);
	stamp(disk, false, ext);
	make_ext(disk, 8, 2000, false);
	cr_assert(umbra_proof_same(ext, disk->data), "mounted once more");
	cr_assert(umbra_proof_same("", disk->data));
	cr_assert_not(umbra_proof_same("reverting", disk->data), "the mark is gone");
	disk->data[1024 + 0x68] ^= 1;
	cr_assert_not(umbra_proof_same(ext, disk->data), "another UUID");
	memset(disk->data, 0, UMBRA_PROOF_HEAD);
	cr_assert_not(umbra_proof_same(ext, disk->data), "wiped");
	memcpy(disk->data, UMBRA_PROOF_REVERTING, strlen(UMBRA_PROOF_REVERTING));
	cr_assert(umbra_proof_same(ext, disk->data));
	memset(disk->data, 0, UMBRA_PROOF_HEAD);
	make_xfs(disk);
	clean_log(disk, 9, 100);
	cr_assert_not(umbra_proof_same(ext, disk->data));
	stamp(disk, false, xfs);
	cr_assert(umbra_proof_same(xfs, disk->data));
	disk->data[32] ^= 1;
	cr_assert_not(umbra_proof_same(xfs, disk->data));
	free(disk);
}

Test(proof, an_area_that_nothing_is_stored_in_needs_a_filesystem_that_can_have_it)
{
	struct disk *disk = new_disk();
	char ext[UMBRA_STAMP_MAX];

	make_ext(disk, 7, 1000, true);
	stamp(disk, false, ext);
	cr_assert(umbra_proof_may_be(ext, disk->data));
	cr_assert(umbra_proof_may_be("", disk->data));
	cr_assert(umbra_proof_may_be("reverting", disk->data));
	disk->data[1024 + 0x68] ^= 1;
	cr_assert_not(umbra_proof_may_be(ext, disk->data), "another UUID");
	memset(disk->data, 0, UMBRA_PROOF_HEAD);
	cr_assert_not(umbra_proof_may_be(ext, disk->data), "wiped");
	cr_assert_not(umbra_proof_may_be("", disk->data));
	memcpy(disk->data, UMBRA_PROOF_REVERTING, strlen(UMBRA_PROOF_REVERTING));
	cr_assert(umbra_proof_may_be(ext, disk->data));
	cr_assert(umbra_proof_may_be("", disk->data));
	memset(disk->data, 0, UMBRA_PROOF_HEAD);
	make_xfs(disk);
	cr_assert(umbra_proof_may_be("", disk->data));
	cr_assert_not(umbra_proof_may_be(ext, disk->data));
	free(disk);
}

Test(proof, a_log_elsewhere_proves_nothing)
{
	struct disk *disk = new_disk();
	char now[UMBRA_STAMP_MAX];

	make_xfs(disk);
	clean_log(disk, 9, 100);
	put_be32(disk->data + 52, 0);
	stamp(disk, false, now);
	cr_assert_str_empty(now);
	free(disk);
}

Test(proof, hostile_superblocks_are_read_within_the_disk)
{
	struct disk *disk = new_disk();
	char now[UMBRA_STAMP_MAX];
	unsigned int i, k;

	srand(1);
	for (i = 0; i < 20000; i++) {
		make_xfs(disk);
		clean_log(disk, 9, (uint32_t)rand() % LOG_BLOCKS);
		memset(disk->data + 1024, 0, 1024);
		for (k = 0; k < 3; k++)
			disk->data[4 + rand() % 124] = (uint8_t)rand();
		for (k = 0; k < 8; k++)
			disk->data[LOG_AT + (size_t)rand() % (LOG_BLOCKS * 512)] = (uint8_t)rand();
		stamp(disk, i % 2, now);
		cr_assert_lt(strlen(now), UMBRA_STAMP_MAX);
		umbra_proof_holds(now, now, false);
	}
	free(disk);
}

Test(proof, hostile_texts_prove_nothing)
{
	static const char *const texts[] = {"",
					    "ext",
					    "xfs",
					    "ext ",
					    "xfs ",
					    "xfs a",
					    "xfs  used",
					    " used",
					    "unclean",
					    "xfs a clean 1:2 0 used",
					    "xfs b unclean"};
	size_t i, k;

	for (i = 0; i < UMBRA_ARRAY_SIZE(texts); i++)
		for (k = 0; k < UMBRA_ARRAY_SIZE(texts); k++)
			if (i != k)
				cr_assert_not(umbra_proof_holds(texts[i], texts[k], false),
					      "'%s' '%s'", texts[i], texts[k]);
}
