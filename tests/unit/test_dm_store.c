/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/provider/dm/pool/store.h"

#include <criterion/criterion.h>
#include <string.h>

#include "dm_model/kernel.h"
#include "snapshot/provider/dm/pool/le.h"

#define ORIGIN 5000U

TestSuite(dm_store, .timeout = 60);

/* A store in memory. */
struct memory {
	char *data;
	uint64_t chunks;
	size_t size; /* of a chunk */
	uint64_t reads;
	int fail;
};

static bool memory_read(void *arg, uint64_t chunk, void *buf)
{
	struct memory *m = arg;

	if (chunk >= m->chunks)
		return false;
	memcpy(buf, m->data + chunk * m->size, m->size);
	return true;
}

static bool memory_write(void *arg, uint64_t chunk, const void *buf, bool fua)
{
	struct memory *m = arg;

	(void)fua;
	if (chunk >= m->chunks)
		return false;
	memcpy(m->data + chunk * m->size, buf, m->size);
	return true;
}

static uint64_t memory_chunks(void *arg)
{
	return ((struct memory *)arg)->chunks;
}

static int read_chunk(void *arg, uint64_t chunk, void *buf, struct umbra_error *err)
{
	struct memory *m = arg;

	m->reads++;
	if (m->fail)
		return umbra_fail_errno(err, m->fail, "reading chunk %llu",
					(unsigned long long)chunk);
	cr_assert(memory_read(m, chunk, buf), "chunk %llu", (unsigned long long)chunk);
	return 0;
}

static void make(struct memory *m, uint32_t chunk_sectors, uint64_t chunks)
{
	memset(m, 0, sizeof(*m));
	m->size = (size_t)chunk_sectors * UMBRA_DM_SECTOR;
	m->chunks = chunks;
	m->data = calloc(chunks, m->size);
	cr_assert_not_null(m->data);
}

static int parse(struct memory *m, struct umbra_exceptions *out, uint64_t *used,
		 struct umbra_error *err)
{
	const struct umbra_dm_store_shape shape = {
		.chunk_sectors = (uint32_t)(m->size / UMBRA_DM_SECTOR),
		.chunks = m->chunks,
		.origin_chunks = ORIGIN,
	};

	return umbra_dm_store_read(&shape, read_chunk, m, out, used, err);
}

static void put(struct memory *m, uint64_t i, uint64_t old, uint64_t new)
{
	const uint64_t epa = m->size / 16;

	umbra_dm_put_exception(m->data + umbra_dm_area_at(epa, i / epa) * m->size, i % epa, old,
			       new);
}

/* Writes that come several at a time and end in another order than they began in. */
static void write_some(struct dm_snap *s, unsigned int *seed)
{
	uint64_t old[16], new[16];
	int i, j, n = 0, want = 1 + rand_r(seed) % 16;

	while (n < want) {
		old[n] = (uint64_t)rand_r(seed) % ORIGIN;
		for (j = 0; j < n && old[j] != old[n];)
			j++;
		if (j < n || s->map[old[n]]) {
			want--;
			continue;
		}
		new[n] = dm_snap_allocate(s);
		if (new[n] == 0)
			break;
		n++;
	}
	for (; n > 0; n--) {
		i = rand_r(seed) % n;
		dm_snap_commit(s, old[i], new[i]);
		old[i] = old[n - 1];
		new[i] = new[n - 1];
	}
}

/* 0 to some areas of exceptions; the end of an area in particular. */
static void compare_with_kernel(uint32_t chunk_sectors, unsigned int seed, uint64_t limit)
{
	_cleanup_exceptions_ struct umbra_exceptions list = {0};
	struct dm_snap *s;
	struct memory m;
	uint64_t i, used, n = 0, end = 0;
	struct umbra_error err;

	make(&m, chunk_sectors, 1200);
	s = dm_snap_load(&(struct dm_cow){&m, memory_read, memory_write, memory_chunks},
			 chunk_sectors, ORIGIN);
	while (s->area_number * s->epa + s->committed < limit)
		write_some(s, &seed);
	cr_assert_eq(parse(&m, &list, &used, &err), 0, "%s", err.text);
	for (i = 0; i < ORIGIN; i++) {
		if (!s->map[i])
			continue;
		cr_assert_lt(n, list.n);
		cr_assert_eq(list.e[n].old, i);
		cr_assert_eq(list.e[n].new, s->map[i]);
		end = s->map[i] >= end ? s->map[i] + 1 : end;
		n++;
	}
	cr_assert_eq(list.n, n);
	if (n > 0 && umbra_dm_area_at(s->epa, s->area_number) >= end)
		end = umbra_dm_area_at(s->epa, s->area_number) + 1;
	cr_assert_eq(used, end);
	cr_assert_eq(m.reads, n ? s->area_number + 2 : 2);
	dm_snap_free(s);
	free(m.data);
}

Test(dm_store, what_the_kernel_writes_is_read)
{
	unsigned int seed;

	for (seed = 1; seed <= 200; seed++) {
		compare_with_kernel(1, seed, seed * 5 % 1000);
		compare_with_kernel(4, seed, seed * 7 % 900);
	}
	for (seed = 28; seed < 36; seed++) {
		compare_with_kernel(1, seed, seed);
		compare_with_kernel(2, seed, seed + 32);
	}
	compare_with_kernel(32, 1, 1023);
	compare_with_kernel(32, 2, 1024);
}

Test(dm_store, what_the_writer_makes_the_kernel_reads)
{
	const uint64_t epa = umbra_dm_epa(1);
	struct dm_snap *s;
	struct memory m;
	uint64_t n, i;

	for (n = 0; n < 100; n++) {
		make(&m, 1, umbra_dm_store_chunks(epa, n));
		memset(m.data, 0xee, m.chunks * m.size);
		for (i = 0; i < n; i++)
			cr_assert_not(umbra_dm_is_metadata(epa, umbra_dm_data_at(epa, i)));
		umbra_dm_header(1, m.data);
		for (i = 0; i + 1 < umbra_dm_metadata_chunks(epa, n); i++)
			memset(m.data + umbra_dm_metadata_at(epa, i + 1) * m.size, 0, m.size);
		for (i = 0; i < n; i++)
			put(&m, i, i * 7, umbra_dm_data_at(epa, i));
		s = dm_snap_load(&(struct dm_cow){&m, memory_read, memory_write, memory_chunks}, 1,
				 ORIGIN);
		cr_assert(s->valid);
		cr_assert_eq(s->area_number * s->epa + s->committed, n);
		for (i = 0; i < n; i++)
			cr_assert_eq(s->map[i * 7], umbra_dm_data_at(epa, i));
		cr_assert_eq(umbra_dm_data_at(epa, n), s->next_free);
		dm_snap_free(s);
		free(m.data);
	}
}

Test(dm_store, one_that_was_never_written_is_empty)
{
	_cleanup_exceptions_ struct umbra_exceptions list = {0};
	uint64_t used = 7;
	struct memory m;

	make(&m, 1, 100);
	memset(m.data + m.size, 0xff, 99 * m.size);
	cr_assert_eq(parse(&m, &list, &used, NULL), 0);
	cr_assert_eq(list.n, 0);
	cr_assert_eq(used, 0);
	free(m.data);
}

static void refused(struct memory *m, const char *word)
{
	struct umbra_exceptions list = {0};
	struct umbra_error err;
	uint64_t used;

	cr_assert_eq(parse(m, &list, &used, &err), -EBADMSG);
	cr_assert_eq(err.code, UMBRA_E_DAMAGED);
	cr_assert_not_null(strstr(err.text, word), "%s", err.text);
	cr_assert_null(list.e);
}

Test(dm_store, what_the_kernel_cannot_have_written_is_refused)
{
	struct memory m;
	uint64_t i;

	make(&m, 1, 100);
	umbra_put_le32(m.data, 1);
	refused(&m, "no header");
	umbra_dm_header(1, m.data);
	umbra_put_le32(m.data + 8, 2);
	refused(&m, "version");
	umbra_dm_header(2, m.data);
	memset(m.data + m.size, 0, m.size);
	refused(&m, "size of chunks");
	umbra_dm_header(1, m.data);
	umbra_put_le32(m.data + 4, 0);
	refused(&m, "gave up");
	umbra_dm_header(1, m.data);
	put(&m, 0, ORIGIN, 2);
	refused(&m, "end of the volume");
	put(&m, 0, UINT64_MAX, 2);
	refused(&m, "end of the volume");
	put(&m, 0, 0, 100);
	refused(&m, "its own end");
	put(&m, 0, 0, UINT64_MAX);
	refused(&m, "its own end");
	put(&m, 0, 0, 1);
	refused(&m, "place of an area");
	put(&m, 0, 0, 34);
	refused(&m, "place of an area");
	put(&m, 0, 0, 2);
	put(&m, 1, 1, 2);
	refused(&m, "two exceptions in one chunk");
	put(&m, 1, 0, 3);
	refused(&m, "two exceptions for one chunk");
	for (i = 0; i < 96; i++)
		put(&m, i, i, umbra_dm_data_at(32, i));
	refused(&m, "no end");
	free(m.data);
}

Test(dm_store, a_device_that_fails_says_so_itself)
{
	struct umbra_exceptions list = {0};
	struct umbra_error err;
	struct memory m;
	uint64_t used;

	make(&m, 1, 100);
	m.fail = EIO;
	cr_assert_eq(parse(&m, &list, &used, &err), -EIO);
	cr_assert_eq(err.code, UMBRA_E_IO);
	cr_assert_null(list.e);
	free(m.data);
}

Test(dm_store, sorting_keeps_the_order_of_equals)
{
	_cleanup_exceptions_ struct umbra_exceptions list = {0};
	unsigned int seed = 5;
	uint64_t i, old;

	for (i = 0; i < 10000; i++) {
		old = (uint64_t)rand_r(&seed) % 100 << (rand_r(&seed) % 8 * 8);
		umbra_exceptions_add(&list, old, i);
	}
	cr_assert_eq(umbra_exceptions_sort(&list), 0);
	for (i = 1; i < list.n; i++)
		cr_assert(
			list.e[i - 1].old < list.e[i].old ||
			(list.e[i - 1].old == list.e[i].old && list.e[i - 1].new < list.e[i].new));
	umbra_exceptions_unique(&list);
	for (i = 1; i < list.n; i++)
		cr_assert_lt(list.e[i - 1].old, list.e[i].old);
}
