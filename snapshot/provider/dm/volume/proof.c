/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/provider/dm/volume/proof.h"

#include <inttypes.h>
#include <string.h>
#include <zlib.h>

#include "snapshot/provider/dm/pool/le.h"
#include "snapshot/provider/dm/volume/xfs_log.h"

#define EXT_AT         1024U
#define EXT_BYTES      1024U
#define EXT_UUID_AT    0x68U
#define XFS_UUID_AT    32U
#define EXT_MAGIC      0xEF53U
#define EXT_STATE_GOOD 1U   /* s_state */
#define EXT_RECOVER    0x4U /* s_feature_incompat: the journal is to be replayed */
#define HEAD_BYTES     UMBRA_PROOF_HEAD
#define REVERTING      "reverting"

#define IDENTITY_MAX 56
#define UUID_TEXT    32

static void put_uuid(const uint8_t *uuid, char out[UUID_TEXT + 1])
{
	size_t i;

	for (i = 0; i < 16; i++)
		snprintf(out + 2 * i, 3, "%02x", uuid[i]);
}

/* Which filesystem on how large a volume: one that has grown or shrunk had another table than the
 * layer's. */
static void put_identity(const uint8_t *uuid, uint64_t bytes, char out[IDENTITY_MAX])
{
	put_uuid(uuid, out);
	snprintf(out + UUID_TEXT, IDENTITY_MAX - UUID_TEXT, "/%" PRIu64, bytes);
}

/* A word of the superblock; all are little endian. */
static uint16_t ext16(const uint8_t *sb, size_t at)
{
	return (uint16_t)(sb[at] | sb[at + 1] << 8);
}

static void stamp_ext(const uint8_t *sb, uint64_t bytes, char out[UMBRA_STAMP_MAX])
{
	bool clean = (ext16(sb, 0x3A) & EXT_STATE_GOOD) && !(umbra_le32(sb + 0x60) & EXT_RECOVER);
	char identity[IDENTITY_MAX], end[16] = "unclean";

	put_identity(sb + EXT_UUID_AT, bytes, identity);
	if (clean)
		snprintf(end, sizeof(end), "clean %08lx", crc32(0, sb, EXT_BYTES));
	/* mounts, time of the last one, time of the last check */
	snprintf(out, UMBRA_STAMP_MAX, "ext %s %u %u %u %s", identity, ext16(sb, 0x34),
		 umbra_le32(sb + 0x2C), umbra_le32(sb + 0x40), end);
}

static int stamp_xfs(umbra_proof_read_fn read, void *arg, const uint8_t *sb, uint64_t bytes,
		     bool used, char out[UMBRA_STAMP_MAX], struct umbra_error *err)
{
	struct umbra_xfs_log log;
	struct umbra_xfs_head head;
	char identity[IDENTITY_MAX];
	int r;

	if (!umbra_xfs_log_find(sb, bytes, &log))
		return 0;
	r = umbra_xfs_log_head(read, arg, &log, &head, err);
	if (r <= 0)
		return r;
	put_identity(log.uuid, bytes, identity);
	if (head.clean)
		snprintf(out, UMBRA_STAMP_MAX, "xfs %s clean %u:%u %08lx%s", identity, head.cycle,
			 head.block, crc32(0, sb, UMBRA_XFS_SECTOR), used ? " used" : "");
	else
		snprintf(out, UMBRA_STAMP_MAX, "xfs %s unclean", identity);
	return 0;
}

static bool is_ext(const uint8_t *head)
{
	return ext16(head + EXT_AT, 0x38) == EXT_MAGIC;
}

static bool is_reverting(const uint8_t *head)
{
	return memcmp(head, UMBRA_PROOF_REVERTING, strlen(UMBRA_PROOF_REVERTING)) == 0;
}

int umbra_proof_stamp(umbra_proof_read_fn read, void *arg, uint64_t bytes, bool used,
		      char out[UMBRA_STAMP_MAX], struct umbra_error *err)
{
	uint8_t head[HEAD_BYTES];
	bool ext, xfs;
	int r;

	_Static_assert(HEAD_BYTES == EXT_AT + EXT_BYTES, "all of the superblock of ext4");

	*out = '\0';
	if (bytes < HEAD_BYTES)
		return 0;
	r = read(arg, 0, head, sizeof(head), err);
	if (r < 0)
		return r;
	ext = is_ext(head);
	xfs = umbra_xfs_is(head);
	if (ext && !xfs)
		stamp_ext(head + EXT_AT, bytes, out);
	else if (xfs && !ext)
		return stamp_xfs(read, arg, head, bytes, used, out, err);
	else if (is_reverting(head))
		snprintf(out, UMBRA_STAMP_MAX, REVERTING);
	return 0;
}

static bool begins(const char *text, const char *with)
{
	return strncmp(text, with, strlen(with)) == 0;
}

static bool ends(const char *text, const char *with)
{
	size_t n = strlen(text), m = strlen(with);

	return n >= m && strcmp(text + n - m, with) == 0;
}

static bool holds_ext(const char *then, const char *now, bool used)
{
	/* Whoever has it mounted may be the same that had: then he has gone on writing. */
	return strcmp(then, now) == 0 && !(used && ends(now, " unclean"));
}

/* Text before the word that says what the log was, "clean" or "unclean". */
static size_t xfs_identity(const char *stamp)
{
	const char *space = strchr(stamp + strlen("xfs "), ' ');

	return space ? (size_t)(space - stamp) : strlen(stamp);
}

static bool holds_xfs(const char *then, const char *now)
{
	size_t n = xfs_identity(then);

	if (n != xfs_identity(now) || strncmp(then, now, n) != 0)
		return false;
	if (strcmp(then, now) == 0)
		return true;
	if (!begins(then + n, " clean ") || !ends(then, " used"))
		return false;
	/* It was mounted, and then the machine stopped: before or after the first to the log. */
	return ends(now, " unclean") ||
	       (strlen(now) == strlen(then) - strlen(" used") && begins(then, now));
}

bool umbra_proof_is_reverting(const char *stamp)
{
	return strcmp(stamp, REVERTING) == 0;
}

bool umbra_proof_holds(const char *then, const char *now, bool used)
{
	if (umbra_proof_is_reverting(now))
		return !used;
	if (begins(then, "ext ") && begins(now, "ext "))
		return holds_ext(then, now, used);
	if (begins(then, "xfs ") && begins(now, "xfs "))
		return !used && holds_xfs(then, now);
	return false;
}

bool umbra_proof_same(const char *then, const uint8_t head[UMBRA_PROOF_HEAD])
{
	bool ext = is_ext(head), xfs = umbra_xfs_is(head);
	char uuid[UUID_TEXT + 1];

	if (umbra_proof_is_reverting(then))
		return is_reverting(head);
	if ((!begins(then, "ext ") && !begins(then, "xfs ")) || is_reverting(head))
		return true;
	if (ext == xfs || !begins(then, ext ? "ext " : "xfs "))
		return false;
	put_uuid(ext ? head + EXT_AT + EXT_UUID_AT : head + XFS_UUID_AT, uuid);
	return begins(then + strlen("ext "), uuid);
}

bool umbra_proof_may_be(const char *then, const uint8_t head[UMBRA_PROOF_HEAD])
{
	return is_reverting(head) ||
	       ((is_ext(head) || umbra_xfs_is(head)) &&
		(umbra_proof_is_reverting(then) || umbra_proof_same(then, head)));
}
