/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "parts.h"

#include <stdarg.h>
#include <stdio.h>

unsigned int dm_world_random(struct dm_world *w, unsigned int below)
{
	return below ? (unsigned int)rand_r(&w->seed) % below : 0;
}

void dm_world_wrong(struct dm_world *w, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (w->wrong++ == 0)
		vsnprintf(w->what, sizeof(w->what), fmt, ap);
	va_end(ap);
}

uint64_t dm_world_first(const struct dm_world *w)
{
	return umbra_pool_segment_at(w->pool, 0);
}

struct dm_world *dm_world_new(unsigned int seed, uint32_t origin_chunks, uint32_t segments)
{
	const struct umbra_pool_geometry g = {DM_WORLD_CHUNK_SECTORS, DM_WORLD_SEGMENT, segments};
	const struct umbra_id area = {"01234567-89ab-4def-8123-456789abcdef"};
	struct dm_world *w = calloc(1, sizeof(*w));
	_cleanup_free_ void *data = NULL;
	uint64_t i;
	size_t len;

	w->seed = seed;
	w->writes = 3;
	w->mounted = true;
	w->origin_chunks = origin_chunks;
	w->origin = dm_disk_new(sizeof(w->next_value), origin_chunks);
	w->area = dm_disk_new(CHUNK, (uint64_t)segments * DM_WORLD_SEGMENT);
	w->slot[0] = dm_disk_new(DM_SECTOR, UMBRA_POOL_SLOT_BYTES / DM_SECTOR / 8);
	w->slot[1] = dm_disk_new(DM_SECTOR, UMBRA_POOL_SLOT_BYTES / DM_SECTOR / 8);
	for (i = 0; i < w->area->n * CHUNK; i++) /* what an old disk has */
		w->area->now[i] = w->area->durable[i] = (unsigned char)rand_r(&w->seed);
	if (umbra_pool_new(&g, &area, "", &w->pool, NULL) < 0 ||
	    umbra_pool_encode(w->pool, &data, &len, NULL) < 0)
		abort();
	umbra_pool_written(w->pool);
	for (i = 0; i < 2; i++) {
		dm_disk_write(w->slot[i], 0, data, len);
		dm_disk_flush(w->slot[i]);
	}
	return w;
}

struct dm_world *dm_world_free(struct dm_world *w)
{
	uint32_t i;

	for (i = 0; i < DM_WORLD_VIEWS; i++)
		dm_world_close(w, &w->views[i]);
	for (i = 0; i < 2; i++) {
		dm_world_unload(&w->kernel[i]);
		dm_disk_free(w->slot[i]);
	}
	for (i = 0; i < w->n_remembered; i++)
		free(w->remembered[i].content);
	free(w->remembered);
	dm_disk_free(w->origin);
	dm_disk_free(w->area);
	umbra_pool_free(w->pool);
	free(w);
	return NULL;
}

bool dm_world_act(struct dm_world *w)
{
	if (w->dead)
		return false;
	if (w->fuse > 0 && --w->fuse == 0) {
		w->dead = true;
		return false;
	}
	if (!w->held && w->writes > 0)
		dm_world_write(w, dm_world_random(w, w->writes + 1));
	if (dm_world_random(w, 4) == 0)
		dm_world_check_open(w);
	return true;
}
