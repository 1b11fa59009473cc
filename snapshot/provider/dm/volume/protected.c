/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/provider/dm/volume/protected.h"

#include "common/fault.h"
#include "snapshot/provider/dm/volume/protected_parts.h"

static bool is_prepared(const struct umbra_pool *pool)
{
	return pool->n_copies > 0 && pool->copies[pool->n_copies - 1].state == UMBRA_POOL_PREPARED;
}

bool umbra_protected_being_made(const struct umbra_protected *p)
{
	return is_prepared(p->pool) && umbra_protected_is_marked(p);
}

const struct umbra_pool_store *umbra_protected_base(const struct umbra_protected *p)
{
	const struct umbra_pool_store *live = umbra_pool_live(p->pool);

	if (!live || !is_prepared(p->pool))
		return live;
	return live > p->pool->stores ? live - 1 : NULL;
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
		"started, or since its table was replaced (lvrename, lvchange --refresh): unmount "
		"it, if it is mounted, and run 'umbra activate' before it is written",
		p->path);
}

int umbra_protected_enter(struct umbra_protected *p, struct umbra_error *err)
{
	int r = umbra_protected_awake(p, err);

	if (r < 0 || p->in)
		return r;
	if (p->adrift)
		return umbra_fail(err, UMBRA_E_BUSY, EBUSY,
				  "what lies where the diff area '%s' of '%s' was may be another's "
				  "by now: mount the volume where its diff area can be looked at",
				  umbra_area_place(p->area), p->path);
	r = umbra_layer_in(&p->layer, err);
	if (r == 0)
		r = umbra_fault_fail("dm.slid-in", err);
	if (r == 0)
		r = map_area(p, err);
	if (r == 0)
		p->in = true;
	return r;
}

int umbra_protected_clear(struct umbra_protected *p, struct umbra_error *err)
{
	int r = umbra_kernel_clear(&p->kernel, err);

	if (p->area)
		umbra_area_set_base(p->area, p->layer.origin);
	if (r == 0)
		r = umbra_layer_out(&p->layer, err);
	return r < 0 ? r : umbra_layer_repair(&p->layer, err);
}

int umbra_protected_look_at_layer(struct umbra_protected *p, struct umbra_error *err)
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
		p->replaced = true;
		r = umbra_protected_clear(p, err);
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
