/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A pool as bytes at the beginning of its area, little endian:
 *
 *	      0		superblock, slot A
 *	1.5 MiB		superblock, slot B
 *	  3 MiB		record slots, UMBRA_POOL_COPIES_MAX of 8 KiB, one a copy: its record
 *	  8 MiB		segments
 *
 * A superblock has a generation, its own length and a CRC-32 over all of it. Both slots hold the
 * same one, but while they are written. Every write is: slot A, flush, slot B, flush; durable when
 * both are. So whichever one slot cannot be read, the other has what was last called durable: of
 * two different ones the newer was perhaps never called that, but then nobody acted on it.
 *
 * Whoever loads it flushes the area before the first write: a process that was killed may have
 * left slot B in the disk's cache, and a power cut would then damage both.
 *
 * Nothing read from a disk is believed: lengths, numbers, order, and that no segment is used twice.
 */
#pragma once

#include "snapshot/provider/dm/pool/pool.h"

#define UMBRA_POOL_VERSION     1U
#define UMBRA_POOL_SLOT_BYTES  (1536U << 10)
#define UMBRA_POOL_SLOT_A      0ULL
#define UMBRA_POOL_SLOT_B      ((uint64_t)UMBRA_POOL_SLOT_BYTES)
#define UMBRA_POOL_RECORDS_AT  (3ULL << 20)
#define UMBRA_POOL_RECORD_SIZE 8192U
#define UMBRA_POOL_DATA_AT     (8ULL << 20)
#define UMBRA_POOL_BLOCK       4096U /* what is written is a multiple of it */

static inline uint64_t umbra_pool_record_at(const struct umbra_pool_copy *copy)
{
	return UMBRA_POOL_RECORDS_AT + (uint64_t)copy->record * UMBRA_POOL_RECORD_SIZE;
}

/*
 * What both slots shall hold next: the pool with the generation after its last, filled up with
 * zeros to a multiple of UMBRA_POOL_BLOCK, at most UMBRA_POOL_SLOT_BYTES. The caller frees *out.
 */
int umbra_pool_encode(const struct umbra_pool *pool, void **out, size_t *len,
		      struct umbra_error *err);

/* Both slots hold, durably, what umbra_pool_encode() last gave for it. */
void umbra_pool_written(struct umbra_pool *pool);

/*
 * How long a superblock that begins with this UMBRA_POOL_BLOCK says it is, in bytes rounded up as
 * above; 0: there is none. So that not all of the slot has to be read.
 */
size_t umbra_pool_encoded_length(const void *block);
/* Where there is one: the area that it says it is of. */
void umbra_pool_encoded_area(const void *block, struct umbra_id *out);

/*
 * The pool that two slots hold. A slot that the device does not give, or that has no superblock, is
 * NULL, 0. 0: both the same. UMBRA_POOL_TORN (a positive outcome): they differ, or one is damaged;
 * take the pool, and write it before anything is changed. -EBADMSG (UMBRA_E_DAMAGED): neither can
 * be used, or they belong to different areas; nothing is guessed, the copies are lost.
 */
#define UMBRA_POOL_TORN 1
int umbra_pool_load(const void *a, size_t a_len, const void *b, size_t b_len,
		    struct umbra_pool **out, struct umbra_error *err);

/* One slot. -EBADMSG: damaged. */
int umbra_pool_decode(const void *data, size_t len, struct umbra_pool **out,
		      struct umbra_error *err);
