/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of the pool share. For them only. */
#pragma once

#include "snapshot/provider/dm/pool/pool.h"

/* The newest copy that has not been lost; NULL: none. */
struct umbra_pool_copy *umbra_pool_newest(const struct umbra_pool *pool);

/* Index of the oldest copy that has not been lost; n_copies: none. */
uint32_t umbra_pool_oldest(const struct umbra_pool *pool);

/* -ENOENT with err; else 0 and *i. */
int umbra_pool_need(const struct umbra_pool *pool, const struct umbra_id *id, uint32_t *i,
		    struct umbra_error *err);
int umbra_pool_need_store(const struct umbra_pool *pool, uint64_t number, uint32_t *i,
			  struct umbra_error *err);

/* -EBUSY with err when a creation is unfinished. */
int umbra_pool_need_finished(const struct umbra_pool *pool, struct umbra_error *err);

/* The caller broke the order of things: -EINVAL with err. */
int umbra_pool_misuse(struct umbra_error *err, const char *what);

/* Room for one more store. */
int umbra_pool_make_room(struct umbra_pool *pool);

/* Puts a store in (there is room), or takes one out and marks its segments; which copy has it is
 * the caller's to change. */
struct umbra_pool_store *umbra_pool_put_store(struct umbra_pool *pool, uint32_t at);
void umbra_pool_drop_store(struct umbra_pool *pool, uint32_t at, enum umbra_segment_use use);

/* All stores of a copy go and their segments wait; the copy stays. */
void umbra_pool_drop_stores_of(struct umbra_pool *pool, uint32_t copy);

/* The copy goes; its stores become the end of those of the copy before it. */
void umbra_pool_merge_back(struct umbra_pool *pool, uint32_t copy);

/* A copy without stores goes. */
void umbra_pool_forget(struct umbra_pool *pool, uint32_t copy);
