/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/provider/dm/pool/store.h"

#include "snapshot/provider/dm/pool/le.h"

#define MAGIC   0x70416e53U /* "SnAp" */
#define VERSION 1U

struct reading {
	const struct umbra_dm_store_shape *shape;
	uint64_t epa;
	struct umbra_exceptions *out;
	uint8_t *taken; /* a bit for each chunk of the store */
	uint64_t end;   /* beyond the last chunk that is needed */
	struct umbra_error *err;
};

bool umbra_dm_chunk_valid(uint32_t chunk_sectors)
{
	return chunk_sectors > 0 && chunk_sectors <= UMBRA_DM_CHUNK_SECTORS_MAX &&
	       (chunk_sectors & (chunk_sectors - 1)) == 0;
}

static int damaged(struct umbra_error *err, const char *what, uint64_t at)
{
	return umbra_fail(err, UMBRA_E_DAMAGED, EBADMSG,
			  "an exception store is damaged: %s (chunk %llu)", what,
			  (unsigned long long)at);
}

/* 1: a header; 0: there never was one. */
static int check_header(const struct umbra_dm_store_shape *shape, const char *chunk,
			struct umbra_error *err)
{
	const uint32_t magic = umbra_le32(chunk), valid = umbra_le32(chunk + 4);
	const uint32_t version = umbra_le32(chunk + 8), sectors = umbra_le32(chunk + 12);

	if (magic == 0 && valid == 0 && version == 0 && sectors == 0)
		return 0;
	if (magic != MAGIC)
		return damaged(err, "it has no header", 0);
	if (version != VERSION)
		return damaged(err, "its header has another version", 0);
	if (sectors != shape->chunk_sectors)
		return damaged(err, "its header has another size of chunks", 0);
	if (valid != 1)
		return umbra_fail(err, UMBRA_E_DAMAGED, EBADMSG,
				  "the kernel gave up an exception store: it was full, or its "
				  "device failed");
	return 1;
}

static int take(struct reading *r, uint64_t old, uint64_t new)
{
	const uint8_t bit = (uint8_t)(1U << new % 8);

	if (old >= r->shape->origin_chunks)
		return damaged(r->err, "it has a chunk beyond the end of the volume", new);
	if (new >= r->shape->chunks)
		return damaged(r->err, "it has a chunk beyond its own end", new);
	if (umbra_dm_is_metadata(r->epa, new))
		return damaged(r->err, "it has data in the place of an area", new);
	if (r->taken[new / 8] & bit)
		return damaged(r->err, "it has two exceptions in one chunk", new);
	r->taken[new / 8] |= bit;
	if (umbra_exceptions_add(r->out, old, new) < 0)
		return umbra_oom(r->err);
	if (new >= r->end)
		r->end = new + 1;
	return 0;
}

/* 1: the area is full; 0: the list ends in it. */
static int read_area(struct reading *r, const char *chunk)
{
	uint64_t i, new;
	int result;

	for (i = 0; i < r->epa; i++) {
		new = umbra_le64(chunk + i * 16 + 8);
		if (new == 0)
			return 0;
		result = take(r, umbra_le64(chunk + i * 16), new);
		if (result < 0)
			return result;
	}
	return 1;
}

static int read_areas(struct reading *r, umbra_dm_read_fn read, void *arg, char *chunk)
{
	uint64_t a, at;
	int result;

	for (a = 0;; a++) {
		at = umbra_dm_area_at(r->epa, a);
		if (at >= r->shape->chunks)
			return damaged(r->err, "its list of exceptions has no end", at);
		result = read(arg, at, chunk, r->err);
		if (result < 0)
			return result;
		result = read_area(r, chunk);
		if (result <= 0)
			break;
	}
	if (at >= r->end)
		r->end = at + 1;
	return result;
}

static int check_once(const struct umbra_exceptions *list, struct umbra_error *err)
{
	size_t i;

	for (i = 1; i < list->n; i++) {
		if (list->e[i].old == list->e[i - 1].old)
			return damaged(err, "it has two exceptions for one chunk of the volume",
				       list->e[i].new);
	}
	return 0;
}

static int read_all(struct reading *r, umbra_dm_read_fn read, void *arg, char *chunk)
{
	int result;

	result = read(arg, 0, chunk, r->err);
	if (result < 0)
		return result;
	result = check_header(r->shape, chunk, r->err);
	if (result <= 0)
		return result;
	result = read_areas(r, read, arg, chunk);
	if (result < 0)
		return result;
	if (umbra_exceptions_sort(r->out) < 0)
		return umbra_oom(r->err);
	return check_once(r->out, r->err);
}

int umbra_dm_store_read(const struct umbra_dm_store_shape *shape, umbra_dm_read_fn read, void *arg,
			struct umbra_exceptions *out, uint64_t *used, struct umbra_error *err)
{
	struct reading r = {.shape = shape, .out = out, .err = err};
	_cleanup_free_ uint8_t *taken = NULL;
	_cleanup_free_ char *chunk = NULL;
	int result;

	if (!umbra_dm_chunk_valid(shape->chunk_sectors) || shape->chunks < 2)
		return damaged(err, "it is too short", shape->chunks);
	r.epa = umbra_dm_epa(shape->chunk_sectors);
	r.taken = taken = calloc(1, shape->chunks / 8 + 1);
	chunk = malloc((size_t)shape->chunk_sectors * UMBRA_DM_SECTOR);
	if (!taken || !chunk)
		return umbra_oom(err);
	result = read_all(&r, read, arg, chunk);
	if (result < 0) {
		umbra_exceptions_finish(out);
		return result;
	}
	*used = out->n ? r.end : 0;
	return 0;
}

void umbra_dm_header(uint32_t chunk_sectors, void *chunk)
{
	char *p = chunk;

	memset(p, 0, (size_t)chunk_sectors * UMBRA_DM_SECTOR);
	umbra_put_le32(p, MAGIC);
	umbra_put_le32(p + 4, 1);
	umbra_put_le32(p + 8, VERSION);
	umbra_put_le32(p + 12, chunk_sectors);
}

void umbra_dm_header_invalid(uint32_t chunk_sectors, void *chunk)
{
	umbra_dm_header(chunk_sectors, chunk);
	umbra_put_le32((char *)chunk + 4, 0);
}

void umbra_dm_put_exception(void *area, uint64_t i, uint64_t old, uint64_t new)
{
	char *p = area;

	umbra_put_le64(p + i * 16, old);
	umbra_put_le64(p + i * 16 + 8, new);
}
