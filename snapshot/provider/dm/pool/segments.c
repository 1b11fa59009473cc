/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/provider/dm/pool/segments.h"

void umbra_segments_finish(struct umbra_segments *list)
{
	free(list->at);
	*list = (struct umbra_segments){0};
}

int umbra_segments_reserve(struct umbra_segments *list, uint32_t n)
{
	const uint32_t room = list->n + n;
	uint32_t *at;

	if (room <= list->room)
		return 0;
	at = reallocarray(list->at, room, sizeof(*at));
	if (!at)
		return -ENOMEM;
	list->at = at;
	list->room = room;
	return 0;
}

void umbra_segments_push(struct umbra_segments *list, uint32_t segment)
{
	list->at[list->n++] = segment;
}

uint32_t umbra_segments_run(const struct umbra_segments *list, uint32_t i)
{
	uint32_t n = 1;

	while (i + n < list->n && list->at[i + n] == list->at[i] + n)
		n++;
	return n;
}

uint32_t umbra_segments_runs(const struct umbra_segments *list)
{
	uint32_t i, n = 0;

	for (i = 0; i < list->n; i += umbra_segments_run(list, i))
		n++;
	return n;
}

int umbra_segment_map_init(struct umbra_segment_map *map, uint32_t n)
{
	map->use = calloc(n ? n : 1, sizeof(*map->use));
	map->n = n;
	return map->use ? 0 : -ENOMEM;
}

void umbra_segment_map_finish(struct umbra_segment_map *map)
{
	free(map->use);
	*map = (struct umbra_segment_map){0};
}

uint32_t umbra_segment_map_count(const struct umbra_segment_map *map, enum umbra_segment_use use)
{
	uint32_t i, n = 0;

	for (i = 0; i < map->n; i++)
		n += map->use[i] == use;
	return n;
}

void umbra_segment_map_take(struct umbra_segment_map *map, uint32_t n, enum umbra_segment_use use,
			    struct umbra_segments *list)
{
	uint32_t i;

	for (i = 0; i < map->n && n > 0; i++) {
		if (map->use[i] != UMBRA_SEGMENT_FREE)
			continue;
		map->use[i] = (uint8_t)use;
		umbra_segments_push(list, i);
		n--;
	}
}

void umbra_segment_map_give(struct umbra_segment_map *map, struct umbra_segments *list,
			    uint32_t from, enum umbra_segment_use use)
{
	uint32_t i;

	for (i = from; i < list->n; i++)
		map->use[list->at[i]] = (uint8_t)use;
	if (from < list->n)
		list->n = from;
}
