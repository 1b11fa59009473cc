/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/provider/dm/storage/preserve.h"

#include <fcntl.h>
#include <string.h>

#include "common/fault.h"
#include "common/log.h"
#include "snapshot/provider/dm/parts.h"
#include "snapshot/provider/dm/volume/gauge.h"
#include "snapshot/provider/dm/volume/record.h"
#include "snapshot/provider/dm/volume/space.h"
#include "snapshot/sys/fixed.h"
#include "snapshot/sys/unused.h"

/* What is new in the area, one byte for each block of it. */
struct needs {
	const struct umbra_area *area;
	uint64_t from;
	size_t block; /* bytes: no extent begins or ends within one */
	size_t n;
	uint8_t *needed; /* by any copy */
	uint8_t *spare;  /* of the one that is looked at */
	uint64_t at;     /* of the piece that is looked at: on the volume, */
	size_t first;    /* and its first block */
};

static void finish_needs(struct needs *n)
{
	free(n->needed);
	free(n->spare);
}

/* Blocks that are free in part are not. */
static void note_free(void *arg, uint64_t at, uint64_t length)
{
	struct needs *n = arg;
	size_t i = n->first + (size_t)((at - n->at + n->block - 1) / n->block);
	const size_t end = n->first + (size_t)((at + length - n->at) / n->block);

	for (; i < end; i++)
		n->spare[i] = 1;
}

/* At most UMBRA_AREA_BLOCK; the filesystem's may be smaller. */
static size_t block_of(const struct umbra_area *a, uint64_t from)
{
	const uint64_t end = umbra_area_sectors(a) * UMBRA_DM_SECTOR;
	size_t block = UMBRA_AREA_BLOCK, len;
	uint64_t at;

	for (; from < end; from += len) {
		len = (size_t)(end - from);
		at = umbra_area_locate(a, from, &len);
		while (at % block || len % block)
			block /= 2;
	}
	return block;
}

/* What a copy has of the area itself is of no use to anybody. */
struct own {
	struct umbra_fixed_extent *extents;
	size_t n;
};

static void finish_own(struct own *own)
{
	free(own->extents);
}

/* One that is not immutable may be anybody's. */
static void find_own(int root, struct own *own)
{
	_cleanup_close_ int dir =
		openat(root, UMBRA_AREA_DIR, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	_cleanup_close_ int fd = dir < 0 ? -1
					 : openat(dir, UMBRA_AREA_NAME,
						  O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

	if (fd >= 0 && umbra_fixed_is(fd) == 1)
		umbra_fixed_extents(fd, &own->extents, &own->n, NULL);
}

static void note_own(struct needs *n, const struct own *own, uint64_t length)
{
	const struct umbra_fixed_extent *e;
	uint64_t first, end;

	for (e = own->extents; e < own->extents + own->n; e++) {
		first = e->physical > n->at ? e->physical : n->at;
		end = e->physical + e->length;
		if (end > n->at + length)
			end = n->at + length;
		if (first < end)
			note_free(n, first, end - first);
	}
}

static int look_at(struct needs *n, int root)
{
	_cleanup_(finish_own) struct own own = {0};
	size_t len, i;
	int r = 0;

	find_own(root, &own);
	memset(n->spare, 0, n->n);
	for (i = 0; r == 0 && i < n->n; i += len / n->block) {
		len = (n->n - i) * n->block;
		n->at = umbra_area_locate(n->area, n->from + i * n->block, &len);
		n->first = i;
		r = umbra_unused_each(root, n->at, len, note_free, n);
		note_own(n, &own, len);
	}
	for (i = 0; i < n->n; i++)
		n->needed[i] |= !n->spare[i];
	return r;
}

/* One that cannot be looked at needs everything. */
static void look_at_copy(int state_fd, struct needs *n, json_t *record, const char *id)
{
	struct umbra_shadow shadow = {
		.data = json_object_get(json_object_get(record, "shadow"), "data")};
	struct umbra_root *root = NULL;
	struct umbra_error why = {0};
	int r;

	snprintf(shadow.id.s, sizeof(shadow.id.s), "%s", id);
	r = shadow.data ? umbra_dm_open_shadow(state_fd, &shadow, &root, &why) : -EBADMSG;
	if (r == -ENOENT)
		return; /* deleted by now */
	if (r == 0) {
		r = look_at(n, root->fd);
		root->close(root);
	}
	if (r < 0) {
		umbra_log_debug("shadow copy %s does not say which blocks it uses: %s", id,
				why.text[0] ? why.text : strerror(-r));
		memset(n->needed, 1, n->n);
	}
}

/* [[id, record]…] of the copies that there are. */
static int list_copies(const struct umbra_protected *p, json_t *out, struct umbra_error *err)
{
	const struct umbra_pool_copy *c;
	json_t *record;
	uint32_t i;

	for (i = 0; i < p->pool->n_copies; i++) {
		c = &p->pool->copies[i];
		if (c->state != UMBRA_POOL_KEPT)
			continue;
		record = NULL;
		if (umbra_dm_record_read(p, c, &record, NULL) == -ENOMEM)
			return umbra_oom(err);
		if (json_array_append_new(out, json_pack("[s,o?]", c->id.s, record)) < 0)
			return umbra_oom(err);
	}
	return 0;
}

static size_t run_of(const struct needs *n, size_t i, size_t len)
{
	size_t j = i;

	while (j < n->n && j - i < len && n->needed[j])
		j++;
	return j - i;
}

/* Chunks of the volume that have one of them in it. */
static uint64_t count_chunks(const struct needs *n)
{
	const uint64_t chunk = UMBRA_DM_CHUNK_SECTORS * UMBRA_DM_SECTOR;
	uint64_t at, count = 0;
	size_t i, blocks, len;

	for (i = 0; i < n->n; i += blocks) {
		len = (n->n - i) * n->block;
		at = umbra_area_locate(n->area, n->from + i * n->block, &len);
		blocks = run_of(n, i, len / n->block);
		if (blocks > 0)
			count += (at + blocks * n->block - 1) / chunk - at / chunk + 1;
		else
			blocks = 1;
	}
	return count;
}

static int check_room(int state_fd, const struct needs *n, uint64_t chunks, struct umbra_error *err)
{
	_cleanup_protected_ struct umbra_protected *p = NULL;
	struct umbra_gauge gauge;
	uint64_t low, room;
	int r = umbra_protected_open_area(state_fd, umbra_area_id(n->area)->s,
					  UMBRA_PROTECTED_WAIT_MS, &p, err);

	if (r == 0)
		r = umbra_gauge_read(p, &gauge, err);
	if (r < 0)
		return r;
	low = umbra_space_low_water(p->pool);
	room = gauge.total > low ? (gauge.total - low) * p->pool->geometry.segment_chunks : 0;
	if (chunks + chunks / umbra_dm_epa(UMBRA_DM_CHUNK_SECTORS) + 2 <= room)
		return 0;
	return umbra_fail(
		err, UMBRA_E_NO_SPACE, ENOSPC,
		"of the %llu MiB that the diff area '%s' would get, shadow copies still need %llu "
		"MiB: they would have to be kept in it first, and it has room for %llu MiB; delete "
		"the oldest shadow copies, or ask for less",
		(unsigned long long)n->n * n->block >> 20, umbra_area_place(n->area),
		((unsigned long long)chunks * UMBRA_DM_CHUNK_SECTORS * UMBRA_DM_SECTOR >> 20) + 1,
		(unsigned long long)room * UMBRA_DM_CHUNK_SECTORS * UMBRA_DM_SECTOR >> 20);
}

static int keep(const struct needs *n, struct umbra_error *err)
{
	size_t i, blocks;
	int r = 0;

	for (i = 0; r == 0 && i < n->n; i += blocks) {
		blocks = run_of(n, i, n->n);
		if (blocks == 0) {
			blocks = 1;
			continue;
		}
		r = umbra_area_overwrite(n->area, n->from + i * n->block, blocks * n->block, err);
		if (r == 0)
			r = umbra_fault_fail("dm.resize-keeping", err);
	}
	return r;
}

int umbra_dm_preserve(int state_fd, const struct umbra_area *a, uint64_t from,
		      struct umbra_error *err)
{
	_cleanup_(finish_needs) struct needs n = {
		.area = a, .from = from, .block = block_of(a, from)};
	_cleanup_protected_ struct umbra_protected *p = NULL;
	_cleanup_json_ json_t *copies = json_array();
	const json_t *copy;
	uint64_t chunks;
	size_t i;
	int r = umbra_protected_open_area(state_fd, umbra_area_id(a)->s, UMBRA_PROTECTED_WAIT_MS,
					  &p, err);

	if (r < 0)
		return r;
	n.n = (size_t)((umbra_area_sectors(a) * UMBRA_DM_SECTOR - from) / n.block);
	n.needed = calloc(n.n + 1, 1);
	n.spare = malloc(n.n + 1);
	if (!copies || !n.needed || !n.spare)
		return umbra_oom(err);
	r = list_copies(p, copies, err);
	p = umbra_protected_close(p);
	json_array_foreach (copies, i, copy)
		look_at_copy(state_fd, &n, json_array_get(copy, 1),
			     json_string_value(json_array_get(copy, 0)));
	chunks = r == 0 ? count_chunks(&n) : 0;
	if (r == 0 && chunks > 0)
		r = check_room(state_fd, &n, chunks, err);
	return r < 0 ? r : keep(&n, err);
}
