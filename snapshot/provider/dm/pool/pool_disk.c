/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/provider/dm/pool/pool_disk.h"

#include <string.h>
#include <zlib.h>

#include "snapshot/provider/dm/pool/le.h"

#define HEADER  640U /* with both texts */
#define EXTENT  24U
#define COPY    56U
#define STORE   24U
#define RUN     8U
#define ID_ROOM 40U

#define COPY_REVERTING 1U /* flag of a copy */

/* Where things are in the header. */
enum {
	AT_MAGIC = 0,
	AT_VERSION = 8,
	AT_SUM = 12, /* CRC-32 of all bytes, these four as zero */
	AT_LENGTH = 16,
	AT_GENERATION = 24,
	AT_NEXT_STORE = 32,
	AT_CHUNK_SECTORS = 40,
	AT_SEGMENT_CHUNKS = 44,
	AT_SEGMENTS = 48,
	AT_EXTENTS = 52,
	AT_COPIES = 56,
	AT_STORES = 60,
	AT_RUNS = 64,    /* of all stores */
	AT_PENDING = 68, /* runs of segments that wait */
	AT_AREA = 72,
	AT_VOLUME = 112,
	AT_STAMP = AT_VOLUME + UMBRA_POOL_TEXT_MAX,
	AT_END = AT_STAMP + UMBRA_POOL_TEXT_MAX,
};

_Static_assert(AT_AREA + ID_ROOM == AT_VOLUME && AT_END <= HEADER, "on disk");
_Static_assert(HEADER + UMBRA_POOL_EXTENTS_MAX * EXTENT + UMBRA_POOL_COPIES_MAX * COPY +
			       UMBRA_POOL_STORES_MAX * STORE + UMBRA_SEGMENTS_MAX * RUN +
			       UMBRA_POOL_BLOCK <=
		       UMBRA_POOL_SLOT_BYTES,
	       "the largest pool has room");
_Static_assert(UMBRA_POOL_RECORDS_AT + UMBRA_POOL_COPIES_MAX * UMBRA_POOL_RECORD_SIZE <=
		       UMBRA_POOL_DATA_AT,
	       "all records have room");

static const char magic[8] = "umbraDIF";

struct counts {
	uint32_t extents, copies, stores, runs, pending;
};

static uint64_t length_of(const struct counts *c)
{
	return HEADER + (uint64_t)c->extents * EXTENT + (uint64_t)c->copies * COPY +
	       (uint64_t)c->stores * STORE + ((uint64_t)c->runs + c->pending) * RUN;
}

static size_t round_up(uint64_t length)
{
	return (size_t)((length + UMBRA_POOL_BLOCK - 1) / UMBRA_POOL_BLOCK * UMBRA_POOL_BLOCK);
}

static uint32_t sum_of(const unsigned char *data, size_t len)
{
	static const unsigned char zero[4];
	uLong sum = crc32_z(0, data, AT_SUM);

	sum = crc32_z(sum, zero, sizeof(zero));
	return (uint32_t)crc32_z(sum, data + AT_SUM + 4, len - AT_SUM - 4);
}

/* --- writing --- */

/* The next run of pending segments at or after *i; 0: none. */
static uint32_t pending_run(const struct umbra_segment_map *map, uint32_t *i)
{
	uint32_t n = 0;

	while (*i < map->n && map->use[*i] != UMBRA_SEGMENT_PENDING)
		(*i)++;
	while (*i + n < map->n && map->use[*i + n] == UMBRA_SEGMENT_PENDING)
		n++;
	return n;
}

static struct counts count(const struct umbra_pool *pool)
{
	struct counts c = {pool->n_extents, pool->n_copies, pool->n_stores, 0, 0};
	uint32_t i, n;

	for (i = 0; i < pool->n_stores; i++)
		c.runs += umbra_segments_runs(&pool->stores[i].segments);
	for (i = 0; (n = pending_run(&pool->map, &i)) > 0; i += n)
		c.pending++;
	return c;
}

static void put_header(const struct umbra_pool *pool, const struct counts *c, char *p)
{
	memcpy(p + AT_MAGIC, magic, sizeof(magic));
	umbra_put_le32(p + AT_VERSION, UMBRA_POOL_VERSION);
	umbra_put_le64(p + AT_LENGTH, length_of(c));
	umbra_put_le64(p + AT_GENERATION, pool->generation + 1);
	umbra_put_le64(p + AT_NEXT_STORE, pool->next_store);
	umbra_put_le32(p + AT_CHUNK_SECTORS, pool->geometry.chunk_sectors);
	umbra_put_le32(p + AT_SEGMENT_CHUNKS, pool->geometry.segment_chunks);
	umbra_put_le32(p + AT_SEGMENTS, pool->geometry.segments);
	umbra_put_le32(p + AT_EXTENTS, c->extents);
	umbra_put_le32(p + AT_COPIES, c->copies);
	umbra_put_le32(p + AT_STORES, c->stores);
	umbra_put_le32(p + AT_RUNS, c->runs);
	umbra_put_le32(p + AT_PENDING, c->pending);
	memcpy(p + AT_AREA, pool->area.s, UMBRA_ID_LEN);
	memcpy(p + AT_VOLUME, pool->volume, UMBRA_POOL_TEXT_MAX);
	memcpy(p + AT_STAMP, pool->stamp, UMBRA_POOL_TEXT_MAX);
}

static char *put_extents(const struct umbra_pool *pool, char *p)
{
	const struct umbra_pool_extent *e;

	for (e = pool->extents; e < pool->extents + pool->n_extents; e++, p += EXTENT) {
		umbra_put_le64(p, e->logical);
		umbra_put_le64(p + 8, e->physical);
		umbra_put_le64(p + 16, e->length);
	}
	return p;
}

static char *put_copies(const struct umbra_pool *pool, char *p)
{
	const struct umbra_pool_copy *c;

	for (c = pool->copies; c < pool->copies + pool->n_copies; c++, p += COPY) {
		memcpy(p, c->id.s, UMBRA_ID_LEN);
		umbra_put_le32(p + ID_ROOM, (uint32_t)c->state);
		umbra_put_le32(p + ID_ROOM + 4, c->record);
		umbra_put_le32(p + ID_ROOM + 8, c->n_stores);
		umbra_put_le32(p + ID_ROOM + 12, c->reverting ? COPY_REVERTING : 0);
	}
	return p;
}

static char *put_run(char *p, uint32_t first, uint32_t n)
{
	umbra_put_le32(p, first);
	umbra_put_le32(p + 4, n);
	return p + RUN;
}

static char *put_stores(const struct umbra_pool *pool, char *p)
{
	char *run = p + (size_t)pool->n_stores * STORE;
	const struct umbra_pool_store *s;
	uint32_t i, j, n;

	for (i = 0; i < pool->n_stores; i++, p += STORE) {
		s = &pool->stores[i];
		umbra_put_le64(p, s->number);
		umbra_put_le64(p + 8, s->sealed ? s->used : 0);
		umbra_put_le32(p + 16, umbra_segments_runs(&s->segments));
		for (j = 0; j < s->segments.n; j += n) {
			n = umbra_segments_run(&s->segments, j);
			run = put_run(run, s->segments.at[j], n);
		}
	}
	return run;
}

static void put_pending(const struct umbra_pool *pool, char *p)
{
	uint32_t i, n;

	for (i = 0; (n = pending_run(&pool->map, &i)) > 0; i += n)
		p = put_run(p, i, n);
}

int umbra_pool_encode(const struct umbra_pool *pool, void **out, size_t *len,
		      struct umbra_error *err)
{
	const struct counts c = count(pool);
	const size_t length = length_of(&c), room = round_up(length);
	char *data, *p;
	int r;

	r = umbra_pool_check(pool, err);
	if (r < 0)
		return umbra_wrap(err, r, "what was about to be written");
	data = calloc(1, room);
	if (!data)
		return umbra_oom(err);
	put_header(pool, &c, data);
	p = put_extents(pool, data + HEADER);
	p = put_copies(pool, p);
	p = put_stores(pool, p);
	put_pending(pool, p);
	umbra_put_le32(data + AT_SUM, sum_of((unsigned char *)data, length));
	*out = data;
	*len = room;
	return 0;
}

void umbra_pool_written(struct umbra_pool *pool)
{
	pool->generation++;
	pool->changed = false;
}

/* --- reading --- */

static int damaged(struct umbra_error *err, const char *what)
{
	return umbra_fail(err, UMBRA_E_DAMAGED, EBADMSG,
			  "the superblock of a diff area is damaged: %s", what);
}

static bool has_length(const char *data, size_t len)
{
	uint64_t length;

	if (len < HEADER || memcmp(data + AT_MAGIC, magic, sizeof(magic)) != 0)
		return false;
	length = umbra_le64(data + AT_LENGTH);
	return length >= HEADER && length <= UMBRA_POOL_SLOT_BYTES - UMBRA_POOL_BLOCK;
}

size_t umbra_pool_encoded_length(const void *block)
{
	const char *p = block;

	return has_length(p, UMBRA_POOL_BLOCK) ? round_up(umbra_le64(p + AT_LENGTH)) : 0;
}

void umbra_pool_encoded_area(const void *block, struct umbra_id *out)
{
	*out = (struct umbra_id){.s = ""};
	memcpy(out->s, (const char *)block + AT_AREA, UMBRA_ID_LEN);
}

static int get_counts(const char *p, struct counts *c, struct umbra_error *err)
{
	c->extents = umbra_le32(p + AT_EXTENTS);
	c->copies = umbra_le32(p + AT_COPIES);
	c->stores = umbra_le32(p + AT_STORES);
	c->runs = umbra_le32(p + AT_RUNS);
	c->pending = umbra_le32(p + AT_PENDING);
	if (c->extents > UMBRA_POOL_EXTENTS_MAX || c->copies > UMBRA_POOL_COPIES_MAX ||
	    c->stores > UMBRA_POOL_STORES_MAX || c->runs > UMBRA_SEGMENTS_MAX ||
	    c->pending > UMBRA_SEGMENTS_MAX)
		return damaged(err, "more than there can be");
	if (length_of(c) != umbra_le64(p + AT_LENGTH))
		return damaged(err, "its parts have not its length");
	return 0;
}

static int check_frame(const char *data, size_t len, struct umbra_error *err)
{
	uint64_t length;

	if (!has_length(data, len))
		return damaged(err, "it has no header");
	length = umbra_le64(data + AT_LENGTH);
	if (length > len)
		return damaged(err, "it is cut off");
	if (umbra_le32(data + AT_SUM) != sum_of((const unsigned char *)data, (size_t)length))
		return damaged(err, "its checksum is wrong");
	if (umbra_le32(data + AT_VERSION) != UMBRA_POOL_VERSION)
		return umbra_fail(err, UMBRA_E_UNSUPPORTED, EPROTONOSUPPORT,
				  "a diff area was made by another version of umbra: it has format "
				  "%u, this one knows %u",
				  umbra_le32(data + AT_VERSION), UMBRA_POOL_VERSION);
	return 0;
}

static bool get_text(char *out, const char *p, size_t room)
{
	memcpy(out, p, room);
	return memchr(p, '\0', room) != NULL;
}

static int get_header(const char *p, struct umbra_pool **out, struct umbra_error *err)
{
	const struct umbra_pool_geometry g = {
		.chunk_sectors = umbra_le32(p + AT_CHUNK_SECTORS),
		.segment_chunks = umbra_le32(p + AT_SEGMENT_CHUNKS),
		.segments = umbra_le32(p + AT_SEGMENTS),
	};
	char volume[UMBRA_POOL_TEXT_MAX];
	struct umbra_pool *pool;
	struct umbra_id area;
	int r;

	if (!umbra_pool_geometry_valid(&g))
		return damaged(err, "impossible sizes");
	if (!get_text(volume, p + AT_VOLUME, sizeof(volume)))
		return damaged(err, "the volume's name has no end");
	umbra_pool_encoded_area(p, &area);
	r = umbra_pool_new(&g, &area, volume, &pool, err);
	if (r < 0)
		return r;
	*out = pool;
	pool->generation = umbra_le64(p + AT_GENERATION);
	pool->next_store = umbra_le64(p + AT_NEXT_STORE);
	pool->changed = false;
	if (!get_text(pool->stamp, p + AT_STAMP, sizeof(pool->stamp)))
		return damaged(err, "the volume's stamp has no end");
	if (pool->generation == 0 || pool->generation == UINT64_MAX ||
	    pool->next_store == UINT64_MAX)
		return damaged(err, "a counter is at its end");
	return 0;
}

static int get_extents(struct umbra_pool *pool, const char *p, uint32_t n, struct umbra_error *err)
{
	struct umbra_pool_extent *e;
	uint32_t i;

	pool->extents = calloc(n + 1, sizeof(*pool->extents));
	if (!pool->extents)
		return umbra_oom(err);
	for (i = 0; i < n; i++, p += EXTENT) {
		e = &pool->extents[i];
		*e = (struct umbra_pool_extent){umbra_le64(p), umbra_le64(p + 8),
						umbra_le64(p + 16)};
		if (e->length == 0 || e->length > INT64_MAX || e->physical > INT64_MAX ||
		    e->logical != (i ? e[-1].logical + e[-1].length : 0) || e->logical > INT64_MAX)
			return damaged(err, "the extents of its file do not follow each other");
	}
	pool->n_extents = n;
	return 0;
}

static int get_copies(struct umbra_pool *pool, const char *p, uint32_t n, struct umbra_error *err)
{
	struct umbra_pool_copy *c;
	uint32_t i, flags;

	for (i = 0; i < n; i++, p += COPY) {
		c = &pool->copies[i];
		memcpy(c->id.s, p, UMBRA_ID_LEN);
		c->id.s[UMBRA_ID_LEN] = '\0';
		c->state = (enum umbra_pool_state)umbra_le32(p + ID_ROOM);
		c->record = umbra_le32(p + ID_ROOM + 4);
		c->n_stores = umbra_le32(p + ID_ROOM + 8);
		flags = umbra_le32(p + ID_ROOM + 12);
		if (flags & ~COPY_REVERTING)
			return damaged(err, "a shadow copy has unknown flags");
		c->reverting = flags & COPY_REVERTING;
	}
	pool->n_copies = n;
	return 0;
}

/* Marks n segments from first on, which must be free; to list too unless it is NULL. */
static int get_run(struct umbra_pool *pool, const char *p, enum umbra_segment_use use,
		   struct umbra_segments *list, struct umbra_error *err)
{
	const uint32_t first = umbra_le32(p), n = umbra_le32(p + 4);
	uint32_t i;

	if (n == 0 || first >= pool->map.n || n > pool->map.n - first)
		return damaged(err, "segments beyond the end");
	if (list && umbra_segments_reserve(list, n) < 0)
		return umbra_oom(err);
	for (i = first; i < first + n; i++) {
		if (pool->map.use[i] != UMBRA_SEGMENT_FREE)
			return damaged(err, "a segment is used twice");
		pool->map.use[i] = (uint8_t)use;
		if (list)
			umbra_segments_push(list, i);
	}
	return 0;
}

static int get_stores(struct umbra_pool *pool, const char *p, const struct counts *c,
		      struct umbra_error *err)
{
	const char *run = p + (size_t)c->stores * STORE;
	uint32_t i, j, n, runs = c->runs;
	struct umbra_pool_store *s;
	int r;

	pool->stores = calloc(c->stores + 1, sizeof(*pool->stores));
	if (!pool->stores)
		return umbra_oom(err);
	pool->n_stores = pool->stores_room = c->stores;
	for (i = 0; i < c->stores; i++, p += STORE) {
		s = &pool->stores[i];
		s->number = umbra_le64(p);
		s->used = umbra_le64(p + 8);
		s->sealed = s->used > 0;
		n = umbra_le32(p + 16);
		if (n > runs)
			return damaged(err, "an exception store has segments that are not there");
		runs -= n;
		for (j = 0; j < n; j++, run += RUN) {
			r = get_run(pool, run, UMBRA_SEGMENT_OWNED, &s->segments, err);
			if (r < 0)
				return r;
		}
	}
	return runs ? damaged(err, "segments belong to no exception store") : 0;
}

static int get_all(struct umbra_pool *pool, const char *p, const struct counts *c,
		   struct umbra_error *err)
{
	uint32_t i;
	int r;

	r = get_extents(pool, p, c->extents, err);
	if (r < 0)
		return r;
	p += (size_t)c->extents * EXTENT;
	r = get_copies(pool, p, c->copies, err);
	if (r < 0)
		return r;
	p += (size_t)c->copies * COPY;
	r = get_stores(pool, p, c, err);
	if (r < 0)
		return r;
	p += (size_t)c->stores * STORE + (size_t)c->runs * RUN;
	for (i = 0; i < c->pending && r == 0; i++, p += RUN)
		r = get_run(pool, p, UMBRA_SEGMENT_PENDING, NULL, err);
	return r < 0 ? r : umbra_pool_check(pool, err);
}

int umbra_pool_decode(const void *data, size_t len, struct umbra_pool **out,
		      struct umbra_error *err)
{
	_cleanup_pool_ struct umbra_pool *pool = NULL;
	struct counts c;
	int r;

	r = check_frame(data, len, err);
	if (r == 0)
		r = get_counts(data, &c, err);
	if (r == 0)
		r = get_header(data, &pool, err);
	if (r == 0)
		r = get_all(pool, (const char *)data + HEADER, &c, err);
	if (r == 0)
		*out = TAKE_PTR(pool);
	return r;
}

static int slot(const void *data, size_t len, struct umbra_pool **out, struct umbra_error *err)
{
	return data ? umbra_pool_decode(data, len, out, err) : damaged(err, "it cannot be read");
}

/* Are the superblocks in the two slots the same? Both were found good. */
static bool same(const void *a, const void *b)
{
	const uint64_t length = umbra_le64((const char *)a + AT_LENGTH);

	return umbra_le64((const char *)b + AT_LENGTH) == length && memcmp(a, b, length) == 0;
}

int umbra_pool_load(const void *a, size_t a_len, const void *b, size_t b_len,
		    struct umbra_pool **out, struct umbra_error *err)
{
	_cleanup_pool_ struct umbra_pool *pa = NULL, *pb = NULL;
	struct umbra_error why;
	const int rb = slot(b, b_len, &pb, NULL), ra = slot(a, a_len, &pa, &why);

	if (ra == -ENOMEM || rb == -ENOMEM)
		return umbra_oom(err);
	if (ra < 0 && rb < 0)
		return umbra_fail(err, why.code, ra, "%s", why.text);
	if (ra == 0 && rb == 0) {
		if (same(a, b)) {
			*out = TAKE_PTR(pa);
			return 0;
		}
		if (strcmp(pa->area.s, pb->area.s) != 0 || pa->generation == pb->generation)
			return damaged(err, "its two copies contradict each other");
	}
	if (ra < 0 || (rb == 0 && pb->generation > pa->generation))
		*out = TAKE_PTR(pb);
	else
		*out = TAKE_PTR(pa);
	return UMBRA_POOL_TORN;
}
