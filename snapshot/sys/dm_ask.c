/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "snapshot/sys/dm.h"
#include "snapshot/sys/dm_task.h"

int umbra_dm_available(struct umbra_error *err)
{
	LIBRARY;
	_cleanup_task_ struct dm_task *task = NULL;

	task = dm_task_create(DM_DEVICE_VERSION);
	if (task && dm_task_run(task))
		return 0;
	if (geteuid() != 0)
		return umbra_fail(err, UMBRA_E_PERMISSION, EPERM,
				  "device-mapper is for root alone");
	return umbra_fail(err, UMBRA_E_UNSUPPORTED, EOPNOTSUPP,
			  "there is no device-mapper here%s%s (modprobe dm-mod)",
			  *umbra_dm_said() ? ": " : "", umbra_dm_said());
}

int umbra_dm_has_target(const char *target, struct umbra_error *err)
{
	LIBRARY;
	_cleanup_task_ struct dm_task *task = NULL;

	task = dm_task_create(DM_DEVICE_GET_TARGET_VERSION);
	if (task && dm_task_set_name(task, target) && dm_task_run(task))
		return 0;
	return umbra_fail(err, UMBRA_E_UNSUPPORTED, EOPNOTSUPP,
			  "this kernel's device-mapper has no target '%s' (modprobe dm-%s)", target,
			  strncmp(target, "snapshot", 8) == 0 ? "snapshot" : target);
}

static int get_info(struct umbra_dm_ref ref, struct umbra_dm_info *out, struct umbra_error *err)
{
	_cleanup_task_ struct dm_task *task = NULL;
	const char *name, *uuid;
	struct dm_info info;
	int r = umbra_dm_task_new(DM_DEVICE_INFO, "look at", ref, &task, err);

	if (r < 0)
		return r;
	if (!dm_task_run(task) || !dm_task_get_info(task, &info))
		return umbra_dm_fail(task, "look at", ref, err);
	if (!info.exists)
		return UMBRA_DM_NONE;
	*out = (struct umbra_dm_info){
		.dev = makedev(info.major, info.minor),
		.suspended = info.suspended,
		.live = info.live_table,
		.loaded = info.inactive_table,
		.read_only = info.read_only,
		.removed_later = info.deferred_remove,
		.open_count = info.open_count,
	};
	name = dm_task_get_name(task);
	uuid = dm_task_get_uuid(task);
	snprintf(out->name, sizeof(out->name), "%s", name ? name : "");
	snprintf(out->uuid, sizeof(out->uuid), "%s", uuid ? uuid : "");
	return 0;
}

int umbra_dm_info(struct umbra_dm_ref ref, struct umbra_dm_info *out, struct umbra_error *err)
{
	LIBRARY;

	return get_info(ref, out, err);
}

void umbra_dm_list_finish(struct umbra_dm_list *list)
{
	free(list->v);
	*list = (struct umbra_dm_list){0};
}

static int list_one(struct umbra_dm_list *list, const char *name, const char *prefix,
		    struct umbra_error *err)
{
	struct umbra_dm_info info, *v;
	int r = get_info(umbra_dm_named(name), &info, err);

	if (r != 0) /* gone meanwhile */
		return r == UMBRA_DM_NONE ? 0 : r;
	if (strncmp(info.uuid, prefix, strlen(prefix)) != 0)
		return 0;
	v = reallocarray(list->v, list->n + 1, sizeof(*v));
	if (!v)
		return umbra_oom(err);
	list->v = v;
	v[list->n++] = info;
	return 0;
}

int umbra_dm_list(const char *prefix, struct umbra_dm_list *out, struct umbra_error *err)
{
	LIBRARY;
	_cleanup_task_ struct dm_task *task = NULL;
	_cleanup_dm_list_ struct umbra_dm_list list = {0};
	const struct dm_names *names;
	int r = 0;

	task = dm_task_create(DM_DEVICE_LIST);
	names = task && dm_task_run(task) ? dm_task_get_names(task) : NULL;
	if (!names)
		return umbra_fail(err, UMBRA_E_INTERNAL, EIO,
				  "cannot list the device-mapper devices%s%s",
				  *umbra_dm_said() ? ": " : "", umbra_dm_said());
	if (names->dev == 0)
		names = NULL;
	while (names && r == 0) {
		r = list_one(&list, names->name, prefix, err);
		names = names->next ? (const void *)((const char *)names + names->next) : NULL;
	}
	if (r < 0)
		return r;
	*out = list;
	list = (struct umbra_dm_list){0};
	return 0;
}

static int read_lines(struct dm_task *task, struct umbra_dm_table *out, struct umbra_error *err)
{
	char *target = NULL, *params = NULL;
	uint64_t start, length;
	void *next = NULL;
	int r = 0;

	do {
		next = dm_get_next_target(task, next, &start, &length, &target, &params);
		if (target)
			r = umbra_dm_table_add_line(out, start, length, target,
						    params ? params : "", err);
	} while (next && r == 0);
	return r;
}

static int ask(int type, struct umbra_dm_ref ref, enum umbra_dm_which which,
	       struct umbra_dm_table *out, struct umbra_error *err)
{
	LIBRARY;
	_cleanup_dm_table_ struct umbra_dm_table table = {0};
	_cleanup_task_ struct dm_task *task = NULL;
	struct dm_info info;
	int r = umbra_dm_task_new(type, "read the table of", ref, &task, err);

	if (r < 0)
		return r;
	if (!dm_task_secure_data(task) || !dm_task_no_flush(task) ||
	    (which == UMBRA_DM_LOADED && !dm_task_query_inactive_table(task)) ||
	    !dm_task_run(task) || !dm_task_get_info(task, &info))
		return umbra_dm_fail(task, "read the table of", ref, err);
	if (!info.exists)
		return umbra_fail(err, UMBRA_E_NOT_FOUND, ENXIO,
				  "there is no device-mapper device %s",
				  umbra_dm_show(ref, (char[UMBRA_DM_SHOWN]){0}));
	r = read_lines(task, &table, err);
	if (r < 0)
		return r;
	*out = table;
	table = (struct umbra_dm_table){0};
	return 0;
}

int umbra_dm_table(struct umbra_dm_ref ref, enum umbra_dm_which which, struct umbra_dm_table *out,
		   struct umbra_error *err)
{
	return ask(DM_DEVICE_TABLE, ref, which, out, err);
}

int umbra_dm_status(struct umbra_dm_ref ref, enum umbra_dm_which which, struct umbra_dm_table *out,
		    struct umbra_error *err)
{
	return ask(DM_DEVICE_STATUS, ref, which, out, err);
}

int umbra_dm_deps(struct umbra_dm_ref ref, dev_t **out, size_t *n, struct umbra_error *err)
{
	LIBRARY;
	_cleanup_task_ struct dm_task *task = NULL;
	const struct dm_deps *deps;
	dev_t *v;
	size_t i;
	int r = umbra_dm_task_new(DM_DEVICE_DEPS, "ask what is below", ref, &task, err);

	if (r < 0)
		return r;
	deps = dm_task_run(task) ? dm_task_get_deps(task) : NULL;
	if (!deps)
		return umbra_dm_fail(task, "ask what is below", ref, err);
	v = calloc(deps->count ? deps->count : 1, sizeof(*v));
	if (!v)
		return umbra_oom(err);
	for (i = 0; i < deps->count; i++) /* numbers in the kernel's form, which is glibc's */
		v[i] = (dev_t)deps->device[i];
	*out = v;
	*n = deps->count;
	return 0;
}
