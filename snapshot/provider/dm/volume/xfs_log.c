/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/provider/dm/volume/xfs_log.h"

#include <endian.h>
#include <string.h>

#define SB_MAGIC     0x58465342U /* "XFSB" */
#define REC_MAGIC    0xFEEDBABEU
#define REC_V2       2U
#define REC_MAX      (256U << 10) /* bytes; h_size and h_len */
#define HEADER_BYTES (32U << 10)  /* of a record, for each block of header */
#define UNMOUNT      0x20U        /* oh_flags */
#define LOG_MIN      16U          /* blocks */

/* Everything of a record that is looked at. */
struct record {
	uint32_t version, len, operations, size;
	uint8_t uuid[16];
};

static uint32_t be32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return be32toh(v);
}

static uint64_t be64(const uint8_t *p)
{
	return (uint64_t)be32(p) << 32 | be32(p + 4);
}

bool umbra_xfs_is(const uint8_t *sb)
{
	return be32(sb) == SB_MAGIC;
}

bool umbra_xfs_log_find(const uint8_t *sb, uint64_t bytes, struct umbra_xfs_log *out)
{
	uint64_t block = be32(sb + 4), start = be64(sb + 48), first, n = be32(sb + 96);
	uint64_t ag_blocks = be32(sb + 84);
	unsigned int shift = sb[124];

	if (block < UMBRA_XFS_SECTOR || block > 65536 || (block & (block - 1)) != 0 || start == 0 ||
	    shift >= 32 || ag_blocks == 0 || start >> shift > UINT32_MAX)
		return false;
	first = (start >> shift) * ag_blocks + (start & ((1ULL << shift) - 1));
	n = n * (block / UMBRA_XFS_SECTOR);
	if (n < LOG_MIN || n > INT32_MAX || first > bytes / block ||
	    n * UMBRA_XFS_SECTOR > bytes - first * block)
		return false;
	memcpy(out->uuid, sb + 32, sizeof(out->uuid));
	out->at = first * block;
	out->blocks = (uint32_t)n;
	return true;
}

static int read_block(umbra_proof_read_fn read, void *arg, const struct umbra_xfs_log *log,
		      uint32_t block, uint8_t out[UMBRA_XFS_SECTOR], struct umbra_error *err)
{
	return read(arg, log->at + (uint64_t)(block % log->blocks) * UMBRA_XFS_SECTOR, out,
		    UMBRA_XFS_SECTOR, err);
}

static int read_cycle(umbra_proof_read_fn read, void *arg, const struct umbra_xfs_log *log,
		      uint32_t block, uint32_t *out, struct umbra_error *err)
{
	uint8_t data[UMBRA_XFS_SECTOR];
	int r = read_block(read, arg, log, block, data, err);

	if (r == 0)
		*out = be32(be32(data) == REC_MAGIC ? data + 4 : data);
	return r;
}

/* The first block that is not of the first one's cycle; all of them are: 0, and a cycle later. 1;
 * 0: nobody has made a log here. */
static int find_end(umbra_proof_read_fn read, void *arg, const struct umbra_xfs_log *log,
		    struct umbra_xfs_head *out, struct umbra_error *err)
{
	uint32_t low = 0, high = log->blocks, middle, cycle = 0;
	int r = read_cycle(read, arg, log, 0, &out->cycle, err);

	while (r == 0 && high - low > 1) {
		middle = low + (high - low) / 2;
		r = read_cycle(read, arg, log, middle, &cycle, err);
		if (cycle == out->cycle)
			low = middle;
		else
			high = middle;
	}
	if (r < 0 || out->cycle == 0)
		return r;
	out->block = high;
	if (high == log->blocks) {
		out->block = 0;
		out->cycle++;
	}
	return 1;
}

static void parse_record(const uint8_t *data, struct record *out)
{
	out->version = be32(data + 8);
	out->len = be32(data + 12);
	out->operations = be32(data + 40);
	memcpy(out->uuid, data + 304, sizeof(out->uuid));
	out->size = be32(data + 320);
}

/* How many blocks its header has. */
static uint32_t header_blocks(const struct record *rec)
{
	if (!(rec->version & REC_V2) || rec->size <= HEADER_BYTES)
		return 1;
	return (rec->size + HEADER_BYTES - 1) / HEADER_BYTES;
}

/* The record whose header is `back` blocks before the end: does it say that it was unmounted? */
static int is_unmount(umbra_proof_read_fn read, void *arg, const struct umbra_xfs_log *log,
		      const struct umbra_xfs_head *head, uint32_t back, const struct record *rec,
		      struct umbra_error *err)
{
	uint8_t data[UMBRA_XFS_SECTOR];
	uint32_t header, length;
	int r;

	if (rec->size > REC_MAX || rec->len > REC_MAX || rec->operations != 1 ||
	    memcmp(rec->uuid, log->uuid, sizeof(rec->uuid)) != 0)
		return 0;
	header = header_blocks(rec);
	length = (rec->len + UMBRA_XFS_SECTOR - 1) / UMBRA_XFS_SECTOR;
	if (length == 0 || header + length != back)
		return 0;
	r = read_block(read, arg, log, log->blocks + head->block - length, data, err);
	return r < 0 ? r : (data[9] & UNMOUNT) != 0;
}

int umbra_xfs_log_head(umbra_proof_read_fn read, void *arg, const struct umbra_xfs_log *log,
		       struct umbra_xfs_head *out, struct umbra_error *err)
{
	const uint32_t most = REC_MAX / UMBRA_XFS_SECTOR + REC_MAX / HEADER_BYTES;
	uint8_t data[UMBRA_XFS_SECTOR];
	struct record rec;
	uint32_t back;
	int r = find_end(read, arg, log, out, err);

	if (r <= 0)
		return r;
	out->clean = false;
	for (back = 1; back <= most && back < log->blocks; back++) {
		r = read_block(read, arg, log, log->blocks + out->block - back, data, err);
		if (r < 0)
			return r;
		if (be32(data) != REC_MAGIC)
			continue;
		parse_record(data, &rec);
		r = is_unmount(read, arg, log, out, back, &rec, err);
		out->clean = r > 0;
		return r < 0 ? r : 1;
	}
	return 1;
}
