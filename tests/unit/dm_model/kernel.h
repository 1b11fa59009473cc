/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the kernel's snapshot target does with its store, in memory: dm-snap-persistent.c of Linux
 * 6.1, read for its order of allocation, of writes and of flushes. Written apart from the code
 * under test: shares nothing with it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DM_SECTOR 512U

/* The COW device. false: it did not happen (the wall, or the end). */
struct dm_cow {
	void *arg;
	bool (*read)(void *arg, uint64_t chunk, void *buf);
	/* fua: everything written before, and this, is durable */
	bool (*write)(void *arg, uint64_t chunk, const void *buf, bool fua);
	uint64_t (*chunks)(void *arg); /* how long it is */
};

struct dm_snap {
	struct dm_cow cow;
	uint32_t chunk_sectors;
	uint64_t epa, next_free, area_number, committed, pending;
	unsigned char *area; /* of area_number */
	uint64_t *map;       /* per origin chunk: where it is kept, 0: nowhere */
	uint64_t n_map;
	bool valid;
};

/* Loads the table: reads the store, or makes its header where the first chunk is zero. */
struct dm_snap *dm_snap_load(const struct dm_cow *cow, uint32_t chunk_sectors, uint64_t origin);
struct dm_snap *dm_snap_free(struct dm_snap *s);

/*
 * A first write to a chunk of the origin, in two steps so that several can be under way: a place
 * for what is there now (0: none, wait or fail), and, when the data is there, the exception. They
 * are written when none is under way any more, or the area is full.
 */
uint64_t dm_snap_allocate(struct dm_snap *s);
void dm_snap_commit(struct dm_snap *s, uint64_t old, uint64_t new);
