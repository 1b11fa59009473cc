/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A volume's pool, from and to the superblocks of its diff area. */
#include <stdlib.h>
#include <string.h>

#include "common/fault.h"
#include "snapshot/provider/dm/pool/pool_disk.h"
#include "snapshot/provider/dm/volume/protected.h"

/* One of the two superblocks, encoded; len 0: nothing that could be one. */
struct slot {
	void *data;
	size_t len;
	int r; /* reading it failed, with this error */
	struct umbra_error why;
};

static void finish_slot(struct slot *slot)
{
	free(slot->data);
}

static void read_slot(const struct umbra_protected *p, uint64_t at, struct slot *out)
{
	char *block = out->data = malloc(UMBRA_POOL_SLOT_BYTES);
	size_t n = 0;

	out->r = block ? umbra_area_read(p->area, at, block, UMBRA_POOL_BLOCK, &out->why)
		       : umbra_oom(&out->why);
	if (out->r == 0)
		n = umbra_pool_encoded_length(block);
	if (n > UMBRA_POOL_SLOT_BYTES)
		n = 0;
	if (n > UMBRA_POOL_BLOCK)
		out->r = umbra_area_read(p->area, at + UMBRA_POOL_BLOCK, block + UMBRA_POOL_BLOCK,
					 n - UMBRA_POOL_BLOCK, &out->why);
	out->len = out->r < 0 ? 0 : n;
}

static int write_slots(struct umbra_protected *p, const struct umbra_pool *pool,
		       struct umbra_error *err)
{
	static const uint64_t slots[] = {UMBRA_POOL_SLOT_A, UMBRA_POOL_SLOT_B};
	_cleanup_free_ void *data = NULL;
	size_t len, i;
	int r = umbra_pool_encode(pool, &data, &len, err);

	if (r == 0 && !p->flushed)
		r = umbra_area_flush(p->area, err);
	if (r == 0)
		p->flushed = true;
	for (i = 0; r == 0 && i < UMBRA_ARRAY_SIZE(slots); i++) {
		r = umbra_area_write(p->area, slots[i], data, len, err);
		if (r == 0)
			r = umbra_fault_fail("dm.superblock", err);
		if (r == 0)
			r = umbra_area_flush(p->area, err);
	}
	return r;
}

/* One superblock is enough to go by, but not beside an older one that could come to count. */
static int make_whole(struct umbra_protected *p, bool unreadable, struct umbra_error *err)
{
	struct umbra_error why = {0};
	int r = write_slots(p, p->pool, &why);

	if (r == 0)
		umbra_pool_written(p->pool);
	if (r == 0 || unreadable)
		return 0;
	return umbra_fail(err, why.code, r, "%s", why.text);
}

int umbra_protected_mend(struct umbra_protected *p, struct umbra_error *err)
{
	int r = p->torn ? make_whole(p, p->unreadable, err) : 0;

	p->torn = p->torn && r < 0;
	return r;
}

static int check_pool(const struct umbra_protected *p, const struct umbra_pool *pool,
		      struct umbra_error *err)
{
	if (strcmp(pool->area.s, p->kernel.area.s) != 0)
		return umbra_fail(err, UMBRA_E_DAMAGED, EBADMSG,
				  "where diff area %s was there is %s now", p->kernel.area.s,
				  pool->area.s);
	if (pool->geometry.chunk_sectors != UMBRA_DM_CHUNK_SECTORS)
		return umbra_fail(err, UMBRA_E_DAMAGED, EBADMSG,
				  "diff area %s has chunks of %u sectors, which no umbra makes",
				  p->kernel.area.s, pool->geometry.chunk_sectors);
	if (umbra_pool_end(pool) > umbra_area_sectors(p->area))
		return umbra_fail(err, UMBRA_E_DAMAGED, EBADMSG,
				  "diff area %s is smaller than what it had: its record is an old "
				  "one (in the initramfs: run 'update-initramfs -u')",
				  p->kernel.area.s);
	return 0;
}

int umbra_protected_load(struct umbra_protected *p, struct umbra_error *err)
{
	_cleanup_pool_ struct umbra_pool *pool = NULL;
	_cleanup_(finish_slot) struct slot a = {0};
	_cleanup_(finish_slot) struct slot b = {0};
	const struct slot *bad;
	int r, torn;

	read_slot(p, UMBRA_POOL_SLOT_A, &a);
	read_slot(p, UMBRA_POOL_SLOT_B, &b);
	bad = a.r < 0 ? &a : b.r < 0 ? &b : NULL;
	torn = umbra_pool_load(a.len ? a.data : NULL, a.len, b.len ? b.data : NULL, b.len, &pool,
			       err);
	if (torn < 0 && bad)
		return umbra_fail(err, bad->why.code, bad->r, "%s", bad->why.text);
	r = torn < 0 ? umbra_wrap(err, torn, "diff area %s", p->kernel.area.s)
		     : check_pool(p, pool, err);
	if (r < 0)
		return r;
	umbra_pool_free(p->pool);
	p->pool = TAKE_PTR(pool);
	p->torn = torn == UMBRA_POOL_TORN;
	p->unreadable = bad != NULL;
	return umbra_area_certain(p->area) || p->in || p->asleep ? umbra_protected_mend(p, err) : 0;
}

int umbra_protected_begin(const struct umbra_protected *p, struct umbra_pool **next,
			  struct umbra_error *err)
{
	return umbra_pool_dup(p->pool, next, err);
}

int umbra_protected_write(struct umbra_protected *p, struct umbra_pool **next,
			  struct umbra_error *err)
{
	_cleanup_pool_ struct umbra_pool *pool = TAKE_PTR(*next);
	int r = p->adrift ? 0 : write_slots(p, pool, err);

	if (r < 0) {
		umbra_protected_load(p, NULL); /* which of the two is there is not known */
		return umbra_wrap(err, r, "diff area %s", p->kernel.area.s);
	}
	umbra_pool_written(pool);
	umbra_pool_free(p->pool);
	p->pool = TAKE_PTR(pool);
	return 0;
}
