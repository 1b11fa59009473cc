/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where the log of an XFS filesystem ends, and whether it was unmounted there (xfs_log_recover.c,
 * xfs_log_format.h). Numbers are big endian; blocks have 512 bytes. Pure, as proof.h.
 *
 * The log is a ring. Each block begins with the number of the round in which it was written, the
 * cycle, or is a record's header, where that follows a magic number. So the log ends where the
 * cycle falls. An unmount leaves a record of one operation right before that.
 */
#pragma once

#include "snapshot/provider/dm/volume/proof.h"

#define UMBRA_XFS_SECTOR 512U

struct umbra_xfs_log {
	uint8_t uuid[16]; /* of the filesystem */
	uint64_t at;      /* byte on the volume */
	uint32_t blocks;
};

struct umbra_xfs_head {
	bool clean;            /* unmounted */
	uint32_t cycle, block; /* what is written next */
};

/* Does it begin with the superblock of XFS? sb: UMBRA_XFS_SECTOR bytes. */
bool umbra_xfs_is(const uint8_t *sb);

/* False: the log is on another device, or not where it can be. */
bool umbra_xfs_log_find(const uint8_t *sb, uint64_t bytes, struct umbra_xfs_log *out);

/* 1; 0: it is no log; negative: reading failed. */
int umbra_xfs_log_head(umbra_proof_read_fn read, void *arg, const struct umbra_xfs_log *log,
		       struct umbra_xfs_head *out, struct umbra_error *err);
