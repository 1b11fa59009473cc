/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/provider/dm/volume/protected.h"

#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/fault.h"
#include "common/log.h"
#include "common/token.h"
#include "snapshot/provider/dm/parts.h"
#include "snapshot/provider/dm/pool/pool_disk.h"
#include "snapshot/provider/dm/volume/stamp.h"
#include "snapshot/provider/dm/volume/view_device.h"

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

static int mark(const struct umbra_protected *p, const char *kind, const char *doing, int *fd,
		struct umbra_error *err)
{
	_cleanup_close_ int mark = open_lock(p->run_dir, p->kernel.area.s, kind, err);

	if (mark < 0)
		return mark;
	if (flock(mark, LOCK_EX | LOCK_NB) < 0)
		return umbra_fail(err, UMBRA_E_BUSY, EBUSY, "another umbra %s '%s' at this time",
				  doing, p->path);
	*fd = TAKE_FD(mark);
	return 0;
}

int umbra_protected_mark(const struct umbra_protected *p, int *fd, struct umbra_error *err)
{
	return mark(p, "creation", "makes a shadow copy of", fd, err);
}

int umbra_protected_mark_resize(const struct umbra_protected *p, int *fd, struct umbra_error *err)
{
	return mark(p, "resize", "resizes the diff area of", fd, err);
}

static bool being_resized(const struct umbra_protected *p, const struct umbra_dm_state *s)
{
	_cleanup_close_ int fd = -1;

	return umbra_area_resizing(s->place) && umbra_protected_mark_resize(p, &fd, NULL) == -EBUSY;
}

static bool is_prepared(const struct umbra_pool *pool)
{
	return pool->n_copies > 0 && pool->copies[pool->n_copies - 1].state == UMBRA_POOL_PREPARED;
}

static bool is_marked(const struct umbra_protected *p)
{
	_cleanup_close_ int mark = open_lock(p->run_dir, p->kernel.area.s, "creation", NULL);

	return mark >= 0 && flock(mark, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK;
}

bool umbra_protected_being_made(const struct umbra_protected *p)
{
	return is_prepared(p->pool) && is_marked(p);
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
		"gone for good, 'umbra storage remove --force %s' gives up its copies, and what "
		"the kernel still has of it)",
		s->name, s->area.s, s->area.s);
}

struct umbra_protected *umbra_protected_close(struct umbra_protected *p)
{
	if (p) {
		umbra_area_close(p->area);
		umbra_pool_free(p->pool);
		umbra_close(p->lock_fd);
		umbra_close(p->run_dir);
		free(p->path);
		free(p);
	}
	return NULL;
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
		r = umbra_area_refit(p->area, p->kernel.real, err);
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
		p->path);
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
				  p->path, umbra_area_place(p->area));
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

static int look_at_layer(struct umbra_protected *p, struct umbra_error *err)
{
	enum umbra_layer_state state;
	int r = umbra_layer_state(&p->layer, &state, err);

	if (r == 0 && state == UMBRA_LAYER_HALF) {
		r = umbra_kernel_clear(&p->kernel, err);
		/* Or we have `real` open ourselves, from reading the pool. */
		umbra_area_set_base(p->area, p->layer.origin);
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
		if (r == 0)
			r = umbra_protected_mend(p, err);
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

/* Where somebody has replaced the volume's table, `real` may lead to what is another's by now
 * (pvmove): nothing is written there. */
static int choose_base(struct umbra_protected *p, struct umbra_error *err)
{
	enum umbra_layer_state state;
	dev_t real;
	int r = umbra_layer_state(&p->layer, &state, err);

	if (r == 0 && state != UMBRA_LAYER_OUT && state != UMBRA_LAYER_REPLACED &&
	    umbra_layer_real(&p->layer, &real, NULL) == 0)
		umbra_area_set_base(p->area, real);
	return r;
}

/* The volume and the area; no pool. Takes area, where there is one already. */
static int find_parts(struct umbra_protected *p, const struct umbra_dm_state *s,
		      struct umbra_area **area, struct umbra_error *err)
{
	int r;

	p->path = umbra_asprintf("%s", s->path);
	r = p->path ? umbra_protected_find(s, &p->layer.origin, err) : umbra_oom(err);
	if (r == 0)
		r = volume_sectors(p->layer.origin, &p->kernel.sectors, err);
	if (r < 0)
		return r;
	if (area)
		p->area = TAKE_PTR(*area);
	else
		r = umbra_area_open(s->place, p->layer.origin, being_resized(p, s), &p->area, err);
	return r < 0 ? r : choose_base(p, err);
}

int umbra_protected_drop(const struct umbra_dm_state *s, struct umbra_error *err)
{
	_cleanup_protected_ struct umbra_protected *p = NULL;
	struct umbra_device_name real;
	int r = open_locked(s->area.s, UMBRA_PROTECTED_WAIT_MS, &p, err);

	if (r < 0)
		return r;
	umbra_device_name(&s->area, "real", &real);
	if (umbra_layer_real(&p->layer, &p->kernel.real, NULL) == 0)
		r = volume_sectors(p->kernel.real, &p->kernel.sectors, err);
	if (r == 0 && umbra_protected_find(s, &p->layer.origin, NULL) == 0)
		return clear_devices(p, err);
	if (r == 0)
		r = umbra_kernel_clear(&p->kernel, err);
	if (r == 0)
		r = umbra_dm_remove(real.name, UMBRA_DM_REMOVE_NOW, err);
	return r < 0 ? r : 0;
}

bool umbra_protected_out_of_reach(int r)
{
	return r == -ENODEV || r == -ENOENT || r == -EBADMSG || r == -EUCLEAN;
}

/*
 * From here on the volume is written without its copies. The area cannot be told, so the record
 * beside the catalog is, for the time when it is there again. gone: it is not where it was, and
 * nothing may be written there.
 */
static void give_up(struct umbra_protected *p, int state_fd, struct umbra_dm_state *s, bool gone,
		    const struct umbra_error *cause)
{
	enum umbra_layer_state state;
	struct umbra_error why = {0};

	if (!p->layer.origin || umbra_layer_state(&p->layer, &state, &why) < 0 ||
	    state == UMBRA_LAYER_OUT || state == UMBRA_LAYER_HALF)
		return;
	if (!gone && (is_marked(p) || umbra_store_device_any_live(&p->kernel, &why) != 0))
		return;
	umbra_log_error("the shadow copies of '%s' are lost: %s", s->path, cause->text);
	/* Before anything that takes its time: the blocks may be those of other files by now. */
	if (gone && umbra_kernel_stop(&p->kernel, &why) < 0)
		umbra_log_error("%s", why.text);
	free(s->lost);
	s->lost = umbra_asprintf("%s: %s", UMBRA_DM_AREA_UNUSABLE, cause->text);
	if (!s->lost)
		return; /* and tried again */
	if (umbra_dm_state_write(state_fd, s, &why) < 0 || clear_devices(p, &why) < 0)
		umbra_log_error("and then: %s", why.text);
}

/* What give_up() could not say to the area. */
static int lose_now(struct umbra_protected *p, int state_fd, struct umbra_dm_state *s,
		    struct umbra_error *err)
{
	int r;

	/* What lies there now may be somebody's file. */
	p->adrift = !umbra_area_certain(p->area);
	r = umbra_protected_lose(p, s->lost, err);
	if (r < 0 || p->adrift)
		return r;
	free(TAKE_PTR(s->lost));
	return umbra_dm_state_write(state_fd, s, err);
}

/* While the layer is in. Before anything is written to the area: it may be there no more. */
static int check_filesystem(struct umbra_protected *p, struct umbra_error *err)
{
	enum umbra_layer_state state;
	dev_t real;
	int r;

	if (umbra_area_certain(p->area))
		return 0;
	r = umbra_layer_state(&p->layer, &state, err);
	if (r < 0 || state != UMBRA_LAYER_IN)
		return r;
	r = umbra_layer_real(&p->layer, &real, err);
	if (r < 0 || !umbra_stamp_replaced(p->layer.origin, real, p->pool->stamp))
		return r;
	p->adrift = true;
	return umbra_fail(
		err, UMBRA_E_DAMAGED, EBADMSG,
		"another filesystem was made on '%s' (mkfs, wipefs, dd), or its UUID "
		"was changed while it was not mounted, and the diff area was in the old one",
		p->path);
}

static int open_pool(struct umbra_protected *p, int state_fd, struct umbra_dm_state *s,
		     struct umbra_error *err)
{
	int r = umbra_protected_load(p, err);

	if (r == 0)
		r = check_filesystem(p, err);
	/* First, so that nobody is told that those are lost. */
	if (r == 0 && umbra_area_certain(p->area))
		r = umbra_dm_drop_deleted(state_fd, p, s, err);
	if (r == 0 && s->lost)
		r = lose_now(p, state_fd, s, err);
	if (r == 0)
		r = look_at_layer(p, err);
	if (r == 0)
		r = umbra_protected_settle(p, err);
	if (r < 0 || !s->deleted)
		return r;
	r = umbra_dm_drop_deleted(state_fd, p, s, err);
	return r < 0 ? r : umbra_protected_settle(p, err);
}

int umbra_protected_open_area(int state_fd, const char *area, int wait_ms,
			      struct umbra_protected **out, struct umbra_error *err)
{
	_cleanup_dm_state_ struct umbra_dm_state s = {0};
	_cleanup_protected_ struct umbra_protected *p = NULL;
	struct umbra_error why = {0};
	bool gone;
	int r = umbra_id_valid(area) ? open_locked(area, wait_ms, &p, err) : 0;

	/* Not earlier: whoever had the lock may have changed the record. */
	if (r == 0)
		r = umbra_dm_state_read(state_fd, area, &s, err);
	if (r < 0)
		return r;
	r = find_parts(p, &s, NULL, &why);
	/* Of one elsewhere the path says little: what the kernel has of it stays. */
	gone = (r == -EBADMSG || r == -ENOENT) && umbra_area_record_inside(s.place);
	if (r == 0) {
		r = open_pool(p, state_fd, &s, &why);
		gone = r == -EBADMSG && (p->adrift || (!p->pool && !umbra_area_certain(p->area)));
	}
	if (r < 0) {
		give_up(p, state_fd, &s, gone, &why);
		if (s.lost)
			return umbra_fail(err, why.code, r,
					  "%s; the shadow copies in it are lost: 'umbra storage "
					  "remove --force %s' gives them up",
					  why.text, area);
		return umbra_fail(err, why.code, r, "%s", why.text);
	}
	*out = TAKE_PTR(p);
	return 0;
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

static int no_area(struct umbra_error *err)
{
	return umbra_fail(err, UMBRA_E_NOT_FOUND, ENOENT,
			  "the volume has no diff area: 'umbra storage add' makes one");
}

int umbra_protected_abandon(int state_fd, dev_t origin, struct umbra_error *err)
{
	_cleanup_dm_state_ struct umbra_dm_state s = {0};
	_cleanup_protected_ struct umbra_protected *p = NULL;
	struct umbra_error why = {0};
	struct umbra_id area = {0};
	int found, r = umbra_protected_area_of(state_fd, origin, &area, err);

	if (r == 0)
		return no_area(err);
	r = r < 0 ? r : open_locked(area.s, UMBRA_PROTECTED_WAIT_MS, &p, err);
	if (r == 0)
		r = umbra_dm_state_read(state_fd, area.s, &s, err);
	if (r < 0)
		return r;
	if (is_marked(p))
		return umbra_fail(err, UMBRA_E_BUSY, EBUSY,
				  "another umbra makes a shadow copy of '%s' at this time", s.path);
	found = find_parts(p, &s, NULL, &why);
	r = clear_devices(p, err);
	if (r == 0)
		r = umbra_dm_state_remove(state_fd, area.s, err);
	if (r == 0 && found == -ENOENT)
		return 0; /* it is gone already */
	if (r == 0 && found < 0)
		umbra_log_warning("what is at the place of the diff area is left alone: %s",
				  why.text);
	else if (r == 0 && umbra_area_destroy(p->area, &why) < 0)
		umbra_log_warning("%s", why.text);
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
		return no_area(err);
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
		umbra_log_debug("%s", why.text); /* who asks for the areas is told */
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
