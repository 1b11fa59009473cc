/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "disk.h"

#include <stdlib.h>
#include <string.h>

struct dm_disk *dm_disk_new(size_t size, uint64_t n)
{
	struct dm_disk *d = calloc(1, sizeof(*d));

	d->size = size;
	d->n = n;
	d->now = calloc(n, size);
	d->durable = calloc(n, size);
	d->dirty = calloc(n, sizeof(*d->dirty));
	d->is_dirty = calloc(n, sizeof(*d->is_dirty));
	return d;
}

struct dm_disk *dm_disk_free(struct dm_disk *d)
{
	if (d) {
		free(d->now);
		free(d->durable);
		free(d->dirty);
		free(d->is_dirty);
		free(d);
	}
	return NULL;
}

void dm_disk_write(struct dm_disk *d, uint64_t block, const void *data, size_t len)
{
	const uint64_t end = block + (len + d->size - 1) / d->size;

	if (end > d->n)
		abort();
	memcpy(d->now + block * d->size, data, len);
	for (; block < end; block++) {
		if (d->is_dirty[block])
			continue;
		d->is_dirty[block] = true;
		d->dirty[d->n_dirty++] = block;
	}
}

const unsigned char *dm_disk_at(const struct dm_disk *d, uint64_t block)
{
	if (block >= d->n)
		abort();
	return d->now + block * d->size;
}

static void settle(struct dm_disk *d, uint64_t block, bool keep)
{
	unsigned char *now = d->now + block * d->size, *durable = d->durable + block * d->size;

	memcpy(keep ? durable : now, keep ? now : durable, d->size);
	d->is_dirty[block] = false;
}

void dm_disk_flush(struct dm_disk *d)
{
	while (d->n_dirty > 0)
		settle(d, d->dirty[--d->n_dirty], true);
}

void dm_disk_cut(struct dm_disk *d, unsigned int *seed)
{
	const int kept = rand_r(seed) % 5; /* of four: all, none, and between */

	while (d->n_dirty > 0)
		settle(d, d->dirty[--d->n_dirty], rand_r(seed) % 4 < kept);
}
