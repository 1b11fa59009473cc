/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "parts.h"

void dm_world_write_pool(struct dm_world *w, struct umbra_pool *pool)
{
	_cleanup_free_ void *data = NULL;
	struct umbra_error err;
	size_t len;
	int i;

	if (umbra_pool_encode(pool, &data, &len, &err) < 0) {
		dm_world_wrong(w, "%s", err.text);
		umbra_pool_free(pool);
		return;
	}
	for (i = 0; i < 2; i++) {
		if (dm_world_act(w))
			dm_disk_write(w->slot[i], 0, data, len);
		if (w->fault != DM_FAULT_ONE_SLOT && dm_world_act(w))
			dm_disk_flush(w->slot[i]);
	}
	for (i = 0; i < 2; i++) {
		if (w->fault == DM_FAULT_ONE_SLOT && dm_world_act(w))
			dm_disk_flush(w->slot[i]);
	}
	umbra_pool_written(pool);
	umbra_pool_free(w->pool);
	w->pool = pool;
}

struct umbra_pool *dm_world_dup_pool(struct dm_world *w)
{
	struct umbra_pool *pool;

	if (umbra_pool_dup(w->pool, &pool, NULL) < 0)
		abort();
	return pool;
}

void dm_world_load_pool(struct dm_world *w)
{
	const size_t len = w->slot[0]->n * w->slot[0]->size;
	struct umbra_pool *pool = NULL;
	struct umbra_error err;
	int r, i;

	r = umbra_pool_load(w->slot[0]->now, len, w->slot[1]->now, len, &pool, &err);
	if (r < 0) {
		dm_world_wrong(w, "%s", err.text);
		return;
	}
	umbra_pool_free(w->pool);
	w->pool = pool;
	for (i = 0; i < 2; i++) {
		if (dm_world_act(w))
			dm_disk_flush(w->slot[i]);
	}
	if (r == UMBRA_POOL_TORN)
		dm_world_write_pool(w, dm_world_dup_pool(w));
}
