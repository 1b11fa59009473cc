/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/provider/dm/protected.h"

#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/fault.h"
#include "common/log.h"
#include "common/token.h"
#include "snapshot/provider/dm/pool_disk.h"
#include "snapshot/provider/dm/view_device.h"

#define RUN_DIR "/run/umbra/dm"
#define POLL_US 5000

/* --- lock --- */

static int open_run_dir(struct umbra_error *err)
{
	struct stat st;
	int fd, r = umbra_mkdir_all(RUN_DIR, 0700);

	fd = r < 0 ? r : open(RUN_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return umbra_fail_errno(err, r < 0 ? r : errno, "cannot open '" RUN_DIR "'");
	if (fstat(fd, &st) < 0 || st.st_uid != geteuid()) {
		umbra_close(fd);
		return umbra_fail(err, UMBRA_E_PERMISSION, EPERM,
				  "'" RUN_DIR "' belongs to somebody else");
	}
	return fd;
}

static int open_lock(int run_dir, const char *area, const char *kind, struct umbra_error *err)
{
	char name[UMBRA_ID_LEN + 16];
	int fd;

	snprintf(name, sizeof(name), "%.*s.%s", UMBRA_ID_LEN, area, kind);
	fd = openat(run_dir, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	return fd < 0 ? umbra_fail_errno(err, errno, "cannot open '" RUN_DIR "/%s'", name) : fd;
}

static int take_lock(struct umbra_protected *p, const char *area, int wait_ms,
		     struct umbra_error *err)
{
	int64_t until = umbra_now_us() + (int64_t)wait_ms * 1000;

	p->lock_fd = open_lock(p->run_dir, area, "lock", err);
	if (p->lock_fd < 0)
		return p->lock_fd;
	while (flock(p->lock_fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return umbra_fail_errno(err, errno, "cannot lock '" RUN_DIR "/%.*s.lock'",
						UMBRA_ID_LEN, area);
		if (umbra_now_us() >= until)
			return umbra_fail(err, UMBRA_E_BUSY, EBUSY,
					  "another umbra has been at work on diff area %s for %d s",
					  area, wait_ms / 1000);
		usleep(POLL_US);
	}
	return 0;
}

int umbra_protected_mark(const struct umbra_protected *p, int *fd, struct umbra_error *err)
{
	_cleanup_close_ int mark = open_lock(p->run_dir, p->kernel.area.s, "creation", err);

	if (mark < 0)
		return mark;
	if (flock(mark, LOCK_EX | LOCK_NB) < 0)
		return umbra_fail(err, UMBRA_E_BUSY, EBUSY,
				  "another umbra makes a shadow copy of '%s' at this time",
				  p->pool->volume);
	*fd = TAKE_FD(mark);
	return 0;
}

static bool is_prepared(const struct umbra_pool *pool)
{
	return pool->n_copies > 0 && pool->copies[pool->n_copies - 1].state == UMBRA_POOL_PREPARED;
}

bool umbra_protected_being_made(const struct umbra_protected *p)
{
	_cleanup_close_ int mark = -1;

	return is_prepared(p->pool) && umbra_protected_mark(p, &mark, NULL) == -EBUSY;
}

const struct umbra_pool_store *umbra_protected_base(const struct umbra_protected *p)
{
	const struct umbra_pool_store *live = umbra_pool_live(p->pool);

	if (!live || !is_prepared(p->pool))
		return live;
	return live > p->pool->stores ? live - 1 : NULL;
}

/* --- finding --- */

static bool is_volume(const struct umbra_dm_state *s, const struct umbra_dm_info *info)
{
	return *s->uuid ? strcmp(s->uuid, info->uuid) == 0
			: *info->uuid == '\0' && strcmp(s->name, info->name) == 0;
}

int umbra_protected_find(const struct umbra_dm_state *s, dev_t *out, struct umbra_error *err)
{
	_cleanup_dm_list_ struct umbra_dm_list list = {0};
	size_t i;
	int r = umbra_dm_list(s->uuid, &list, err);

	if (r < 0)
		return r;
	for (i = 0; i < list.n; i++) {
		if (!is_volume(s, &list.v[i]) || !list.v[i].live)
			continue;
		*out = list.v[i].dev;
		return 0;
	}
	return umbra_fail(
		err, UMBRA_E_NOT_FOUND, ENODEV,
		"the volume '%s' of diff area %s is not there: activate it first (if it is "
		"gone for good, 'umbra storage remove --force %s' gives up its copies)",
		s->name, s->area.s, s->area.s);
}

struct umbra_protected *umbra_protected_close(struct umbra_protected *p)
{
	if (p) {
		umbra_area_close(p->area);
		umbra_pool_free(p->pool);
		umbra_close(p->lock_fd);
		umbra_close(p->run_dir);
		free(p);
	}
	return NULL;
}

/* --- the pool on disk --- */

static int read_slot(const struct umbra_protected *p, uint64_t at, void **out, size_t *len)
{
	_cleanup_free_ char *block = malloc(UMBRA_POOL_SLOT_BYTES);
	size_t n;

	*out = NULL;
	*len = 0;
	if (!block)
		return -ENOMEM;
	if (umbra_area_read(p->area, at, block, UMBRA_POOL_BLOCK, NULL) < 0)
		return 0;
	n = umbra_pool_encoded_length(block);
	if (n == 0 || n > UMBRA_POOL_SLOT_BYTES)
		return 0;
	if (n > UMBRA_POOL_BLOCK &&
	    umbra_area_read(p->area, at + UMBRA_POOL_BLOCK, block + UMBRA_POOL_BLOCK,
			    n - UMBRA_POOL_BLOCK, NULL) < 0)
		return 0;
	*out = TAKE_PTR(block);
	*len = n;
	return 0;
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

static int load_pool(struct umbra_protected *p, struct umbra_error *err)
{
	_cleanup_free_ void *a = NULL, *b = NULL;
	size_t a_len, b_len;
	int r;

	p->pool = umbra_pool_free(p->pool);
	if (read_slot(p, UMBRA_POOL_SLOT_A, &a, &a_len) < 0 ||
	    read_slot(p, UMBRA_POOL_SLOT_B, &b, &b_len) < 0)
		return umbra_oom(err);
	r = umbra_pool_load(a, a_len, b, b_len, &p->pool, err);
	if (r < 0)
		return umbra_wrap(err, r, "diff area %s", p->kernel.area.s);
	if (strcmp(p->pool->area.s, p->kernel.area.s) != 0)
		return umbra_fail(err, UMBRA_E_DAMAGED, EBADMSG,
				  "where diff area %s was there is %s now", p->kernel.area.s,
				  p->pool->area.s);
	if (umbra_pool_end(p->pool) > umbra_area_sectors(p->area))
		return umbra_fail(err, UMBRA_E_DAMAGED, EBADMSG,
				  "diff area %s is smaller than what it had: its record is an old "
				  "one (in the initramfs: run 'update-initramfs -u')",
				  p->kernel.area.s);
	if (r == UMBRA_POOL_TORN) {
		r = write_slots(p, p->pool, err);
		if (r == 0)
			umbra_pool_written(p->pool);
	}
	return r;
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
		load_pool(p, NULL); /* which of the two is there is not known */
		return umbra_wrap(err, r, "diff area %s", p->kernel.area.s);
	}
	umbra_pool_written(pool);
	umbra_pool_free(p->pool);
	p->pool = TAKE_PTR(pool);
	return 0;
}

static int create_pool(struct umbra_protected *p, const char *volume, struct umbra_error *err)
{
	_cleanup_pool_ struct umbra_pool *pool = NULL;
	struct umbra_pool_geometry g;
	int r = umbra_pool_geometry(umbra_area_sectors(p->area), UMBRA_DM_CHUNK_SECTORS, &g, err);

	if (r == 0)
		r = umbra_pool_new(&g, &p->kernel.area, volume, &pool, err);
	return r < 0 ? r : umbra_protected_write(p, &pool, err);
}

/* --- stores --- */

struct store_reader {
	const struct umbra_protected *p;
	const struct umbra_pool_store *store;
};

static int read_chunk(void *arg, uint64_t chunk, void *buf, struct umbra_error *err)
{
	const struct store_reader *s = arg;
	size_t bytes = (size_t)s->p->pool->geometry.chunk_sectors * UMBRA_DM_SECTOR;
	uint64_t at;
	int r = umbra_pool_chunk_at(s->p->pool, s->store, chunk, &at);

	if (r < 0)
		return umbra_fail_errno(err, r, "chunk %llu of store %llu is outside of it",
					(unsigned long long)chunk,
					(unsigned long long)s->store->number);
	return umbra_area_read(s->p->area, at * bytes, buf, bytes, err);
}

int umbra_protected_read_store(const struct umbra_protected *p, const struct umbra_pool_store *s,
			       struct umbra_exceptions *out, uint64_t *used,
			       struct umbra_error *err)
{
	struct store_reader reader = {.p = p, .store = s};
	uint64_t chunk = p->pool->geometry.chunk_sectors, dummy;
	struct umbra_dm_store_shape shape =
		umbra_pool_store_shape(p->pool, s, (p->kernel.sectors + chunk - 1) / chunk);
	int r = umbra_dm_store_read(&shape, read_chunk, &reader, out, used ? used : &dummy, err);

	return r < 0 ? umbra_wrap(err, r, "store %llu of diff area %s",
				  (unsigned long long)s->number, p->kernel.area.s)
		     : 0;
}

/* --- layer --- */

static int map_area(struct umbra_protected *p, struct umbra_error *err)
{
	struct umbra_dm_info info;
	struct umbra_device_name name;
	int r = umbra_layer_real(&p->layer, &p->kernel.real, err);

	if (r < 0)
		return r;
	umbra_area_set_base(p->area, p->kernel.real);
	umbra_device_name(&p->kernel.area, "area", &name);
	r = umbra_dm_info(umbra_dm_named(name.name), &info, err);
	if (r == UMBRA_DM_NONE || (r == 0 && !info.live))
		return umbra_area_map(p->area, p->kernel.real, &p->kernel.pool, err);
	if (r == 0)
		p->kernel.pool = info.dev;
	return r;
}

int umbra_protected_awake(const struct umbra_protected *p, struct umbra_error *err)
{
	if (!p->asleep)
		return 0;
	return umbra_fail(
		err, UMBRA_E_BUSY, EBUSY,
		"the shadow copies of '%s' are not activated since the machine was "
		"started: unmount it, if it is mounted, and run 'umbra activate' before it "
		"is written",
		p->pool->volume);
}

int umbra_protected_enter(struct umbra_protected *p, struct umbra_error *err)
{
	int r = umbra_protected_awake(p, err);

	if (r < 0 || p->in)
		return r;
	if (p->adrift)
		return umbra_fail(err, UMBRA_E_BUSY, EBUSY,
				  "'%s' was written without umbra's layer, so it has to be mounted "
				  "where its diff area '%s' can be looked at",
				  p->pool->volume, umbra_area_place(p->area));
	r = umbra_layer_in(&p->layer, err);
	if (r == 0)
		r = umbra_fault_fail("dm.slid-in", err);
	if (r == 0)
		r = map_area(p, err);
	if (r == 0)
		p->in = true;
	return r;
}

/* Whatever of ours is in the kernel goes: it has missed writes, or has no place any more. */
static int clear_devices(struct umbra_protected *p, struct umbra_error *err)
{
	int r = umbra_kernel_clear(&p->kernel, err);

	if (p->area)
		umbra_area_set_base(p->area, p->layer.origin);
	if (r == 0)
		r = umbra_layer_out(&p->layer, err);
	return r < 0 ? r : umbra_layer_repair(&p->layer, err);
}

/* The area is gone, so nothing may be written to where it was. */
static void abandon(struct umbra_protected *p, const struct umbra_error *cause)
{
	enum umbra_layer_state state;
	struct umbra_error why = {0};

	if (umbra_layer_state(&p->layer, &state, &why) < 0 || state == UMBRA_LAYER_OUT)
		return;
	if (clear_devices(p, &why) < 0)
		umbra_log_error("%s; and then: %s", cause ? cause->text : "", why.text);
}

static int look_at_layer(struct umbra_protected *p, struct umbra_error *err)
{
	enum umbra_layer_state state;
	int r = umbra_layer_state(&p->layer, &state, err);

	if (r == 0 && state == UMBRA_LAYER_HALF) {
		/* Or we have `real` open ourselves, from reading the pool. */
		umbra_area_set_base(p->area, p->layer.origin);
		r = umbra_area_unmap(p->area, err);
		if (r == 0)
			r = umbra_layer_repair(&p->layer, err);
	} else if (r == 0 && state == UMBRA_LAYER_REPLACED) {
		r = clear_devices(p, err);
	} else if (r == 0 && state == UMBRA_LAYER_IN) {
		/* Who makes a copy may be holding it. */
		if (!umbra_protected_being_made(p))
			r = umbra_layer_repair(&p->layer, err);
		if (r == 0)
			r = map_area(p, err);
		p->in = r == 0;
	}
	return r;
}

/* --- opening --- */

static int volume_sectors(dev_t origin, uint64_t *out, struct umbra_error *err)
{
	_cleanup_dm_table_ struct umbra_dm_table table = {0};
	int r = umbra_dm_table(umbra_dm_numbered(origin), UMBRA_DM_LIVE, &table, err);

	if (r == 0)
		*out = umbra_dm_table_sectors(&table);
	return r;
}

/* With the lock, and nothing else yet. */
static int open_locked(const char *area, int wait_ms, struct umbra_protected **out,
		       struct umbra_error *err)
{
	_cleanup_protected_ struct umbra_protected *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return umbra_oom(err);
	p->lock_fd = -1;
	memcpy(p->kernel.area.s, area, UMBRA_ID_LEN);
	p->layer.area = p->kernel.area;
	p->layer.run_dir = p->run_dir = open_run_dir(err);
	r = p->run_dir < 0 ? p->run_dir : take_lock(p, area, wait_ms, err);
	if (r == 0)
		*out = TAKE_PTR(p);
	return r;
}

/* The volume and the area; no pool. Takes area, where there is one already. */
static int find_parts(struct umbra_protected *p, const struct umbra_dm_state *s,
		      struct umbra_area **area, struct umbra_error *err)
{
	dev_t real;
	int r = umbra_protected_find(s, &p->layer.origin, err);

	if (r == 0)
		r = volume_sectors(p->layer.origin, &p->kernel.sectors, err);
	if (r < 0)
		return r;
	if (area)
		p->area = TAKE_PTR(*area);
	else
		r = umbra_area_open(s->place, p->layer.origin, &p->area, err);
	if (r == -EBADMSG || r == -ENOENT)
		abandon(p, err);
	if (r == 0 && umbra_layer_real(&p->layer, &real, NULL) == 0)
		umbra_area_set_base(p->area, real);
	return r;
}

bool umbra_protected_out_of_reach(int r)
{
	return r == -ENODEV || r == -ENOENT || r == -EBADMSG || r == -EUCLEAN;
}

int umbra_protected_open_area(int state_fd, const char *area, int wait_ms,
			      struct umbra_protected **out, struct umbra_error *err)
{
	_cleanup_dm_state_ struct umbra_dm_state s = {0};
	_cleanup_protected_ struct umbra_protected *p = NULL;
	int r = umbra_id_valid(area) ? open_locked(area, wait_ms, &p, err) : 0;

	/* Not earlier: whoever had the lock may have changed the record. */
	if (r == 0)
		r = umbra_dm_state_read(state_fd, area, &s, err);
	if (r == 0)
		r = find_parts(p, &s, NULL, err);
	if (r == 0)
		r = load_pool(p, err);
	if (r == 0)
		r = look_at_layer(p, err);
	if (r == 0)
		r = umbra_protected_settle(p, err);
	if (r == 0)
		*out = TAKE_PTR(p);
	return r;
}

int umbra_protected_open_new(const struct umbra_dm_state *s, struct umbra_area **area,
			     struct umbra_protected **out, struct umbra_error *err)
{
	_cleanup_protected_ struct umbra_protected *p = NULL;
	int r = open_locked(s->area.s, UMBRA_PROTECTED_WAIT_MS, &p, err);

	if (r == 0)
		r = find_parts(p, s, area, err);
	if (r == 0)
		r = create_pool(p, *s->uuid ? s->uuid : s->name, err);
	if (r == 0)
		*out = TAKE_PTR(p);
	return r;
}

struct search {
	struct umbra_dm_info volume;
	struct umbra_id area;
};

static int compare(const struct umbra_dm_state *s, void *arg)
{
	struct search *search = arg;

	if (!is_volume(s, &search->volume))
		return 0;
	search->area = s->area;
	return 1;
}

int umbra_protected_area_of(int state_fd, dev_t origin, struct umbra_id *out,
			    struct umbra_error *err)
{
	struct search search = {0};
	int r = umbra_dm_info(umbra_dm_numbered(origin), &search.volume, err);

	if (r != 0)
		return r == UMBRA_DM_NONE ? 0 : r; /* what is not device-mapper's has no area */
	r = umbra_dm_state_each(state_fd, compare, &search, err);
	if (r > 0)
		*out = search.area;
	return r;
}

int umbra_protected_open_dev(int state_fd, dev_t origin, int wait_ms, struct umbra_protected **out,
			     struct umbra_error *err)
{
	struct umbra_id area;
	int r = umbra_protected_area_of(state_fd, origin, &area, err);

	if (r == 0)
		return umbra_fail(err, UMBRA_E_NOT_FOUND, ENOENT,
				  "the volume has no diff area: 'umbra storage add' makes one");
	return r < 0 ? r : umbra_protected_open_area(state_fd, area.s, wait_ms, out, err);
}

struct each {
	int state_fd;
	int (*fn)(struct umbra_protected *p, void *arg, struct umbra_error *err);
	void *arg;
	struct umbra_error *err;
};

static int each_one(const struct umbra_dm_state *s, void *arg)
{
	_cleanup_protected_ struct umbra_protected *p = NULL;
	const struct each *each = arg;
	struct umbra_error why = {0};

	if (umbra_protected_open_area(each->state_fd, s->area.s, UMBRA_PROTECTED_WAIT_MS, &p,
				      &why) < 0) {
		umbra_log_once("%s", why.text);
		return 0;
	}
	return each->fn(p, each->arg, each->err);
}

int umbra_protected_each(int state_fd,
			 int (*fn)(struct umbra_protected *p, void *arg, struct umbra_error *err),
			 void *arg, struct umbra_error *err)
{
	struct each each = {.state_fd = state_fd, .fn = fn, .arg = arg, .err = err};

	return umbra_dm_state_each(state_fd, each_one, &each, err);
}
