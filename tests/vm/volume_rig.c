/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "volume_rig.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "snapshot/provider/dm/parts.h"
#include "snapshot/provider/dm/volume/compact_run.h"
#include "snapshot/provider/dm/volume/gauge.h"
#include "snapshot/provider/dm/volume/space.h"
#include "snapshot/provider/dm/volume/view_device.h"

#define SECTOR      ((size_t)512)
#define NAME        "lab-v"
#define WRITE_MAX   128U /* sectors */
#define WRITE_TOUCH (WRITE_MAX / VOLUME_SECTORS_IN_CHUNK + 1)

static struct umbra_error err;
static uint64_t state;

#define ok(call) cr_assert_eq(call, 0, "%s", err.text)

void volume_seed(unsigned int seed)
{
	state = seed * 0x9E3779B97F4A7C15ULL + 1;
}

/* splitmix64 */
unsigned int volume_random(unsigned int below)
{
	uint64_t z = state += 0x9E3779B97F4A7C15ULL;

	z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9ULL;
	z = (z ^ z >> 27) * 0x94D049BB133111EBULL;
	return (unsigned int)((z ^ z >> 31) % below);
}

unsigned char *volume_buffer(void)
{
	void *p = mmap(NULL, VOLUME_PIECE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		       0);

	cr_assert_neq(p, MAP_FAILED);
	return p;
}

/* --- content --- */

/* Each word of a sector says where it is and which write it is of. */
static uint64_t word(uint32_t sector, uint32_t tag)
{
	return (uint64_t)tag << 32 | sector;
}

static void fill(const struct volume_rig *v, uint32_t sector, uint32_t n)
{
	uint64_t *p = (uint64_t *)(void *)v->buffer;
	uint32_t i, k;

	for (i = 0; i < n; i++)
		for (k = 0; k < SECTOR / sizeof(*p); k++)
			*p++ = word(sector + i, v->now[sector + i]);
}

static bool is_sector(const unsigned char *data, uint32_t sector, uint32_t tag)
{
	const uint64_t *p = (const uint64_t *)(const void *)data;
	uint32_t k;

	for (k = 0; k < SECTOR / sizeof(*p); k++)
		if (p[k] != word(sector, tag))
			return false;
	return true;
}

static void write_sectors(struct volume_rig *v, uint32_t sector, uint32_t n)
{
	uint32_t i;

	v->last_tag++;
	for (i = 0; i < n; i++)
		v->now[sector + i] = v->last_tag;
	fill(v, sector, n);
	cr_assert_eq(pwrite(v->fd, v->buffer, n * SECTOR, (off_t)(sector * SECTOR)),
		     (ssize_t)(n * SECTOR));
}

static bool same(const struct volume_rig *v, int fd, const uint32_t *tags, unsigned char *buffer)
{
	uint32_t sector, i, n;

	for (sector = 0; sector < v->sectors; sector += n) {
		n = v->sectors - sector < VOLUME_PIECE / SECTOR ? v->sectors - sector
								: VOLUME_PIECE / SECTOR;
		if (pread(fd, buffer, n * SECTOR, (off_t)(sector * SECTOR)) !=
		    (ssize_t)(n * SECTOR))
			return false;
		for (i = sector ? 0 : VOLUME_SECTORS_IN_CHUNK; i < n; i++)
			if (!is_sector(buffer + i * SECTOR, sector + i, tags[sector + i]))
				return false;
		if (sector == 0 && memcmp(buffer, v->head, VOLUME_SECTORS_IN_CHUNK * SECTOR) != 0)
			return false;
	}
	return true;
}

/* --- setting up --- */

static void attach(struct volume_rig *v)
{
	_cleanup_dm_table_ struct umbra_dm_table t = {0};

	if (v->bring_area)
		v->bring_area(v);
	ok(umbra_dm_table_add(&t, v->sectors, "linear", &err, "%u:%u 0", major(v->disk),
			      minor(v->disk)));
	ok(umbra_dm_create(NAME, "LAB-v", &t, 0, &v->volume.dev, &err));
	v->fd = umbra_dm_open(v->volume.dev, O_RDWR | O_DIRECT, &err);
	cr_assert_geq(v->fd, 0, "%s", err.text);
}

static void set_paths(struct volume_rig *v)
{
	v->volume.path = v->volume.mount = (char *)"/run";
	v->volume.fstype = (char *)"ext4";
	v->volume.source = (char *)"/dev/mapper/" NAME;
	v->volume.root = (char *)"/";
	v->area =
		(struct umbra_storage_request){.volume = &v->volume, .place = lab_path("area.dev")};
	v->origin_fd = open("/run", O_PATH | O_DIRECTORY | O_CLOEXEC); /* quick to write out */
	lab_run("mkdir state");
	v->state_dir = lab_path("state");
	v->state_fd = open(v->state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cr_assert(v->origin_fd >= 0 && v->state_fd >= 0);
}

void volume_begin(struct volume_rig *v, unsigned int mib, unsigned int area_mib)
{
	volume_begin_on(v, mib, area_mib, NULL);
}

void volume_begin_on(struct volume_rig *v, unsigned int mib, unsigned int area_mib,
		     void (*bring_area)(const struct volume_rig *v))
{
	_cleanup_json_ json_t *report = NULL;
	uint32_t sector;

	memset(v, 0, sizeof(*v));
	v->provider = umbra_provider_find("dm");
	v->sectors = mib * 2048;
	v->disk = dm_lab_disk("volume", mib);
	v->area_disk = dm_lab_disk("area", area_mib);
	v->bring_area = bring_area;
	set_paths(v);
	lab_run("mkfs.ext4 -q -F volume.dev");
	attach(v);
	v->buffer = volume_buffer();
	v->head = calloc(VOLUME_SECTORS_IN_CHUNK, SECTOR);
	v->now = calloc(v->sectors, sizeof(*v->now));
	cr_assert_eq(pread(v->fd, v->buffer, VOLUME_PIECE, 0), VOLUME_PIECE);
	memcpy(v->head, v->buffer, (size_t)VOLUME_SECTORS_IN_CHUNK * SECTOR);
	for (sector = VOLUME_SECTORS_IN_CHUNK; sector < v->sectors; sector += WRITE_MAX)
		write_sectors(v, sector,
			      v->sectors - sector < WRITE_MAX ? v->sectors - sector : WRITE_MAX);
	ok(v->provider->storage->add(v->state_fd, v->state_dir, &v->area, &report, &err));
}

void volume_forget(struct volume_rig *v, size_t i)
{
	umbra_close(v->copies[i].view);
	free(v->copies[i].tags);
	umbra_set_free(v->copies[i].set);
	v->n--;
	memmove(&v->copies[i], &v->copies[i + 1], (v->n - i) * sizeof(*v->copies));
}

void volume_end(struct volume_rig *v)
{
	if (!v->provider)
		return;
	while (v->n > 0)
		volume_forget(v, v->n - 1);
	free(v->copies);
	free(v->now);
	free(v->head);
	if (v->buffer)
		munmap(v->buffer, VOLUME_PIECE);
	umbra_close(v->fd);
	umbra_close(v->origin_fd);
	umbra_close(v->state_fd);
}

/* --- writing --- */

struct umbra_protected *volume_protected(const struct volume_rig *v)
{
	struct umbra_protected *p;

	ok(umbra_protected_open_dev(v->state_fd, v->volume.dev, UMBRA_PROTECTED_WAIT_MS, &p, &err));
	return p;
}

static void find_room(struct volume_rig *v)
{
	_cleanup_protected_ struct umbra_protected *p = NULL;
	struct umbra_gauge gauge;

	volume_look_after(v);
	p = volume_protected(v);
	v->room = UINT64_MAX;
	if (!p->in)
		return;
	ok(umbra_gauge_read(p, &gauge, &err));
	if (gauge.store) /* its metadata take some, too */
		v->room = gauge.left * p->pool->geometry.segment_chunks / 2;
}

static bool has_room(struct volume_rig *v, uint64_t chunks)
{
	if (v->room < chunks)
		find_room(v);
	if (v->room < chunks)
		return false;
	v->room -= chunks;
	return true;
}

static void write_once(struct volume_rig *v)
{
	const uint32_t first = VOLUME_SECTORS_IN_CHUNK, end = v->sectors;
	uint32_t n = 1 + volume_random(8), sector;

	if (volume_random(3) == 0)
		n = VOLUME_SECTORS_IN_CHUNK;
	else if (volume_random(8) == 0)
		n = 1 + volume_random(WRITE_MAX);
	/* Half of them in an eighth of it. */
	sector = first + volume_random((volume_random(2) ? end : end / 8) - first - n);
	if (n == VOLUME_SECTORS_IN_CHUNK)
		sector -= sector % n;
	write_sectors(v, sector, n);
}

void volume_write(struct volume_rig *v, unsigned int n)
{
	if (has_room(v, (uint64_t)n * WRITE_TOUCH))
		volume_write_on(v, n);
}

void volume_write_on(struct volume_rig *v, unsigned int n)
{
	while (n-- > 0)
		write_once(v);
}

void volume_rewrite_model(struct volume_rig *v, uint32_t n)
{
	uint32_t i;

	v->last_tag++;
	for (i = 0; i < n; i++)
		v->now[VOLUME_SECTORS_IN_CHUNK + i] = v->last_tag;
}

bool volume_rewrite(struct volume_rig *v, uint32_t n)
{
	const uint32_t first = VOLUME_SECTORS_IN_CHUNK, piece = VOLUME_SECTORS_IN_CHUNK;
	uint32_t i;

	for (i = first; i < first + n; i += piece) {
		fill(v, i, piece);
		if (pwrite(v->fd, v->buffer, piece * SECTOR, (off_t)(i * SECTOR)) !=
		    (ssize_t)(piece * SECTOR))
			return false;
	}
	return true;
}

/* --- creating --- */

void volume_begin_set(struct volume_rig *v)
{
	struct umbra_set *set = umbra_set_new();

	v->room = 0;
	cr_assert_not_null(set);
	v->m = (struct umbra_member){.provider = v->provider,
				     .volume = &v->volume,
				     .set = set,
				     .shadow = umbra_shadow_new("/run", "dm"),
				     .origin_fd = v->origin_fd,
				     .state_fd = v->state_fd,
				     .state_dir = v->state_dir};
	cr_assert_eq(umbra_set_add_shadow(set, v->m.shadow), 0);
}

int volume_prepare(struct volume_rig *v)
{
	volume_look_after(v);
	volume_begin_set(v);
	return v->provider->prepare(&v->m, &err);
}

void volume_instant(struct volume_rig *v)
{
	struct volume_copy *copy;

	ok(v->provider->hold(&v->m, &err));
	ok(v->provider->commit(&v->m, &err));
	ok(v->provider->release(&v->m, &err));
	v->copies = reallocarray(v->copies, v->n + 1, sizeof(*v->copies));
	copy = &v->copies[v->n++];
	*copy = (struct volume_copy){
		.set = (struct umbra_set *)v->m.set, .shadow = v->m.shadow, .view = -1};
	copy->tags = malloc(v->sectors * sizeof(*copy->tags));
	memcpy(copy->tags, v->now, v->sectors * sizeof(*copy->tags));
}

void volume_finish(struct volume_rig *v)
{
	ok(v->provider->finish(&v->m, &err));
	v->room = 0;
	cr_assert_null(v->m.priv);
}

void volume_create(struct volume_rig *v)
{
	ok(volume_prepare(v));
	volume_write(v, volume_random(3));
	volume_instant(v);
	volume_write(v, volume_random(3));
	volume_finish(v);
}

void volume_abort(struct volume_rig *v)
{
	bool kept = v->n > 0 && v->copies[v->n - 1].shadow == v->m.shadow;

	ok(v->provider->abort(&v->m, &err));
	v->room = 0;
	cr_assert_null(v->m.priv);
	if (kept)
		volume_forget(v, v->n - 1);
	else
		umbra_set_free((struct umbra_set *)v->m.set);
}

/* --- copies --- */

void volume_open(struct volume_rig *v, size_t i)
{
	_cleanup_protected_ struct umbra_protected *p = volume_protected(v);
	struct volume_copy *copy = &v->copies[i];
	dev_t view;

	cr_assert_eq(copy->view, -1);
	ok(umbra_view_device_make(p, &copy->shadow->id, &view, &err));
	copy->view = umbra_dm_open(view, O_RDONLY | O_DIRECT, &err);
	cr_assert_geq(copy->view, 0, "%s", err.text);
}

void volume_close(struct volume_rig *v, size_t i)
{
	v->copies[i].view = umbra_close(v->copies[i].view);
}

void volume_delete(struct volume_rig *v, size_t i)
{
	struct volume_copy *copy = &v->copies[i];

	ok(v->provider->remove(v->state_fd, copy->shadow, NULL, &err));
	if (copy->view >= 0)
		cr_assert_lt(pread(copy->view, v->buffer, 4096, 0), 0,
			     "a copy that is gone is read");
	volume_forget(v, i);
}

static void on_lost(void *arg, const struct umbra_id *shadow, const char *why)
{
	struct volume_rig *v = arg;
	size_t i;

	for (i = 0; i < v->n && strcmp(v->copies[i].shadow->id.s, shadow->s) != 0; i++)
		;
	cr_assert_lt(i, v->n, "%s", why);
	cr_assert_eq(i, 0, "not the oldest: %s", why);
	volume_forget(v, i);
}

/* --- umbrad's work --- */

static void on_step(void *arg)
{
	(void)arg;
}

static struct umbra_storage_watch watch_of(struct volume_rig *v)
{
	return (struct umbra_storage_watch){.state_fd = v->state_fd,
					    .state_dir = v->state_dir,
					    .lost = on_lost,
					    .step = on_step,
					    .arg = v};
}

void volume_look_after(struct volume_rig *v)
{
	struct umbra_storage_watch watch = watch_of(v);
	int again_ms;

	ok(v->provider->storage->look_after(&watch, &again_ms, &err));
}

unsigned int volume_compact(struct volume_rig *v)
{
	_cleanup_protected_ struct umbra_protected *p = volume_protected(v);
	unsigned int pieces = 0;
	int r;

	v->room = 0;
	if (!p->in)
		return 0;
	while ((r = umbra_compact_run(p, umbra_space_low_water(p->pool), &err)) > 0)
		cr_assert_lt(pieces++, 2000);
	cr_assert_eq(r, 0, "%s", err.text);
	ok(umbra_space_grant_all(p, &err));
	return pieces;
}

bool volume_has(const struct volume_rig *v, size_t i)
{
	_cleanup_protected_ struct umbra_protected *p = volume_protected(v);

	return umbra_pool_find(p->pool, &v->copies[i].shadow->id) < p->pool->n_copies;
}

/* --- a restart --- */

/* Those that nothing is over; false: there is none. */
static bool remove_devices(void)
{
	_cleanup_dm_list_ struct umbra_dm_list list = {0};
	size_t i;

	ok(umbra_dm_list("", &list, &err));
	for (i = 0; i < list.n; i++)
		if (list.v[i].open_count == 0)
			ok(umbra_dm_remove(list.v[i].name, UMBRA_DM_REMOVE_NOW, &err));
	return list.n > 0;
}

void volume_off(struct volume_rig *v)
{
	unsigned int rounds = 0;
	size_t i;

	for (i = 0; i < v->n; i++)
		volume_close(v, i);
	v->fd = umbra_close(v->fd);
	v->room = 0;
	while (remove_devices())
		cr_assert_lt(rounds++, 20, "devices that cannot be removed");
}

void volume_on(struct volume_rig *v)
{
	struct umbra_storage_watch watch = watch_of(v);
	size_t n = v->n;

	attach(v);
	ok(v->provider->storage->activate(&watch, 0, &err));
	cr_assert_eq(v->n, n);
}

void volume_restart(struct volume_rig *v)
{
	volume_off(v);
	volume_on(v);
}

/* --- comparing --- */

bool volume_view_same(const struct volume_rig *v, const struct volume_copy *copy,
		      unsigned char *buffer)
{
	return same(v, copy->view, copy->tags, buffer);
}

void volume_check(struct volume_rig *v, size_t i, const char *after)
{
	bool was_open = v->copies[i].view >= 0;

	if (!was_open)
		volume_open(v, i);
	cr_assert(volume_view_same(v, &v->copies[i], v->buffer), "copy %zu of %zu after %s", i,
		  v->n, after);
	if (!was_open)
		volume_close(v, i);
}

void volume_check_all(struct volume_rig *v, const char *after)
{
	size_t i;

	for (i = 0; i < v->n; i++)
		volume_check(v, i, after);
	volume_check_origin(v, after);
}

void volume_check_origin(struct volume_rig *v, const char *after)
{
	cr_assert(same(v, v->fd, v->now, v->buffer), "the volume after %s", after);
}
