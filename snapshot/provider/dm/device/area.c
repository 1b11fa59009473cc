/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/provider/dm/device/area_parts.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static const char *const kinds[] = {"inside", "file", "device"};

struct umbra_area *umbra_area_close(struct umbra_area *a)
{
	if (a) {
		umbra_area_leave_dir(a);
		umbra_close(a->io);
		umbra_close(a->file);
		umbra_close(a->dir);
		free(a->extents);
		free(a->place);
		free(a);
	}
	return NULL;
}

struct umbra_area *umbra_area_alloc(void)
{
	struct umbra_area *a = calloc(1, sizeof(*a));

	if (a)
		a->io = a->file = a->dir = -1;
	return a;
}

bool umbra_area_certain(const struct umbra_area *a)
{
	return a->kind != UMBRA_AREA_INSIDE || a->compared;
}

bool umbra_area_is_inside(const struct umbra_area *a)
{
	return a->kind == UMBRA_AREA_INSIDE;
}

const struct umbra_id *umbra_area_id(const struct umbra_area *a)
{
	return &a->id;
}

uint64_t umbra_area_sectors(const struct umbra_area *a)
{
	return a->bytes / 512;
}

const char *umbra_area_kind(const struct umbra_area *a)
{
	return kinds[a->kind];
}

const char *umbra_area_place(const struct umbra_area *a)
{
	return a->place;
}

/* --- record --- */

static json_t *extents_json(const struct umbra_area *a)
{
	json_t *list = json_array();
	size_t i;

	for (i = 0; list && i < a->n_extents; i++)
		if (json_array_append_new(list,
					  json_pack("[I,I,I]", (json_int_t)a->extents[i].logical,
						    (json_int_t)a->extents[i].physical,
						    (json_int_t)a->extents[i].length)) < 0) {
			json_decref(list);
			return NULL;
		}
	return list;
}

json_t *umbra_area_record(const struct umbra_area *a)
{
	json_t *doc = json_pack("{s:s,s:s,s:I,s:o}", "id", a->id.s, "kind", kinds[a->kind], "bytes",
				(json_int_t)a->bytes, "extents", extents_json(a));

	if (!doc || umbra_doc_set_path(doc, "place", a->place) < 0 ||
	    (a->resizing && json_object_set_new(doc, "resizing", json_true()) < 0)) {
		json_decref(doc);
		return NULL;
	}
	return doc;
}

bool umbra_area_resizing(const json_t *record)
{
	return umbra_doc_bool(record, "resizing", false);
}

int umbra_area_record_kind(const json_t *record)
{
	const char *kind = umbra_doc_string(record, "kind");
	int i;

	for (i = 0; kind && i < (int)UMBRA_ARRAY_SIZE(kinds); i++)
		if (strcmp(kind, kinds[i]) == 0)
			return i;
	return -1;
}

bool umbra_area_record_inside(const json_t *record)
{
	return umbra_area_record_kind(record) == UMBRA_AREA_INSIDE;
}

static int parse_extents(const json_t *list, struct umbra_area *a)
{
	uint64_t at = 0;
	const json_t *e;
	size_t i;

	a->extents = calloc(json_array_size(list) + 1, sizeof(*a->extents));
	if (!a->extents)
		return -ENOMEM;
	json_array_foreach (list, i, e) {
		json_int_t logical = json_integer_value(json_array_get(e, 0));
		json_int_t physical = json_integer_value(json_array_get(e, 1));
		json_int_t length = json_integer_value(json_array_get(e, 2));

		if (logical < 0 || (uint64_t)logical != at || physical < 0 || length <= 0 ||
		    length % 512 || physical % 512 || length > INT64_MAX - logical ||
		    length > INT64_MAX - physical)
			return -EBADMSG;
		at += (uint64_t)length;
		a->extents[i] = (struct umbra_fixed_extent){.logical = (uint64_t)logical,
							    .physical = (uint64_t)physical,
							    .length = (uint64_t)length};
	}
	a->n_extents = i;
	return a->kind == UMBRA_AREA_INSIDE && at < a->bytes ? -EBADMSG : 0;
}

static int parse(const json_t *doc, struct umbra_area *a)
{
	const char *id = umbra_doc_string(doc, "id");
	int64_t bytes = umbra_doc_int(doc, "bytes", 0);
	int kind = umbra_area_record_kind(doc), r;

	if (!id || !umbra_id_valid(id) || kind < 0 || bytes <= 0 || bytes % UMBRA_AREA_BLOCK)
		return -EBADMSG;
	memcpy(a->id.s, id, sizeof(a->id.s));
	a->kind = (enum umbra_area_kind)kind;
	a->bytes = (uint64_t)bytes;
	a->resizing = umbra_area_resizing(doc);
	r = umbra_doc_get_path(doc, "place", &a->place);
	if (r < 0)
		return r == -ENOMEM ? r : -EBADMSG;
	return parse_extents(json_object_get(doc, "extents"), a);
}

int umbra_area_open(const json_t *record, dev_t origin, bool at_it, struct umbra_area **out,
		    struct umbra_error *err)
{
	_cleanup_area_ struct umbra_area *a = umbra_area_alloc();
	int r;

	if (!a)
		return umbra_oom(err);
	r = parse(record, a);
	if (r == -ENOMEM)
		return umbra_oom(err);
	if (r < 0)
		return umbra_fail(err, UMBRA_E_DAMAGED, r, "the record of a diff area is damaged");
	a->base = a->origin = origin;
	r = umbra_area_find(a, at_it, err);
	if (r == 0)
		*out = TAKE_PTR(a);
	return r;
}

/* --- mapping --- */

static int inside_table(const struct umbra_area *a, dev_t base, struct umbra_dm_table *table,
			struct umbra_error *err)
{
	uint64_t left = a->bytes, n;
	size_t i;
	int r = 0;

	for (i = 0; r == 0 && left > 0 && i < a->n_extents; i++) {
		n = a->extents[i].length < left ? a->extents[i].length : left;
		r = umbra_dm_table_add(table, n / 512, "linear", err, "%u:%u %" PRIu64, major(base),
				       minor(base), a->extents[i].physical / 512);
		left -= n;
	}
	return r;
}

/* The block device of one that is not inside; *keep is a descriptor to close once it is in use. */
static int outer_device(struct umbra_area *a, dev_t *out, int *keep, struct umbra_error *err)
{
	struct stat st;
	int r;

	if (a->kind == UMBRA_AREA_FILE) {
		r = umbra_loop_attach(a->io, true, keep, out, err);
		return r;
	}
	if (fstat(a->io, &st) < 0)
		return umbra_fail_errno(err, errno, "cannot look at '%s'", a->place);
	*out = st.st_rdev;
	return 0;
}

int umbra_area_map(struct umbra_area *a, dev_t base, dev_t *out, struct umbra_error *err)
{
	_cleanup_dm_table_ struct umbra_dm_table table = {0};
	_cleanup_close_ int keep = -1;
	struct umbra_device_name name;
	dev_t outer;
	int r = umbra_area_unmap(a, err);

	umbra_device_name(&a->id, "area", &name);
	if (r == 0 && a->kind == UMBRA_AREA_INSIDE) {
		r = inside_table(a, base, &table, err);
	} else if (r == 0) {
		r = outer_device(a, &outer, &keep, err);
		if (r == 0)
			r = umbra_dm_table_add(&table, a->bytes / 512, "linear", err, "%u:%u 0",
					       major(outer), minor(outer));
	}
	if (r == 0)
		r = umbra_dm_create(name.name, name.uuid, &table, 0, out, err);
	return r;
}

/* The device that is the area lies on this one, of which *length sectors are mapped. */
static int lies_on(const char *name, dev_t *out, uint64_t *length, struct umbra_error *err)
{
	_cleanup_dm_table_ struct umbra_dm_table table = {0};
	unsigned int maj, min;
	int r = umbra_dm_table(umbra_dm_named(name), UMBRA_DM_LIVE, &table, err);

	if (r < 0)
		return r;
	if (table.n == 0 || sscanf(table.v[0].params, "%u:%u ", &maj, &min) != 2)
		return umbra_fail(err, UMBRA_E_INTERNAL, ENXIO, "'%s' lies on no device", name);
	*out = makedev(maj, min);
	*length = umbra_dm_table_sectors(&table);
	return 0;
}

int umbra_area_is_mapped(const struct umbra_area *a, struct umbra_error *err)
{
	struct umbra_device_name name;
	struct umbra_dm_info info;
	uint64_t length;
	dev_t below = 0;
	struct stat st;
	int r;

	if (a->kind == UMBRA_AREA_INSIDE)
		return 0;
	umbra_device_name(&a->id, "area", &name);
	r = umbra_dm_info(umbra_dm_named(name.name), &info, err);
	if (r != 0 || !info.live)
		return r < 0 ? r : 0;
	r = lies_on(name.name, &below, &length, err);
	if (r < 0)
		return r;
	if (fstat(a->io, &st) < 0)
		return umbra_fail_errno(err, errno, "cannot look at '%s'", a->place);
	r = a->kind == UMBRA_AREA_FILE ? umbra_loop_is_over(below, a->io, err)
				       : st.st_rdev == below;
	if (r != 0)
		return r < 0 ? r : 0;
	return umbra_fail(err, UMBRA_E_DAMAGED, EXDEV,
			  "at '%s' is another %s now than the diff area that is in use: put the "
			  "right one there again",
			  a->place, kinds[a->kind]);
}

int umbra_area_refit(struct umbra_area *a, dev_t base, struct umbra_error *err)
{
	_cleanup_dm_table_ struct umbra_dm_table table = {0};
	struct umbra_device_name name;
	uint64_t length = 0;
	dev_t below = 0;
	int r;

	umbra_device_name(&a->id, "area", &name);
	r = lies_on(name.name, &below, &length, err);
	if (r == 0 && a->kind == UMBRA_AREA_FILE && (a->resizing || length != a->bytes / 512))
		r = umbra_loop_refresh(below, err);
	if (r < 0 || length == a->bytes / 512)
		return r;
	if (a->kind == UMBRA_AREA_INSIDE)
		r = inside_table(a, base, &table, err);
	else
		r = umbra_dm_table_add(&table, a->bytes / 512, "linear", err, "%u:%u 0",
				       major(below), minor(below));
	if (r == 0)
		r = umbra_dm_load(umbra_dm_named(name.name), &table, 0, err);
	return r < 0 ? r : umbra_dm_resume(umbra_dm_named(name.name), err);
}

int umbra_area_unmap(struct umbra_area *a, struct umbra_error *err)
{
	struct umbra_device_name name;
	int r;

	umbra_device_name(&a->id, "area", &name);
	r = umbra_dm_remove(name.name, UMBRA_DM_REMOVE_NOW, err);
	return r < 0 ? r : 0;
}
