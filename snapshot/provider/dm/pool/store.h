/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Exception stores: what a snapshot of the kernel keeps in its COW device (dm-snap-persistent.c,
 * version 1 of the format). Pure: whoever calls does the I/O. All numbers are chunks.
 *
 * Chunk 0 is the header. Then, again and again, one area of `epa` exceptions (chunk bytes / 16) and
 * room for `epa` chunks of data. An exception whose new chunk is 0 ends the list; so when an area
 * is full there is a next one, empty. Where data lies within the store is free: the kernel takes
 * the next chunk upwards that is no area.
 */
#pragma once

#include "snapshot/provider/dm/pool/exceptions.h"

#define UMBRA_DM_SECTOR            512U
#define UMBRA_DM_CHUNK_SECTORS     32U /* 16 KiB: what umbra makes */
#define UMBRA_DM_CHUNK_SECTORS_MAX 2048U

/* Is it a size that the format and the kernel take: a power of two, at most the greatest? */
bool umbra_dm_chunk_valid(uint32_t chunk_sectors);

/* Exceptions of one area. */
static inline uint64_t umbra_dm_epa(uint32_t chunk_sectors)
{
	return (uint64_t)chunk_sectors * UMBRA_DM_SECTOR / 16;
}

/* Where area a lies. a and all positions stay below 2^48: no overflow. */
static inline uint64_t umbra_dm_area_at(uint64_t epa, uint64_t a)
{
	return 1 + (epa + 1) * a;
}

/* Is this chunk the header or an area? */
static inline bool umbra_dm_is_metadata(uint64_t epa, uint64_t chunk)
{
	return chunk == 0 || chunk % (epa + 1) == 1;
}

/* The i-th chunk, from 0, that holds data. */
static inline uint64_t umbra_dm_data_at(uint64_t epa, uint64_t i)
{
	return 2 + i + i / epa;
}

/* --- reading --- */

struct umbra_dm_store_shape {
	uint32_t chunk_sectors;
	uint64_t chunks;        /* how long the store is: nothing lies at or beyond */
	uint64_t origin_chunks; /* the volume, its last chunk counted when it is not whole */
};

/* Reads one chunk of the store into buf. Negative, with err, ends the reading with it. */
typedef int (*umbra_dm_read_fn)(void *arg, uint64_t chunk, void *buf, struct umbra_error *err);

/*
 * Reads a store that the kernel does not write any more: its exceptions (appended to the empty list
 * out), sorted by old, each chunk old and new at most once, everything within the shape. *used: how
 * many chunks from the first on are needed, with the empty area behind a full one; 0 when there are
 * no exceptions, also in a store that the kernel never wrote a header to (its first chunk is zero).
 *
 * -EBADMSG (UMBRA_E_DAMAGED): it is not what the kernel writes, or the kernel declared it invalid
 * (it was full, or a device failed): what depends on it is lost. Other errors are those of read.
 *
 * It may also be read while the kernel writes it and the next store is live already. Then used
 * says nothing, and what is missed lies in the next store too.
 *
 * Reads one chunk at a time, from the first area up. Memory: 16 bytes an exception, as much again
 * while it sorts, a bit for each chunk of the store, one chunk.
 */
int umbra_dm_store_read(const struct umbra_dm_store_shape *shape, umbra_dm_read_fn read, void *arg,
			struct umbra_exceptions *out, uint64_t *used, struct umbra_error *err);

/* --- writing: header and areas of a store with n exceptions --- */

/* How many chunks of metadata: the header, its areas, an empty one last where all are full. */
static inline uint64_t umbra_dm_metadata_chunks(uint64_t epa, uint64_t n)
{
	return 2 + n / epa;
}

/* Where the i-th of them lies. */
static inline uint64_t umbra_dm_metadata_at(uint64_t epa, uint64_t i)
{
	return i == 0 ? 0 : umbra_dm_area_at(epa, i - 1);
}

/* How long a store is whose n data chunks lie at umbra_dm_data_at() 0 to n-1. */
static inline uint64_t umbra_dm_store_chunks(uint64_t epa, uint64_t n)
{
	return 2 + n + n / epa;
}

/* What the header is. chunk: chunk_sectors long. */
void umbra_dm_header(uint32_t chunk_sectors, void *chunk);

/* The same of a store that was given up. */
void umbra_dm_header_invalid(uint32_t chunk_sectors, void *chunk);

/* Exception i of an area, from 0; a new area is all zeros. */
void umbra_dm_put_exception(void *area, uint64_t i, uint64_t old, uint64_t new);
