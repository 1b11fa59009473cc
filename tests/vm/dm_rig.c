/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "dm_rig.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define AREA_MIB 48
#define PIECE    ((size_t)256 << 10)

static struct umbra_error err;

#define ok(call) cr_assert_eq(call, 0, "%s", err.text)

/* One word changed changes it, whichever. */
static uint64_t sum(const unsigned char *block)
{
	const uint64_t *p = (const uint64_t *)(const void *)block;
	uint64_t sum = 0xcbf29ce484222325;
	size_t i;

	for (i = 0; i < RIG_BLOCK / sizeof(*p); i++)
		sum = (sum ^ p[i]) * 0x100000001b3;
	return sum;
}

bool rig_has_sums(const unsigned char *bytes, size_t n, const uint64_t *sums)
{
	size_t i;

	for (i = 0; i < n / RIG_BLOCK; i++)
		if (sum(bytes + i * RIG_BLOCK) != sums[i])
			return false;
	return true;
}

/* Always the same small piece of memory: what takes the guest's time is a page that is new. */
static const unsigned char *read_piece(int fd, size_t at)
{
	static unsigned char piece[PIECE] __attribute__((aligned(RIG_BLOCK)));

	cr_assert_eq(pread(fd, piece, PIECE, (off_t)at), (ssize_t)PIECE);
	return piece;
}

static uint64_t *read_sums(int fd)
{
	uint64_t *sums = calloc(RIG_BYTES / RIG_BLOCK, sizeof(*sums));
	const unsigned char *piece;
	size_t at, i;

	cr_assert_not_null(sums);
	for (at = 0; at < RIG_BYTES; at += PIECE) {
		piece = read_piece(fd, at);
		for (i = 0; i < PIECE; i += RIG_BLOCK)
			sums[(at + i) / RIG_BLOCK] = sum(piece + i);
	}
	return sums;
}

void rig_begin(struct rig *rig)
{
	struct umbra_area_request request = {.place = lab_path("area.dev")};
	struct umbra_pool_geometry g;
	struct umbra_protected *p = &rig->p;

	memset(rig, 0, sizeof(*rig));
	p->lock_fd = -1;
	p->layer.origin = request.origin = dm_lab_linear("lab-x", RIG_BYTES >> 20);
	dm_lab_disk("area", AREA_MIB);
	ok(umbra_area_create(&request, &p->area, &err));
	p->layer.area = p->kernel.area = *umbra_area_id(p->area);
	lab_run("mkdir run");
	p->run_dir = p->layer.run_dir = open(lab_path("run"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	p->kernel.sectors = RIG_BYTES / 512;
	ok(umbra_pool_geometry(umbra_area_sectors(p->area), UMBRA_DM_CHUNK_SECTORS, &g, &err));
	ok(umbra_pool_new(&g, &p->kernel.area, "lab-x", &p->pool, &err));
	ok(umbra_protected_enter(p, &err));
	ok(umbra_dm_control_open(&rig->control, &err));
	ok(umbra_dm_device_lookup(rig->control, major(p->layer.origin), minor(p->layer.origin),
				  &rig->origin, &err));
	rig->volume = umbra_dm_open(p->layer.origin, O_RDWR | O_DIRECT, &err);
	cr_assert_geq(rig->volume, 0, "%s", err.text);
	srandom(1);
	rig_write(rig, 2 * RIG_CHUNKS);
}

void rig_end(struct rig *rig)
{
	if (!rig->p.area)
		return;
	while (rig->n > 0)
		free(rig->copies[--rig->n].sums);
	close(rig->control);
	close(rig->volume);
	close(rig->p.run_dir);
	umbra_area_close(rig->p.area);
	umbra_pool_free(rig->p.pool);
}

void rig_write(struct rig *rig, unsigned int n)
{
	static unsigned char block[RIG_BLOCK] __attribute__((aligned(RIG_BLOCK)));
	unsigned int i, j;

	for (i = 0; i < n; i++) {
		for (j = 0; j < RIG_BLOCK; j += 16)
			memset(block + j, (int)random(), 16);
		cr_assert_eq(pwrite(rig->volume, block, RIG_BLOCK,
				    random() % (RIG_BYTES / RIG_BLOCK) * RIG_BLOCK),
			     RIG_BLOCK);
	}
}

const struct umbra_pool_store *rig_live(const struct rig *rig)
{
	return umbra_pool_live(rig->p.pool);
}

/* The live store's device ends after its first `keep` segments. */
static void cut(struct rig *rig, uint32_t keep)
{
	cr_assert_eq(umbra_store_device_cut(&rig->p.kernel, rig->p.pool, rig_live(rig), keep, &err),
		     1, "%s", err.text);
}

static uint32_t keep_of(struct rig *rig)
{
	const struct umbra_pool_store *live = rig_live(rig);
	enum umbra_store_state state;
	uint32_t keep;
	uint64_t used;

	if (!live)
		return 0;
	ok(umbra_store_device_state(&rig->p.kernel, live->number, &state, &used, &err));
	keep = umbra_pool_keep(rig->p.pool, used, 0);
	if (keep < live->segments.n)
		cut(rig, keep);
	return keep;
}

static void write_pool(struct rig *rig, struct umbra_pool *next)
{
	ok(umbra_protected_write(&rig->p, &next, &err));
}

dev_t rig_prepare(struct rig *rig)
{
	struct rig_copy *copy = &rig->copies[rig->n];
	uint32_t keep = keep_of(rig);
	struct umbra_pool *next;
	uint64_t at;
	dev_t snap;

	cr_assert_lt(rig->n, UMBRA_ARRAY_SIZE(rig->copies));
	umbra_id_new(&copy->id);
	ok(umbra_protected_begin(&rig->p, &next, &err));
	ok(umbra_pool_prepare(next, &copy->id, keep, &err));
	ok(umbra_pool_chunk_at(next, umbra_pool_live(next), 0, &at));
	ok(umbra_area_zero(rig->p.area, at * RIG_CHUNK, 2UL * RIG_CHUNK, &err));
	write_pool(rig, next);
	ok(umbra_store_device_make(&rig->p.kernel, rig->p.pool, rig_live(rig), &snap, &err));
	return snap;
}

void rig_instant(struct rig *rig, dev_t snap)
{
	struct rig_copy *copy = &rig->copies[rig->n++];
	struct umbra_dm_device held;

	ok(umbra_dm_device_lookup(rig->control, major(snap), minor(snap), &held, &err));
	copy->sums = read_sums(rig->volume);
	ok(umbra_dm_hold_suspend(rig->control, &rig->origin, 0));
	ok(umbra_dm_hold_activate(rig->control, &held));
	ok(umbra_dm_hold_resume(rig->control, &rig->origin));
}

void rig_finish(struct rig *rig)
{
	struct umbra_pool *next;

	ok(umbra_protected_begin(&rig->p, &next, &err));
	ok(umbra_pool_commit(next, &rig->copies[rig->n - 1].id, &err));
	write_pool(rig, next);
	ok(umbra_protected_settle(&rig->p, &err));
	rig_grant_all(rig);
}

void rig_create(struct rig *rig)
{
	rig_instant(rig, rig_prepare(rig));
	rig_finish(rig);
}

void rig_record_grant(struct rig *rig, uint32_t n)
{
	struct umbra_pool *next;
	uint32_t granted;

	ok(umbra_protected_begin(&rig->p, &next, &err));
	ok(umbra_pool_grant(next, rig_live(rig)->number, n, &granted, &err));
	write_pool(rig, next);
}

void rig_grant(struct rig *rig, uint32_t n)
{
	rig_record_grant(rig, n);
	ok(umbra_store_device_grant(&rig->p.kernel, rig->p.pool, rig_live(rig), &err));
}

void rig_grant_all(struct rig *rig)
{
	if (umbra_pool_free_segments(rig->p.pool) > 0)
		rig_grant(rig, UINT32_MAX);
}

void rig_shrink(struct rig *rig, uint32_t keep)
{
	struct umbra_pool *next;

	cut(rig, keep);
	ok(umbra_protected_begin(&rig->p, &next, &err));
	ok(umbra_pool_shrink(next, keep, &err));
	write_pool(rig, next);
}

bool rig_same(dev_t dev, const uint64_t *sums)
{
	int fd = umbra_dm_open(dev, O_RDONLY | O_DIRECT, &err);
	bool same = true;
	size_t at;

	cr_assert_geq(fd, 0, "%s", err.text);
	for (at = 0; at < RIG_BYTES && same; at += PIECE)
		same = rig_has_sums(read_piece(fd, at), PIECE, sums + at / RIG_BLOCK);
	close(fd);
	return same;
}

dev_t rig_view(struct rig *rig, size_t copy)
{
	dev_t dev;

	ok(umbra_view_device_make(&rig->p, &rig->copies[copy].id, &dev, &err));
	return dev;
}

bool rig_exact(struct rig *rig, size_t copy)
{
	return rig_same(rig_view(rig, copy), rig->copies[copy].sums);
}
