/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Segments, the unit in which a diff area is given away: ordered lists of them, and the map that
 * says what each is used for. Numbers from 0; where they lie is the pool's (pool.h).
 */
#pragma once

#include <stdint.h>

#include "common/util.h"

#define UMBRA_SEGMENTS_MAX 65536U

/* The segments of a store, in its order. Zero is an empty list. */
struct umbra_segments {
	uint32_t *at;
	uint32_t n, room;
};

void umbra_segments_finish(struct umbra_segments *list);
#define _cleanup_segments_ _cleanup_(umbra_segments_finish)

/* Room for n more, so that adding them cannot fail. 0 or -ENOMEM. */
int umbra_segments_reserve(struct umbra_segments *list, uint32_t n);
/* Only with room. */
void umbra_segments_push(struct umbra_segments *list, uint32_t segment);

/* How many of the list, from i on, lie one behind the other: one line of a table. i < n. */
uint32_t umbra_segments_run(const struct umbra_segments *list, uint32_t i);

/* How many lines the whole list is. */
uint32_t umbra_segments_runs(const struct umbra_segments *list);

enum umbra_segment_use {
	UMBRA_SEGMENT_FREE,
	UMBRA_SEGMENT_OWNED,    /* by a store */
	UMBRA_SEGMENT_PENDING,  /* by none, but what it holds may still be read */
	UMBRA_SEGMENT_RESERVED, /* being written for a store to come; on disk: free */
};

struct umbra_segment_map {
	uint8_t *use;
	uint32_t n;
};

/* All free. */
int umbra_segment_map_init(struct umbra_segment_map *map, uint32_t n);
void umbra_segment_map_finish(struct umbra_segment_map *map);

uint32_t umbra_segment_map_count(const struct umbra_segment_map *map, enum umbra_segment_use use);

/* Appends the n lowest free segments to the list and marks them. The caller made room and knows
 * that there are as many. */
void umbra_segment_map_take(struct umbra_segment_map *map, uint32_t n, enum umbra_segment_use use,
			    struct umbra_segments *list);

/* Marks what the list has from index `from` on, and cuts it off. */
void umbra_segment_map_give(struct umbra_segment_map *map, struct umbra_segments *list,
			    uint32_t from, enum umbra_segment_use use);
