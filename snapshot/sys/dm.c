/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/sys/dm.h"

#include <fcntl.h>
#include <linux/dm-ioctl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "snapshot/sys/dm_task.h"

void umbra_dm_path(dev_t dev, char out[UMBRA_DM_PATH_MAX])
{
	snprintf(out, UMBRA_DM_PATH_MAX, "/dev/dm-%u", minor(dev));
}

int umbra_dm_open(dev_t dev, int flags, struct umbra_error *err)
{
	_cleanup_close_ int fd = -1;
	char path[UMBRA_DM_PATH_MAX];
	struct stat st;

	umbra_dm_path(dev, path);
	fd = open(path, flags | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return umbra_fail_errno(err, errno, "cannot open '%s'", path);
	if (!S_ISBLK(st.st_mode) || st.st_rdev != dev)
		return umbra_fail(err, UMBRA_E_NOT_FOUND, ENODEV,
				  "'%s' is not device %u:%u: is /dev that of this kernel?", path,
				  major(dev), minor(dev));
	return TAKE_FD(fd);
}

static bool add_lines(struct dm_task *task, const struct umbra_dm_table *table)
{
	size_t i;

	for (i = 0; i < table->n; i++) {
		const struct umbra_dm_line *l = &table->v[i];

		if (!dm_task_add_target(task, l->start, l->length, l->target, l->params))
			return false;
	}
	return true;
}

/* What a table is given with: keys are overwritten by library and kernel after use. */
static bool set_table(struct dm_task *task, const struct umbra_dm_table *table, unsigned int flags)
{
	return add_lines(task, table) && dm_task_secure_data(task) &&
	       (!(flags & UMBRA_DM_READ_ONLY) || dm_task_set_ro(task));
}

static int load(struct umbra_dm_ref ref, const struct umbra_dm_table *table, unsigned int flags,
		struct umbra_error *err)
{
	_cleanup_task_ struct dm_task *task = NULL;
	int r = umbra_dm_task_new(DM_DEVICE_RELOAD, UMBRA_DM_LOAD, ref, &task, err);

	if (r < 0)
		return r;
	if (!set_table(task, table, flags))
		return umbra_oom(err);
	return umbra_dm_run(task, UMBRA_DM_LOAD, ref, err);
}

static int try_remove(const char *name, enum umbra_dm_remove how, struct umbra_error *err)
{
	struct umbra_dm_ref ref = umbra_dm_named(name);
	_cleanup_task_ struct dm_task *task = NULL;
	int r = umbra_dm_task_new(DM_DEVICE_REMOVE, "remove", ref, &task, err);

	if (r < 0)
		return r;
	if (how == UMBRA_DM_REMOVE_LATER && !dm_task_deferred_remove(task))
		return umbra_dm_fail(task, "remove", ref, err);
	r = umbra_dm_run_with_event(task, "remove", ref, err);
	return r == -ENXIO ? UMBRA_DM_NONE : r;
}

static int get_dev(struct dm_task *task, dev_t *dev)
{
	struct dm_info info;

	if (!dm_task_get_info(task, &info))
		return -EIO;
	*dev = makedev(info.major, info.minor);
	return 0;
}

static int already(const char *name, struct umbra_error *err)
{
	return umbra_fail(err, UMBRA_E_EXISTS, EEXIST,
			  "there is a device-mapper device '%s', or one with its uuid, already",
			  name);
}

static int create_empty(const char *name, const char *uuid, dev_t *dev, struct umbra_error *err)
{
	struct umbra_dm_ref ref = umbra_dm_named(name);
	_cleanup_task_ struct dm_task *task = NULL;
	int r = umbra_dm_task_new(DM_DEVICE_CREATE, "create", ref, &task, err);

	if (r < 0)
		return r;
	if (!dm_task_set_uuid(task, uuid))
		return umbra_oom(err);
	/* Without a cookie: udev is told of a device by its first resume. */
	r = umbra_dm_run(task, "create", ref, err);
	if (r == -EBUSY)
		return already(name, err);
	return r < 0 ? r : get_dev(task, dev);
}

/*
 * Somebody else's device. The library always has something to tell udev, at the least that there
 * are no links to be made, and udev remembers that: /dev/mapper/NAME and /dev/VG/LV would go. An
 * event that says nothing leaves all as it was.
 */
static int resume_numbered(struct umbra_dm_ref ref, struct umbra_error *err)
{
	struct dm_ioctl io = {
		.version = {DM_VERSION_MAJOR, 0, 0},
		.data_size = sizeof(io),
		.data_start = sizeof(io),
		.flags = DM_SKIP_LOCKFS_FLAG | DM_NOFLUSH_FLAG,
		.dev = ref.dev,
	};
	char what[UMBRA_DM_SHOWN];
	_cleanup_close_ int control = -1;
	int r = umbra_dm_control_open(&control, err);

	if (r < 0 || ioctl(control, DM_DEV_SUSPEND, &io) == 0)
		return r;
	return umbra_fail_errno(err, errno, "cannot resume device-mapper device %s",
				umbra_dm_show(ref, what));
}

static int resume(struct umbra_dm_ref ref, struct umbra_error *err)
{
	_cleanup_task_ struct dm_task *task = NULL;
	int r;

	if (!ref.name)
		return resume_numbered(ref, err);
	r = umbra_dm_task_new(DM_DEVICE_RESUME, "resume", ref, &task, err);
	if (r < 0)
		return r;
	dm_task_skip_lockfs(task);
	dm_task_no_flush(task);
	return umbra_dm_run_with_event(task, "resume", ref, err);
}

static int create(const char *name, const char *uuid, const struct umbra_dm_table *table,
		  unsigned int flags, dev_t *dev, struct umbra_error *err)
{
	LIBRARY;
	struct umbra_dm_ref ref = umbra_dm_named(name);
	int r = create_empty(name, uuid, dev, err);

	if (r < 0)
		return r;
	r = load(ref, table, flags, err);
	if (r == 0 && !(flags & UMBRA_DM_LOAD_ONLY))
		r = resume(ref, err);
	if (r < 0)
		try_remove(name, UMBRA_DM_REMOVE_NOW, NULL);
	return r;
}

/* The kernel has made its node with its first table, ... */
static void remove_node(dev_t dev)
{
	char path[UMBRA_DM_PATH_MAX];
	struct stat st;

	umbra_dm_path(dev, path);
	if (lstat(path, &st) == 0 && S_ISBLK(st.st_mode) && st.st_rdev == dev)
		unlink(path);
}

/* ... and the library another one, or udev a link, with each resume. */
static void remove_named_node(const char *name)
{
	char path[UMBRA_DM_NAME_MAX + sizeof("/dev/" DM_DIR "/")];

	snprintf(path, sizeof(path), "/dev/" DM_DIR "/%s", name);
	unlink(path);
}

int umbra_dm_create(const char *name, const char *uuid, const struct umbra_dm_table *table,
		    unsigned int flags, dev_t *dev, struct umbra_error *err)
{
	dev_t made = 0;
	int r = create(name, uuid, table, flags, &made, err);

	if (r == 0 && umbra_dm_hidden(umbra_dm_named(name))) {
		remove_node(made);
		remove_named_node(name);
	}
	if (r == 0 && dev)
		*dev = made;
	return r;
}

int umbra_dm_load(struct umbra_dm_ref ref, const struct umbra_dm_table *table, unsigned int flags,
		  struct umbra_error *err)
{
	LIBRARY;

	return load(ref, table, flags, err);
}

int umbra_dm_unload(struct umbra_dm_ref ref, struct umbra_error *err)
{
	LIBRARY;
	_cleanup_task_ struct dm_task *task = NULL;
	int r = umbra_dm_task_new(DM_DEVICE_CLEAR, "unload a table from", ref, &task, err);

	return r < 0 ? r : umbra_dm_run(task, "unload a table from", ref, err);
}

int umbra_dm_suspend(struct umbra_dm_ref ref, unsigned int flags, struct umbra_error *err)
{
	LIBRARY;
	_cleanup_task_ struct dm_task *task = NULL;
	int r = umbra_dm_task_new(DM_DEVICE_SUSPEND, "suspend", ref, &task, err);

	if (r < 0)
		return r;
	if (flags & UMBRA_DM_NO_LOCKFS)
		dm_task_skip_lockfs(task);
	if (flags & UMBRA_DM_NO_FLUSH)
		dm_task_no_flush(task);
	return umbra_dm_run(task, "suspend", ref, err);
}

static int resume_once(struct umbra_dm_ref ref, struct umbra_error *err)
{
	LIBRARY;

	return resume(ref, err);
}

/* The kernel suspends, looks whether the new table goes, and if not leaves it at that. */
int umbra_dm_resume(struct umbra_dm_ref ref, struct umbra_error *err)
{
	struct umbra_dm_info before;
	bool went = umbra_dm_info(ref, &before, NULL) == 0 && !before.suspended;
	int r = resume_once(ref, err);

	if (r < 0 && went)
		resume_once(ref, NULL);
	if (umbra_dm_hidden(ref))
		remove_named_node(ref.name);
	return r;
}

static int remove_once(const char *name, enum umbra_dm_remove how, struct umbra_error *err)
{
	LIBRARY;

	return try_remove(name, how, err);
}

int umbra_dm_remove(const char *name, enum umbra_dm_remove how, struct umbra_error *err)
{
	long end = umbra_dm_now_ms() + UMBRA_DM_REMOVE_MS;
	int r;

	/* Whoever is told of a device (udev, udisks) opens it for a moment. */
	while ((r = remove_once(name, how, err)) == -EBUSY && umbra_dm_now_ms() < end)
		umbra_dm_sleep_ms(20);
	return r;
}

int umbra_dm_retain(const char *name, struct umbra_error *err)
{
	LIBRARY;
	struct umbra_dm_ref ref = umbra_dm_named(name);
	_cleanup_task_ struct dm_task *task = NULL;
	int r = umbra_dm_task_new(DM_DEVICE_TARGET_MSG, "retain", ref, &task, err);

	if (r < 0)
		return r;
	if (!dm_task_set_message(task, "@cancel_deferred_remove"))
		return umbra_oom(err);
	r = umbra_dm_run(task, "retain", ref, err);
	return r == -ENXIO ? UMBRA_DM_NONE : r;
}
