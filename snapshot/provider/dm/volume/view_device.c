/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/provider/dm/volume/view_device.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "common/fault.h"
#include "common/log.h"
#include "snapshot/provider/dm/pool/view_plan.h"
#include "snapshot/provider/dm/volume/copies.h"
#include "snapshot/sys/scratch.h"

#define ID_HEAD 18
#define VIEW    "view-"
#define COW     "viewcow"

/* The names that belong to one copy. */
struct names {
	struct umbra_device_name view, cow[2];
};

static void names_of(const struct umbra_protected *p, const char *id, struct names *out)
{
	char role[UMBRA_DEVICE_NAME_MAX / 2];
	int g;

	snprintf(role, sizeof(role), VIEW "%.*s", ID_HEAD, id);
	umbra_device_name(&p->kernel.area, role, &out->view);
	for (g = 0; g < 2; g++) {
		snprintf(role, sizeof(role), COW "%c-%.*s", '0' + g, ID_HEAD, id);
		umbra_device_name(&p->kernel.area, role, &out->cow[g]);
	}
}

/* --- making --- */

static int plan_of(const struct umbra_protected *p, uint32_t copy, struct umbra_dm_view_plan *plan,
		   struct umbra_error *err)
{
	const struct umbra_pool_store *base = umbra_protected_base(p), *s;
	uint32_t i;
	int r = 0;

	for (i = umbra_pool_first_store(p->pool, copy); r == 0 && i < p->pool->n_stores; i++) {
		_cleanup_exceptions_ struct umbra_exceptions exceptions = {0};

		s = &p->pool->stores[i];
		if (s == base)
			break;
		r = umbra_protected_read_store(p, s, &exceptions, NULL, err);
		if (r == 0)
			r = umbra_dm_view_add(plan, p->pool, s, &exceptions, err);
	}
	return r;
}

static int write_scratch(const struct umbra_dm_view_plan *plan,
			 const struct umbra_dm_view_layout *layout, struct umbra_scratch *scratch,
			 struct umbra_error *err)
{
	size_t bytes = (size_t)layout->geometry.chunk_sectors * UMBRA_DM_SECTOR;
	_cleanup_free_ char *chunk = malloc(bytes);
	uint64_t i;
	int r;

	if (!chunk)
		return umbra_oom(err);
	r = umbra_scratch_make(scratch, layout->scratch_chunks * bytes, err);
	for (i = 0; r == 0 && i < layout->scratch_chunks; i++) {
		umbra_dm_view_scratch(plan, layout, i, chunk);
		if (pwrite(scratch->memory, chunk, bytes, (off_t)(i * bytes)) != (ssize_t)bytes)
			r = umbra_fail_errno(err, errno ? errno : ENOSPC, "no memory for a view");
	}
	return r < 0 ? r : umbra_scratch_attach(scratch, err);
}

static int add_line(const struct umbra_protected *p, const struct umbra_dm_view_line *line,
		    dev_t scratch, struct umbra_dm_table *table, struct umbra_error *err)
{
	uint64_t chunk = p->pool->geometry.chunk_sectors;
	dev_t dev = line->what == UMBRA_DM_VIEW_SCRATCH ? scratch : p->kernel.pool;

	if (line->what == UMBRA_DM_VIEW_NONE)
		return umbra_dm_table_add(table, line->count * chunk, "error", err, "%s", "");
	return umbra_dm_table_add(table, line->count * chunk, "linear", err, "%u:%u %" PRIu64,
				  major(dev), minor(dev), line->offset * chunk);
}

/* The made-up store of a copy, for a view over the live store. */
static int make_cow(const struct umbra_protected *p, uint32_t copy,
		    const struct umbra_device_name *name, dev_t *out, struct umbra_error *err)
{
	_cleanup_view_plan_ struct umbra_dm_view_plan plan = {0};
	_cleanup_view_layout_ struct umbra_dm_view_layout layout = {0};
	_cleanup_scratch_ struct umbra_scratch scratch = UMBRA_SCRATCH_NONE;
	_cleanup_dm_table_ struct umbra_dm_table table = {0};
	size_t i;
	int r = plan_of(p, copy, &plan, err);

	if (r == 0)
		r = umbra_dm_view_layout(&plan, p->pool, &layout, err);
	if (r == 0)
		r = write_scratch(&plan, &layout, &scratch, err);
	for (i = 0; r == 0 && i < layout.n_lines; i++)
		r = add_line(p, &layout.lines[i], scratch.dev, &table, err);
	if (r == 0)
		r = umbra_dm_create(name->name, name->uuid, &table, UMBRA_DM_READ_ONLY, out, err);
	return r;
}

static int base_device(const struct umbra_protected *p, dev_t *out, struct umbra_error *err)
{
	const struct umbra_pool_store *base = umbra_protected_base(p);

	if (!base)
		return umbra_fail(err, UMBRA_E_INTERNAL, ENXIO, "no store is live");
	return umbra_store_device_number(&p->kernel, base->number, out, err);
}

static int view_table(const struct umbra_protected *p, dev_t cow, struct umbra_dm_table *table,
		      struct umbra_error *err)
{
	dev_t base;
	int r = base_device(p, &base, err);

	return r < 0 ? r
		     : umbra_dm_table_add(table, p->kernel.sectors, "snapshot", err,
					  "%u:%u %u:%u P %u", major(base), minor(base), major(cow),
					  minor(cow), p->pool->geometry.chunk_sectors);
}

static int remove_view(const struct names *names, struct umbra_error *err)
{
	int r = umbra_dm_remove(names->view.name, UMBRA_DM_REMOVE_NOW, err), g;

	for (g = 0; r >= 0 && g < 2; g++)
		r = umbra_dm_remove(names->cow[g].name, UMBRA_DM_REMOVE_NOW, err);
	return r < 0 ? r : 0;
}

static int make_view(struct umbra_protected *p, uint32_t copy, const struct names *names,
		     dev_t *out, struct umbra_error *err)
{
	_cleanup_dm_table_ struct umbra_dm_table table = {0};
	dev_t cow;
	int r = remove_view(names, err); /* halves of it */

	if (r == 0)
		r = make_cow(p, copy, &names->cow[0], &cow, err);
	if (r == 0)
		r = umbra_fault_fail("dm.view-cow", err);
	if (r == 0)
		r = view_table(p, cow, &table, err);
	if (r == 0)
		r = umbra_dm_create(names->view.name, names->view.uuid, &table, UMBRA_DM_READ_ONLY,
				    out, err);
	if (r < 0)
		remove_view(names, NULL);
	return r;
}

/* --- all that there are --- */

typedef int (*each_fn)(struct umbra_protected *p, const struct umbra_dm_info *info, const char *id,
		       void *arg, struct umbra_error *err);

/* id: the beginning of the copy's. */
static int each_view(struct umbra_protected *p, each_fn fn, void *arg, struct umbra_error *err)
{
	_cleanup_dm_list_ struct umbra_dm_list list = {0};
	struct umbra_device_name prefix;
	const char *role;
	size_t i;
	int r;

	umbra_device_name(&p->kernel.area, VIEW, &prefix);
	r = umbra_dm_list(prefix.uuid, &list, err);
	for (i = 0; r == 0 && i < list.n; i++) {
		role = umbra_device_role(&p->kernel.area, list.v[i].uuid);
		if (role && strlen(role) == strlen(VIEW) + ID_HEAD)
			r = fn(p, &list.v[i], role + strlen(VIEW), arg, err);
	}
	return r;
}

/* Index of the copy whose id begins so, or n_copies. */
static uint32_t copy_of(const struct umbra_protected *p, const char *id)
{
	uint32_t i;

	for (i = 0; i < p->pool->n_copies; i++)
		if (strncmp(p->pool->copies[i].id.s, id, ID_HEAD) == 0)
			break;
	return i;
}

/* Readers get errors, and nothing below is in use. */
static int close_view(const struct names *names, uint64_t sectors, struct umbra_error *err)
{
	_cleanup_dm_table_ struct umbra_dm_table table = {0};
	int r = umbra_dm_table_add(&table, sectors, "error", err, "%s", ""), g;

	if (r == 0)
		r = umbra_dm_load(umbra_dm_named(names->view.name), &table, UMBRA_DM_READ_ONLY,
				  err);
	if (r == 0)
		r = umbra_dm_resume(umbra_dm_named(names->view.name), err);
	if (r == 0)
		r = umbra_dm_remove(names->view.name, UMBRA_DM_REMOVE_LATER, err);
	for (g = 0; r >= 0 && g < 2; g++)
		r = umbra_dm_remove(names->cow[g].name, UMBRA_DM_REMOVE_NOW, err);
	return r < 0 ? r : 0;
}

static int close_one(struct umbra_protected *p, const struct umbra_dm_info *info, const char *id,
		     void *arg, struct umbra_error *err)
{
	const struct umbra_id *only = arg;
	struct names names;

	if (only && strncmp(only->s, id, ID_HEAD) != 0)
		return 0;
	names_of(p, id, &names);
	return info->open_count == 0 ? remove_view(&names, err)
				     : close_view(&names, p->kernel.sectors, err);
}

int umbra_view_devices_close(struct umbra_protected *p, const struct umbra_id *id,
			     struct umbra_error *err)
{
	return each_view(p, close_one, (void *)id, err);
}

/* The one of its two made-up stores that is not in use, made anew. */
static int make_other_cow(struct umbra_protected *p, uint32_t copy, const struct names *names,
			  int *g, dev_t *cow, struct umbra_error *err)
{
	struct umbra_dm_info info;
	int r = umbra_dm_unload(umbra_dm_named(names->view.name), err); /* of who was killed */

	if (r == 0)
		r = umbra_dm_info(umbra_dm_named(names->cow[0].name), &info, err);
	if (r < 0)
		return r;
	*g = r == UMBRA_DM_NONE || info.open_count == 0 ? 0 : 1;
	r = umbra_dm_remove(names->cow[*g].name, UMBRA_DM_REMOVE_NOW, err);
	return r < 0 ? r : make_cow(p, copy, &names->cow[*g], cow, err);
}

/* It comes in the place of the other, also in a view that was closed. */
static int swap(struct umbra_protected *p, const struct names *names, int g, dev_t cow,
		struct umbra_error *err)
{
	_cleanup_dm_table_ struct umbra_dm_table table = {0};
	int r = view_table(p, cow, &table, err);

	if (r == 0)
		r = umbra_dm_load(umbra_dm_named(names->view.name), &table, UMBRA_DM_READ_ONLY,
				  err);
	if (r == 0)
		r = umbra_fault_fail("dm.view-loaded", err);
	if (r == 0)
		r = umbra_dm_resume(umbra_dm_named(names->view.name), err);
	if (r == 0)
		r = umbra_dm_retain(names->view.name, err);
	if (r >= 0)
		r = umbra_dm_remove(names->cow[!g].name, UMBRA_DM_REMOVE_NOW, err);
	return r < 0 ? r : 0;
}

/* Who had it open when it was closed still has it, unless he is gone meanwhile (info). */
static int revive(struct umbra_protected *p, uint32_t copy, const struct names *names,
		  struct umbra_dm_info *info, struct umbra_error *err)
{
	dev_t cow;
	int g, r = make_other_cow(p, copy, names, &g, &cow, err);

	if (r == 0)
		r = swap(p, names, g, cow, err);
	return r == 0 || r == -ENXIO ? umbra_dm_info(umbra_dm_named(names->view.name), info, err)
				     : r;
}

int umbra_view_device_make(struct umbra_protected *p, const struct umbra_id *id, dev_t *out,
			   struct umbra_error *err)
{
	struct umbra_dm_info info;
	struct names names;
	uint32_t copy = 0;
	int r = umbra_dm_find_copy(p, id, &copy, err);

	if (r < 0)
		return r;
	names_of(p, id->s, &names);
	r = umbra_dm_info(umbra_dm_named(names.view.name), &info, err);
	if (r < 0)
		return r;
	if (r == 0 && info.removed_later)
		r = revive(p, copy, &names, &info, err);
	if (r == UMBRA_DM_NONE || (r == 0 && (!info.live || info.suspended)))
		return make_view(p, copy, &names, out, err);
	if (r == 0)
		*out = info.dev;
	return r;
}

/* A copy of which something cannot be read is lost to who reads it, and keeps nobody else. */
static int rebase(struct umbra_protected *p, uint32_t copy, const struct names *names,
		  struct umbra_error *err)
{
	struct umbra_error why = {0};
	dev_t cow;
	int g, r = make_other_cow(p, copy, names, &g, &cow, &why);

	if (r == -EBADMSG || r == -EIO) {
		umbra_log_error("who reads shadow copy '%s' gets errors from now on: %s",
				p->pool->copies[copy].id.s, why.text);
		return close_view(names, p->kernel.sectors, err);
	}
	return r < 0 ? umbra_fail(err, why.code, r, "%s", why.text) : swap(p, names, g, cow, err);
}

static int rebase_one(struct umbra_protected *p, const struct umbra_dm_info *info, const char *id,
		      void *arg, struct umbra_error *err)
{
	struct names names;
	uint32_t copy = copy_of(p, id);

	(void)arg;
	names_of(p, id, &names);
	if (info->open_count == 0)
		return remove_view(&names, err);
	if (copy == p->pool->n_copies || p->pool->copies[copy].state != UMBRA_POOL_KEPT)
		return close_view(&names, p->kernel.sectors, err);
	return rebase(p, copy, &names, err);
}

int umbra_view_devices_rebase(struct umbra_protected *p, struct umbra_error *err)
{
	return each_view(p, rebase_one, NULL, err);
}

/* --- what is mapped --- */

static void mark(const struct umbra_protected *p, const struct umbra_dm_line *line, bool *mapped)
{
	uint64_t chunk = p->pool->geometry.chunk_sectors, first = umbra_pool_segment_at(p->pool, 0);
	uint64_t offset, from, to, i, segment = p->pool->geometry.segment_chunks;
	unsigned int maj, min;

	if (strcmp(line->target, "linear") != 0 ||
	    sscanf(line->params, "%u:%u %" SCNu64, &maj, &min, &offset) != 3 ||
	    makedev(maj, min) != p->kernel.pool || offset / chunk < first)
		return;
	from = (offset / chunk - first) / segment;
	to = (offset / chunk - first + line->length / chunk + segment - 1) / segment;
	for (i = from; i < to && i < p->pool->geometry.segments; i++)
		mapped[i] = true;
}

static int mark_one(struct umbra_protected *p, const struct umbra_dm_info *info, const char *id,
		    void *arg, struct umbra_error *err)
{
	struct names names;
	size_t i;
	int g, r;

	names_of(p, id, &names);
	if (info->open_count == 0)
		return remove_view(&names, err);
	for (g = 0; g < 2; g++) {
		_cleanup_dm_table_ struct umbra_dm_table table = {0};
		struct umbra_dm_info cow;

		r = umbra_dm_info(umbra_dm_named(names.cow[g].name), &cow, err);
		if (r == 0)
			r = umbra_dm_table(umbra_dm_named(names.cow[g].name), UMBRA_DM_LIVE, &table,
					   err);
		if (r < 0)
			return r;
		for (i = 0; i < table.n; i++)
			mark(p, &table.v[i], arg);
	}
	return 0;
}

int umbra_view_devices_settle(struct umbra_protected *p, struct umbra_error *err)
{
	_cleanup_free_ bool *mapped = calloc(p->pool->geometry.segments, sizeof(*mapped));
	int r;

	if (!mapped)
		return umbra_oom(err);
	r = each_view(p, mark_one, mapped, err);
	if (r == 0)
		umbra_pool_settle(p->pool, mapped);
	return r;
}
