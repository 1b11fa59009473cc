/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What provider dm does, step by step; before each dm_world_act() the process may end. */
#include <string.h>

#include "dm_world.h"

#define CHUNK  ((size_t)DM_WORLD_CHUNK_SECTORS * DM_SECTOR)
#define MARGIN 24U /* chunks */

/* --- the superblock --- */

/* Takes pool over: written and adopted. A dead process writes nothing and will load it again. */
static void write_pool(struct dm_world *w, struct umbra_pool *pool)
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

static struct umbra_pool *dup_pool(struct dm_world *w)
{
	struct umbra_pool *pool;

	if (umbra_pool_dup(w->pool, &pool, NULL) < 0)
		abort();
	return pool;
}

static void load_pool(struct dm_world *w)
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
		write_pool(w, dup_pool(w));
}

/* --- segments --- */

static void settle(struct dm_world *w)
{
	_cleanup_free_ bool *mapped = calloc(w->pool->map.n, sizeof(*mapped));
	uint32_t i;

	for (i = 0; i < DM_WORLD_VIEWS; i++) {
		if (w->views[i].id.s[0] && w->fault != DM_FAULT_SETTLE_UNDER_VIEWS)
			umbra_dm_view_mark(&w->views[i].layout, mapped);
	}
	umbra_pool_settle(w->pool, mapped);
}

static void extend_table(struct dm_world *w, uint64_t number)
{
	struct dm_in_kernel *k = dm_world_in_kernel(w, number);
	const uint32_t i = umbra_pool_find_store(w->pool, number);

	if (k && i < w->pool->n_stores && dm_world_act(w))
		dm_world_set_table(k, &w->pool->stores[i].segments, w->pool->stores[i].segments.n);
}

/* Up to n segments to the live store. */
static void grant(struct dm_world *w, uint32_t n)
{
	struct umbra_pool *pool = dup_pool(w);
	const struct umbra_pool_store *live = umbra_pool_live(pool);
	struct dm_in_kernel *k;
	uint32_t granted;

	if (!live || umbra_pool_grant(pool, live->number, n, &granted, NULL) < 0) {
		umbra_pool_free(pool);
		return;
	}
	k = dm_world_in_kernel(w, live->number);
	if (w->fault == DM_FAULT_GRANT_NOT_DURABLE && k && dm_world_act(w))
		dm_world_set_table(k, &live->segments, live->segments.n);
	write_pool(w, pool);
	extend_table(w, umbra_pool_live(w->pool)->number);
}

/* The live store's device ends after `keep` segments; more where the kernel was faster. */
static uint32_t wall_off(struct dm_world *w, uint32_t keep)
{
	const struct umbra_pool_store *live = umbra_pool_live(w->pool);
	struct dm_in_kernel *k = live ? dm_world_in_kernel(w, live->number) : NULL;
	uint32_t in_use;

	if (!k || !dm_world_act(w))
		return keep;
	in_use = (uint32_t)((k->snap->next_free + DM_WORLD_SEGMENT) / DM_WORLD_SEGMENT);
	keep = keep > in_use ? keep : in_use;
	keep = keep < live->segments.n ? keep : live->segments.n;
	dm_world_set_table(k, &live->segments, keep);
	return keep;
}

static uint32_t keep_for(const struct dm_world *w)
{
	const struct umbra_pool_store *live = umbra_pool_live(w->pool);
	const struct dm_in_kernel *k;

	if (!live)
		return 0;
	k = dm_world_in_kernel((struct dm_world *)w, live->number);
	return umbra_pool_keep(w->pool, k ? k->snap->next_free : 0, MARGIN);
}

/* --- creation --- */

static struct umbra_id new_id(struct dm_world *w)
{
	struct umbra_id id;

	snprintf(id.s, sizeof(id.s), "%08x-89ab-4def-8123-456789abcdef", ++w->n_remembered);
	w->remembered = realloc(w->remembered, w->n_remembered * sizeof(*w->remembered));
	w->remembered[w->n_remembered - 1] = (struct dm_remembered){
		.id = id,
		.content = calloc(w->origin_chunks, sizeof(uint64_t)),
	};
	return id;
}

static void zero_beginning(struct dm_world *w, const struct umbra_pool_store *store)
{
	static const unsigned char zero[CHUNK];
	uint64_t at, i;

	if (w->fault == DM_FAULT_OLD_BLOCKS)
		return;
	for (i = 0; i < 2; i++) {
		umbra_pool_chunk_at(w->pool, store, i, &at);
		if (dm_world_act(w))
			dm_disk_write(w->area, at - dm_world_first(w), zero, CHUNK);
	}
	if (dm_world_act(w))
		dm_disk_flush(w->area);
}

/* Everything before the hold. false: there is no room. */
static bool prepare(struct dm_world *w, const struct umbra_id *id)
{
	const uint32_t keep = wall_off(w, keep_for(w));
	struct umbra_pool *pool = dup_pool(w);

	if (umbra_pool_prepare(pool, id, keep, NULL) < 0) {
		umbra_pool_free(pool);
		if (umbra_pool_live(w->pool))
			extend_table(w, umbra_pool_live(w->pool)->number);
		return false;
	}
	zero_beginning(w, umbra_pool_live(pool));
	if (w->fault == DM_FAULT_PREPARE_NOT_DURABLE) {
		umbra_pool_free(w->pool);
		w->pool = pool;
	} else {
		write_pool(w, pool);
	}
	if (dm_world_act(w))
		dm_world_load(w, umbra_pool_live(w->pool));
	return true;
}

static void hold_and_commit(struct dm_world *w, const struct umbra_id *id)
{
	struct dm_in_kernel *k = dm_world_in_kernel(w, umbra_pool_live(w->pool)->number);

	if (dm_world_act(w))
		dm_disk_flush(w->origin); /* syncfs */
	w->held = true;
	if (dm_world_act(w)) {
		dm_disk_flush(w->origin);
		k->resumed = true;
		memcpy(w->remembered[w->n_remembered - 1].content, w->origin->now,
		       w->origin_chunks * sizeof(uint64_t));
	}
	w->held = false;
	(void)id;
}

static struct umbra_pool_store *unsealed_old(struct umbra_pool *pool)
{
	struct umbra_pool_store *s = pool->n_stores > 1 ? &pool->stores[pool->n_stores - 2] : NULL;

	return s && !s->sealed ? s : NULL;
}

/* The store before the live one leaves the kernel and is sealed. */
static void seal_old(struct dm_world *w, struct umbra_pool *pool)
{
	_cleanup_exceptions_ struct umbra_exceptions list = {0};
	const struct umbra_pool_store *old = unsealed_old(w->pool);
	struct dm_in_kernel *k;
	struct umbra_error err;
	uint64_t used;

	if (!old)
		return;
	if (dm_world_act(w))
		dm_world_rebase(w, old, umbra_pool_live(w->pool)->number);
	k = dm_world_in_kernel(w, old->number);
	if (k && dm_world_act(w))
		dm_world_unload(k);
	if (!dm_world_act(w))
		return;
	dm_world_read_store(w, old, &list, &used);
	if (w->fault == DM_FAULT_SEAL_SHORT && used > DM_WORLD_SEGMENT)
		used -= DM_WORLD_SEGMENT;
	if (umbra_pool_seal(pool, old->number, used, &err) < 0)
		dm_world_wrong(w, "%s", err.text);
}

/* After the instant: one write of the superblock for all of it, or two. */
static void finish(struct dm_world *w, const struct umbra_id *id, enum dm_outcome outcome)
{
	struct umbra_pool *pool = dup_pool(w);
	uint32_t granted;

	if (outcome == DM_SUCCEED)
		umbra_pool_commit(pool, id, NULL);
	else
		umbra_pool_hide(pool, id, NULL);
	if (dm_world_random(w, 2)) {
		write_pool(w, pool);
		pool = dup_pool(w);
	}
	seal_old(w, pool);
	if (w->dead) {
		umbra_pool_free(pool);
		return;
	}
	umbra_pool_grant(pool, umbra_pool_live(pool)->number, UMBRA_SEGMENTS_MAX, &granted, NULL);
	write_pool(w, pool);
	extend_table(w, umbra_pool_live(w->pool)->number);
	settle(w);
	w->remembered[w->n_remembered - 1].made = !w->dead && outcome == DM_SUCCEED;
}

static void take_back(struct dm_world *w, const struct umbra_id *id)
{
	struct dm_in_kernel *k = dm_world_in_kernel(w, umbra_pool_live(w->pool)->number);
	struct umbra_pool *pool;
	struct umbra_error err;

	if (k && dm_world_act(w))
		dm_world_unload(k);
	pool = dup_pool(w);
	if (umbra_pool_discard(pool, id, &err) < 0)
		dm_world_wrong(w, "%s", err.text);
	write_pool(w, pool);
	grant(w, UMBRA_SEGMENTS_MAX);
}

void dm_world_create(struct dm_world *w, enum dm_outcome outcome)
{
	struct umbra_id id;

	if (umbra_pool_live(w->pool) && umbra_pool_live(w->pool)->segments.n < 8)
		dm_world_monitor(w);
	if (w->dead)
		return;
	id = new_id(w);
	if (!prepare(w, &id) || w->dead)
		return;
	if (outcome != DM_FAIL_BEFORE)
		hold_and_commit(w, &id);
	if (w->dead)
		return;
	if (outcome == DM_FAIL_BEFORE ||
	    (outcome == DM_FAIL_AFTER && w->fault == DM_FAULT_DISCARD_LIVE))
		take_back(w, &id);
	else
		finish(w, &id, outcome);
}

/* --- deletion --- */

static struct dm_remembered *find(struct dm_world *w, const struct umbra_id *id)
{
	uint32_t i;

	for (i = 0; i < w->n_remembered; i++) {
		if (strcmp(w->remembered[i].id.s, id->s) == 0)
			return &w->remembered[i];
	}
	abort();
}

/* Without a copy that somebody may see the layer is taken out. */
static void slide_out(struct dm_world *w)
{
	struct umbra_pool *pool;
	uint32_t i;

	if (umbra_pool_needed(w->pool) || !umbra_pool_live(w->pool))
		return;
	for (i = 0; i < DM_WORLD_VIEWS; i++)
		dm_world_close(w, &w->views[i]);
	while (w->kernel[0].number && dm_world_act(w))
		dm_world_unload(&w->kernel[0]);
	pool = dup_pool(w);
	if (umbra_pool_clear(pool, NULL) < 0)
		dm_world_wrong(w, "the pool cannot be cleared");
	write_pool(w, pool);
	settle(w);
}

/* DM_FAULT_REMOVE_NEWEST: its store goes and the one before is fed again. */
static void remove_newest(struct dm_world *w, struct umbra_pool *pool)
{
	struct umbra_pool_copy *newest = &pool->copies[pool->n_copies - 1];

	newest->state = UMBRA_POOL_PREPARED;
	umbra_pool_discard(pool, &newest->id, NULL);
	if (!umbra_pool_live(pool))
		return;
	umbra_pool_live(pool)->sealed = false;
	pool->copies[pool->n_copies - 1].n_stores = 1;
	while (w->kernel[0].number)
		dm_world_unload(&w->kernel[0]);
	dm_world_load(w, umbra_pool_live(pool));
	w->kernel[0].resumed = true;
}

void dm_world_remove(struct dm_world *w, uint32_t copy)
{
	const struct umbra_id id = w->pool->copies[copy].id;
	struct umbra_pool *pool = dup_pool(w);
	struct umbra_error err;
	uint32_t i;

	find(w, &id)->deleted = true;
	if (w->fault == DM_FAULT_REMOVE_NEWEST && copy > 0 && copy + 1 == pool->n_copies &&
	    pool->copies[copy - 1].n_stores == 1)
		remove_newest(w, pool);
	else if (umbra_pool_remove(pool, &id, &err) < 0)
		dm_world_wrong(w, "%s", err.text);
	if (w->fault == DM_FAULT_SETTLE_NOT_DURABLE) {
		pool->changed = false;
		umbra_pool_settle(pool, NULL);
	}
	if (w->fault == DM_FAULT_SETTLE_NOT_DURABLE && pool->n_copies > 1) {
		umbra_pool_free(w->pool);
		w->pool = pool;
	} else {
		write_pool(w, pool);
	}
	for (i = 0; i < DM_WORLD_VIEWS; i++) {
		if (strcmp(w->views[i].id.s, id.s) == 0 && dm_world_random(w, 2))
			dm_world_close(w, &w->views[i]);
	}
	settle(w);
	slide_out(w);
}

/* What the kernel has of stores that the pool does not know any more. */
static void unload_strangers(struct dm_world *w)
{
	uint32_t i;

	for (i = 2; i-- > 0;) {
		if (w->kernel[i].number && dm_world_act(w) &&
		    umbra_pool_find_store(w->pool, w->kernel[i].number) == w->pool->n_stores)
			dm_world_unload(&w->kernel[i]);
	}
}

void dm_world_lose(struct dm_world *w, uint32_t copy)
{
	struct umbra_pool *pool = dup_pool(w);
	const struct umbra_id id = pool->copies[copy].id;
	uint32_t i;

	for (i = 0; i <= copy; i++)
		find(w, &pool->copies[i].id)->deleted = true;
	for (i = 0; i < DM_WORLD_VIEWS; i++)
		dm_world_close(w, &w->views[i]);
	if (umbra_pool_lose(pool, copy + 1 < pool->n_copies ? &id : NULL, NULL) < 0)
		dm_world_wrong(w, "copies cannot be lost");
	w->lost += copy + 1;
	write_pool(w, pool);
	unload_strangers(w);
	settle(w);
	slide_out(w);
}

/* --- compaction --- */

static void write_compacted(struct dm_world *w, const struct umbra_compact *plan,
			    const struct umbra_segments *segments)
{
	const struct umbra_pool_store store = {.sealed = true, .segments = *segments};
	unsigned char chunk[CHUNK];
	uint64_t i, at;

	for (i = 0; i < plan->moves.n; i++) {
		umbra_pool_chunk_at(w->pool, &store, umbra_compact_target(w->pool, i), &at);
		if (i % 8 == 0 && !dm_world_act(w))
			return;
		memcpy(chunk, dm_disk_at(w->area, plan->moves.e[i].new - dm_world_first(w)), CHUNK);
		dm_disk_write(w->area, at - dm_world_first(w), chunk, CHUNK);
	}
	for (i = 0; i < umbra_compact_metadata_chunks(w->pool, plan); i++) {
		umbra_pool_chunk_at(w->pool, &store,
				    umbra_compact_metadata(w->pool, plan, i, chunk), &at);
		if (dm_world_act(w))
			dm_disk_write(w->area, at - dm_world_first(w), chunk, CHUNK);
	}
	if (w->fault != DM_FAULT_COMPACT_NO_FLUSH && dm_world_act(w))
		dm_disk_flush(w->area);
}

/* Takes half of the live store's room, to write to. */
static void make_room(struct dm_world *w)
{
	uint32_t keep = keep_for(w);
	struct umbra_pool *pool;

	if (keep == 0)
		return;
	if (w->fault != DM_FAULT_COMPACT_LIVE_TAIL)
		keep = wall_off(w, keep);
	pool = dup_pool(w);
	if (umbra_pool_shrink(pool, keep, NULL) < 0)
		dm_world_wrong(w, "the live store cannot be made shorter");
	write_pool(w, pool);
}

static void carry_out(struct dm_world *w, uint32_t copy, struct umbra_compact *plan)
{
	const struct umbra_id id = w->pool->copies[copy].id;
	_cleanup_segments_ struct umbra_segments segments = {0};
	struct umbra_pool *pool;
	struct umbra_error err;

	if (umbra_pool_reserve(w->pool, plan->segments, &segments, &err) < 0) {
		dm_world_wrong(w, "%s", err.text);
		return;
	}
	write_compacted(w, plan, &segments);
	if (w->dead)
		return;
	pool = dup_pool(w);
	if (umbra_pool_replace(pool, &id, &segments, plan->used, plan->drop, plan->n_drop, &err) <
	    0)
		dm_world_wrong(w, "%s", err.text);
	write_pool(w, pool);
	w->compacted += plan->n_drop;
	w->pieces++;
}

static bool compact_piece(struct dm_world *w, uint32_t copy, uint64_t piece)
{
	const struct umbra_compact_limits limits = {piece, umbra_pool_free_segments(w->pool)};
	const uint32_t first = umbra_pool_first_store(w->pool, copy);
	const uint32_t n = w->pool->copies[copy].n_stores;
	_cleanup_free_ struct umbra_exceptions *lists = calloc(n + 1, sizeof(*lists));
	_cleanup_compact_ struct umbra_compact plan = {0};
	uint64_t used;
	uint32_t i;
	int r;

	for (i = 0; i < n; i++)
		dm_world_read_store(w, &w->pool->stores[first + i], &lists[i], &used);
	r = umbra_compact_plan(w->pool, copy, lists, &limits, &plan, NULL);
	for (i = 0; i < n; i++)
		umbra_exceptions_finish(&lists[i]);
	if (r > 0)
		carry_out(w, copy, &plan);
	return r > 0;
}

void dm_world_compact(struct dm_world *w, uint32_t copy, uint64_t piece)
{
	const struct umbra_pool_copy *c = &w->pool->copies[copy];

	if (copy + 1 >= w->pool->n_copies || c->n_stores < 2)
		return;
	make_room(w);
	while (!w->dead && compact_piece(w, copy, piece))
		settle(w);
	if (!w->dead)
		grant(w, UMBRA_SEGMENTS_MAX);
}

/* --- size --- */

/* All of the live store that it has not used. */
static void take_unused(struct dm_world *w)
{
	const struct umbra_pool_store *live = umbra_pool_live(w->pool);
	struct umbra_pool *pool;
	uint32_t keep;

	if (!live)
		return;
	keep = w->fault == DM_FAULT_MOVE_LIVE_TAIL ? keep_for(w) : wall_off(w, 1);
	pool = dup_pool(w);
	if (umbra_pool_shrink(pool, keep, NULL) < 0)
		dm_world_wrong(w, "the live store cannot be made shorter");
	write_pool(w, pool);
}

static void copy_segment(struct dm_world *w, uint32_t from, uint32_t to)
{
	unsigned char chunk[CHUNK];
	uint32_t i;

	for (i = 0; i < DM_WORLD_SEGMENT && dm_world_act(w); i++) {
		memcpy(chunk, dm_disk_at(w->area, (uint64_t)from * DM_WORLD_SEGMENT + i), CHUNK);
		dm_disk_write(w->area, (uint64_t)to * DM_WORLD_SEGMENT + i, chunk, CHUNK);
	}
}

static uint32_t lowest_free(const struct umbra_pool *pool)
{
	uint32_t i;

	for (i = 0; i < pool->map.n && pool->map.use[i] != UMBRA_SEGMENT_FREE; i++)
		;
	return i;
}

/* Into the front what lies behind, as far as there is room. */
static void move_tail(struct dm_world *w, struct umbra_pool *pool, uint32_t segments)
{
	uint32_t i, to;

	for (i = pool->map.n; i-- > segments && !w->dead;) {
		to = lowest_free(pool);
		if (pool->map.use[i] != UMBRA_SEGMENT_OWNED || to >= segments ||
		    !pool->stores[umbra_pool_store_of(pool, i)].sealed)
			continue;
		copy_segment(w, i, to);
		if (umbra_pool_move(pool, i, to, NULL) < 0)
			dm_world_wrong(w, "a segment cannot be moved");
		w->moved++;
	}
	if (w->fault != DM_FAULT_MOVE_NO_FLUSH && dm_world_act(w))
		dm_disk_flush(w->area);
}

static void set_segments(struct dm_world *w, struct umbra_pool *pool, uint32_t segments)
{
	uint32_t n = pool->map.n, granted;

	while (n > segments && pool->map.use[n - 1] == UMBRA_SEGMENT_FREE)
		n--;
	if (segments > n)
		n = segments;
	if (umbra_pool_resize(pool, n, NULL) < 0)
		dm_world_wrong(w, "the pool cannot have that size");
	if (umbra_pool_live(pool))
		umbra_pool_grant(pool, umbra_pool_live(pool)->number, UMBRA_SEGMENTS_MAX, &granted,
				 NULL);
	write_pool(w, pool);
	if (umbra_pool_live(w->pool))
		extend_table(w, umbra_pool_live(w->pool)->number);
}

void dm_world_resize(struct dm_world *w, uint32_t segments)
{
	const bool shorter = segments < w->pool->map.n;
	struct umbra_pool *pool;

	settle(w);
	if (shorter)
		take_unused(w);
	pool = dup_pool(w);
	if (shorter)
		move_tail(w, pool, segments);
	if (w->dead) {
		umbra_pool_free(pool);
		return;
	}
	set_segments(w, pool, segments);
	settle(w);
	w->resized++;
}

/* --- the monitor --- */

static bool low(struct dm_world *w)
{
	const struct umbra_pool_store *live = umbra_pool_live(w->pool);
	const struct dm_in_kernel *k = live ? dm_world_in_kernel(w, live->number) : NULL;

	return k && k->snap->next_free + 32 > (uint64_t)live->segments.n * DM_WORLD_SEGMENT;
}

/* As long as there is little room: what is free, else what the oldest copy has. */
void dm_world_monitor(struct dm_world *w)
{
	uint32_t i;

	while (!w->dead && low(w)) {
		settle(w);
		if (umbra_pool_free_segments(w->pool) > 0) {
			grant(w, UMBRA_SEGMENTS_MAX);
			continue;
		}
		for (i = 0; i < DM_WORLD_VIEWS; i++)
			dm_world_close(w, &w->views[i]);
		settle(w);
		if (umbra_pool_free_segments(w->pool) > 0)
			continue;
		if (w->pool->n_copies < 2)
			return;
		w->dropped++;
		dm_world_remove(w, 0);
	}
}

/* --- the next start --- */

/* The kernel forgot everything: only the newest store is activated. */
static void activate(struct dm_world *w)
{
	if (umbra_pool_live(w->pool)) {
		dm_world_load(w, umbra_pool_live(w->pool));
		w->kernel[0].resumed = true;
	}
	w->mounted = true;
}

static void hide_or_discard(struct dm_world *w)
{
	const struct umbra_pool_copy *newest = w->pool->copies + w->pool->n_copies - 1;
	const struct umbra_pool_store *live = umbra_pool_live(w->pool);
	struct dm_in_kernel *k;
	struct umbra_pool *pool;
	struct umbra_id id;

	if (w->pool->n_copies == 0 || newest->state != UMBRA_POOL_PREPARED)
		return;
	id = newest->id;
	k = dm_world_in_kernel(w, live->number);
	if (!k || !k->resumed || w->fault == DM_FAULT_DISCARD_LIVE) {
		take_back(w, &id);
		return;
	}
	pool = dup_pool(w);
	umbra_pool_hide(pool, &id, NULL);
	write_pool(w, pool);
}

void dm_world_recover(struct dm_world *w)
{
	struct umbra_pool *pool;
	uint32_t i;

	w->crashes++;
	w->held = false;
	for (i = 0; i < DM_WORLD_VIEWS; i++)
		dm_world_close(w, &w->views[i]);
	if (w->crash == DM_POWER) {
		w->mounted = false;
		while (w->kernel[0].number)
			dm_world_unload(&w->kernel[0]);
		dm_disk_cut(w->origin, &w->seed);
		dm_disk_cut(w->area, &w->seed);
		dm_disk_cut(w->slot[0], &w->seed);
		dm_disk_cut(w->slot[1], &w->seed);
	} else {
		dm_world_write(w, 3); /* while nobody is there */
	}
	w->dead = false;
	load_pool(w);
	if (!w->dead)
		unload_strangers(w);
	if (!w->mounted && !w->dead)
		activate(w);
	if (!w->dead)
		hide_or_discard(w);
	if (!w->dead && unsealed_old(w->pool)) {
		pool = dup_pool(w);
		seal_old(w, pool);
		if (w->dead)
			umbra_pool_free(pool);
		else
			write_pool(w, pool);
	}
	if (!w->dead)
		settle(w);
	if (!w->dead)
		slide_out(w);
	if (!w->dead && umbra_pool_live(w->pool)) {
		extend_table(w, umbra_pool_live(w->pool)->number);
		grant(w, UMBRA_SEGMENTS_MAX);
	}
}
