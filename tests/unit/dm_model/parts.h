/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of the model share. */
#pragma once

#include "world.h"

#define CHUNK ((size_t)DM_WORLD_CHUNK_SECTORS * DM_SECTOR)

/* world.c. Before each step of the provider; false: there is nobody to take it any more. */
bool dm_world_act(struct dm_world *w);
void dm_world_wrong(struct dm_world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The first chunk of all segments, counted as the pool does. */
uint64_t dm_world_first(const struct dm_world *w);

/* stores.c: those that the kernel has. */
struct dm_in_kernel *dm_world_in_kernel(struct dm_world *w, uint64_t number);
void dm_world_load(struct dm_world *w, const struct umbra_pool_store *store);
void dm_world_set_table(struct dm_in_kernel *k, const struct umbra_segments *list, uint32_t n);
void dm_world_unload(struct dm_in_kernel *k);
/* What is read of the volume, of the area, and of the volume through a store. */
uint64_t dm_world_origin_value(const struct dm_world *w, uint64_t chunk);
uint64_t dm_world_area_value(const struct dm_world *w, uint64_t chunk);
uint64_t dm_world_snap_value(const struct dm_in_kernel *k, uint64_t chunk);
/* What the volume has there goes to that chunk of the store. */
void dm_world_copy_out(struct dm_in_kernel *k, uint64_t chunk, uint64_t new);
/* Exceptions of a store that the kernel does not have. */
void dm_world_read_store(struct dm_world *w, const struct umbra_pool_store *store,
			 struct umbra_exceptions *out, uint64_t *used);

/* views.c */
void dm_world_open_in(struct dm_world *w, uint32_t copy, struct dm_open_view *v);
void dm_world_rebase(struct dm_world *w, const struct umbra_pool_store *sealed, uint64_t over);
/* What is in that chunk of a view's device. */
bool dm_world_view_read(void *view, uint64_t chunk, void *buf);

/* superblock.c */
struct umbra_pool *dm_world_dup_pool(struct dm_world *w);
/* Takes pool over: written and adopted. A dead process writes nothing and will load it again. */
void dm_world_write_pool(struct dm_world *w, struct umbra_pool *pool);
void dm_world_load_pool(struct dm_world *w);

/* room.c */
void dm_world_settle(struct dm_world *w);
/* Up to n segments to the live store. */
void dm_world_grant(struct dm_world *w, uint32_t n);
/* The device of a store gets all segments that it has by the pool. */
void dm_world_extend_table(struct dm_world *w, uint64_t number);
/* The live store's device ends after `keep` segments; more where the kernel was faster. */
uint32_t dm_world_wall_off(struct dm_world *w, uint32_t keep);
uint32_t dm_world_keep_for(const struct dm_world *w);

/* create.c */
struct umbra_pool_store *dm_world_unsealed_old(struct umbra_pool *pool);
/* The store before the live one leaves the kernel and is sealed, in that pool. */
void dm_world_seal_old(struct dm_world *w, struct umbra_pool *pool);
/* A creation before its instant is undone. */
void dm_world_take_back(struct dm_world *w, const struct umbra_id *id);

/* remove.c */
/* Without a copy that somebody may see the layer is taken out. */
void dm_world_slide_out(struct dm_world *w);
/* What the kernel has of stores that the pool does not know any more goes. */
void dm_world_unload_strangers(struct dm_world *w);
