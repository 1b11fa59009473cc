/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/provider/dm/device/kernel.h"

#include <string.h>

/* Who uses whom: users first. */
static const char *const order[] = {"view-", "viewcow", "snap", "cow", "wall", "area"};

int umbra_kernel_retire(const struct umbra_kernel *k, const struct umbra_dm_info *info,
			struct umbra_error *err)
{
	_cleanup_dm_table_ struct umbra_dm_table table = {0};
	int r;

	if (info->open_count == 0)
		return umbra_dm_remove(info->name, UMBRA_DM_REMOVE_NOW, err);
	r = umbra_dm_table_add(&table, k->sectors, "error", err, "%s", "");
	if (r == 0)
		r = umbra_dm_load(umbra_dm_named(info->name), &table,
				  info->read_only ? UMBRA_DM_READ_ONLY : 0, err);
	if (r == 0)
		r = umbra_dm_resume(umbra_dm_named(info->name), err);
	return r < 0 ? r : umbra_dm_remove(info->name, UMBRA_DM_REMOVE_LATER, err);
}

/* People can open these. */
static bool is_shown(const char *kind)
{
	return strcmp(kind, "view-") == 0 || strcmp(kind, "snap") == 0;
}

static int clear_kind(const struct umbra_kernel *k, const char *kind, struct umbra_error *err)
{
	_cleanup_dm_list_ struct umbra_dm_list list = {0};
	struct umbra_device_name prefix;
	size_t i;
	int r;

	umbra_device_name(&k->area, kind, &prefix);
	r = umbra_dm_list(prefix.uuid, &list, err);
	for (i = 0; r >= 0 && i < list.n; i++)
		r = is_shown(kind) ? umbra_kernel_retire(k, &list.v[i], err)
				   : umbra_dm_remove(list.v[i].name, UMBRA_DM_REMOVE_NOW, err);
	return r < 0 ? r : 0;
}

/* Writers that wait at a wall get errors from it: the kernel takes no snapshot away before. */
static int open_walls(const struct umbra_kernel *k, struct umbra_error *err)
{
	_cleanup_dm_list_ struct umbra_dm_list list = {0};
	struct umbra_device_name prefix;
	size_t i;
	int r;

	umbra_device_name(&k->area, "wall", &prefix);
	r = umbra_dm_list(prefix.uuid, &list, err);
	for (i = 0; r == 0 && i < list.n; i++) {
		if (list.v[i].loaded)
			r = umbra_dm_unload(umbra_dm_named(list.v[i].name), err);
		if (r == 0 && list.v[i].suspended)
			r = umbra_dm_resume(umbra_dm_named(list.v[i].name), err);
	}
	return r;
}

int umbra_kernel_clear(const struct umbra_kernel *k, struct umbra_error *err)
{
	int r = open_walls(k, err);
	size_t i;

	for (i = 0; r == 0 && i < UMBRA_ARRAY_SIZE(order); i++)
		r = clear_kind(k, order[i], err);
	return r;
}

int umbra_kernel_stop(const struct umbra_kernel *k, struct umbra_error *err)
{
	_cleanup_dm_table_ struct umbra_dm_table now = {0}, table = {0};
	struct umbra_device_name name;
	struct umbra_dm_info info;
	struct umbra_dm_ref ref;
	int r;

	umbra_device_name(&k->area, "area", &name);
	ref = umbra_dm_named(name.name);
	r = umbra_dm_info(ref, &info, err);
	if (r == UMBRA_DM_NONE || (r == 0 && !info.live))
		return 0;
	if (r == 0)
		r = umbra_dm_table(ref, UMBRA_DM_LIVE, &now, err);
	if (r == 0)
		r = umbra_dm_table_add(&table, umbra_dm_table_sectors(&now), "error", err, "%s",
				       "");
	if (r == 0)
		r = umbra_dm_load(ref, &table, 0, err);
	return r < 0 ? r : umbra_dm_resume(ref, err);
}
