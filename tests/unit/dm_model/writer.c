/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Who writes to the volume: several chunks at a time, whose exceptions come in any order. */
#include <string.h>

#include "parts.h"

#define AT_ONCE 6U

/* Has every live store room for that many first writes, and for the area after them? */
static bool has_room(const struct dm_world *w, uint64_t n)
{
	const struct dm_in_kernel *k;

	for (k = w->kernel; k < w->kernel + 2; k++) {
		if (k->number && k->resumed &&
		    k->snap->next_free + 2 * n + 3 >= (uint64_t)k->n_table * DM_WORLD_SEGMENT)
			return false;
	}
	return true;
}

/* n writes at a time, chunks all different: places first, then exceptions in any order. */
static void write_batch(struct dm_world *w, uint64_t *chunks, uint32_t n)
{
	uint64_t new[2][AT_ONCE] = {{0}};
	struct dm_in_kernel *k;
	uint32_t i, s;

	for (s = 0; s < 2; s++) {
		k = &w->kernel[s];
		for (i = 0; i < n && k->number && k->resumed; i++) {
			if (k->snap->map[chunks[i]])
				continue;
			new[s][i] = dm_snap_allocate(k->snap);
			dm_world_copy_out(k, chunks[i], new[s][i]);
		}
	}
	for (i = 0; i < n; i++) {
		for (s = 0; s < 2; s++) {
			if (new[s][i])
				dm_snap_commit(w->kernel[s].snap, chunks[i], new[s][i]);
		}
	}
	for (i = 0; i < n; i++) {
		w->next_value++;
		dm_disk_write(w->origin, chunks[i], &w->next_value, sizeof(w->next_value));
	}
}

void dm_world_write(struct dm_world *w, unsigned int n)
{
	uint64_t chunks[AT_ONCE], swap;
	uint32_t i, j, batch;

	while (n > 0 && w->mounted) {
		batch = 1 + dm_world_random(w, n < AT_ONCE ? n : AT_ONCE);
		n -= batch < n ? batch : n;
		if (!has_room(w, batch)) {
			w->stalled++;
			return;
		}
		/* Most writes go to one place for a while; so stores have much or little in common.
		 */
		if (dm_world_random(w, 40) == 0)
			w->busy_at = dm_world_random(w, w->origin_chunks);
		chunks[0] = dm_world_random(w, w->origin_chunks / 8);
		if (dm_world_random(w, 8) == 0)
			chunks[0] = dm_world_random(w, w->origin_chunks);
		chunks[0] = (chunks[0] + w->busy_at) % w->origin_chunks;
		for (i = 1; i < batch; i++)
			chunks[i] = (chunks[0] + i * 3ULL) % w->origin_chunks;
		for (i = batch - 1; i > 0; i--) {
			j = dm_world_random(w, i + 1);
			swap = chunks[i];
			chunks[i] = chunks[j];
			chunks[j] = swap;
		}
		write_batch(w, chunks, batch);
	}
}
