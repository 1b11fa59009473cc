/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A disk with a write cache, in memory: a power cut loses what was not flushed, block by block. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct dm_disk {
	unsigned char *now, *durable;
	size_t size; /* of a block */
	uint64_t n;
	uint64_t *dirty; /* blocks that differ */
	uint64_t n_dirty;
	bool *is_dirty;
};

struct dm_disk *dm_disk_new(size_t size, uint64_t n);
struct dm_disk *dm_disk_free(struct dm_disk *d);

/* len bytes from the beginning of a block on. */
void dm_disk_write(struct dm_disk *d, uint64_t block, const void *data, size_t len);
const unsigned char *dm_disk_at(const struct dm_disk *d, uint64_t block);
void dm_disk_flush(struct dm_disk *d);

/* Each block that was not flushed is as it was, or as it became. */
void dm_disk_cut(struct dm_disk *d, unsigned int *seed);
