/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "kernel.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

static const uint32_t magic = 0x70416e53;

static size_t bytes(const struct dm_snap *s)
{
	return (size_t)s->chunk_sectors * DM_SECTOR;
}

static uint64_t area_location(const struct dm_snap *s, uint64_t area)
{
	return 1 + (s->epa + 1) * area;
}

static void skip_metadata(struct dm_snap *s)
{
	if (s->next_free % (s->epa + 1) == 1)
		s->next_free++;
}

static void write_chunk(struct dm_snap *s, uint64_t chunk, const void *data, bool fua)
{
	if (s->valid && !s->cow.write(s->cow.arg, chunk, data, fua))
		s->valid = false;
}

static void zero_disk_area(struct dm_snap *s, uint64_t area)
{
	void *zero = calloc(1, bytes(s));

	write_chunk(s, area_location(s, area), zero, false);
	free(zero);
}

static void write_header(struct dm_snap *s)
{
	uint32_t *header = calloc(1, bytes(s));

	header[0] = htole32(magic);
	header[1] = htole32(1);
	header[2] = htole32(1);
	header[3] = htole32(s->chunk_sectors);
	write_chunk(s, 0, header, false);
	free(header);
}

static bool read_area(struct dm_snap *s)
{
	uint64_t entry[2];

	if (!s->cow.read(s->cow.arg, area_location(s, s->area_number), s->area))
		s->valid = false;
	for (s->committed = 0; s->valid && s->committed < s->epa; s->committed++) {
		memcpy(entry, s->area + s->committed * 16, 16);
		if (entry[1] == 0)
			return false;
		if (s->next_free <= le64toh(entry[1]))
			s->next_free = le64toh(entry[1]) + 1;
		if (le64toh(entry[0]) < s->n_map)
			s->map[le64toh(entry[0])] = le64toh(entry[1]);
		else
			s->valid = false;
	}
	return s->valid;
}

static void read_metadata(struct dm_snap *s)
{
	uint32_t *header = calloc(1, bytes(s));
	const bool there = s->cow.read(s->cow.arg, 0, header);

	if (there && le32toh(header[0]) == 0) {
		write_header(s);
		zero_disk_area(s, 0);
	} else if (there && le32toh(header[0]) == magic && le32toh(header[1]) == 1) {
		while (read_area(s))
			s->area_number++;
		skip_metadata(s);
	} else {
		s->valid = false;
	}
	free(header);
}

struct dm_snap *dm_snap_load(const struct dm_cow *cow, uint32_t chunk_sectors, uint64_t origin)
{
	struct dm_snap *s = calloc(1, sizeof(*s));

	s->cow = *cow;
	s->chunk_sectors = chunk_sectors;
	s->epa = bytes(s) / 16;
	s->next_free = 2;
	s->valid = true;
	s->area = calloc(1, bytes(s));
	s->map = calloc(origin, sizeof(*s->map));
	s->n_map = origin;
	read_metadata(s);
	return s;
}

struct dm_snap *dm_snap_free(struct dm_snap *s)
{
	if (s) {
		free(s->area);
		free(s->map);
		free(s);
	}
	return NULL;
}

uint64_t dm_snap_allocate(struct dm_snap *s)
{
	const uint64_t chunk = s->next_free;

	if (!s->valid || chunk >= s->cow.chunks(s->cow.arg))
		return 0;
	s->next_free++;
	skip_metadata(s);
	s->pending++;
	return chunk;
}

static void next_area(struct dm_snap *s)
{
	s->committed = 0;
	s->area_number++;
	memset(s->area, 0, bytes(s));
}

void dm_snap_commit(struct dm_snap *s, uint64_t old, uint64_t new)
{
	const uint64_t entry[2] = {htole64(old), htole64(new)};

	memcpy(s->area + s->committed * 16, entry, 16);
	s->committed++;
	s->map[old] = new;
	s->pending--;
	if (s->pending > 0 && s->committed < s->epa)
		return;
	if (s->committed == s->epa)
		zero_disk_area(s, s->area_number + 1);
	write_chunk(s, area_location(s, s->area_number), s->area, true);
	if (s->committed == s->epa)
		next_area(s);
}
