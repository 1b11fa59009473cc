/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/sys/dm.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "common/log.h"
#include "snapshot/sys/dm_udev.h"

#define LOG_LEVEL    7 /* of the library: the rest of the number is flags */
#define LOG_ERRORS   3
#define LOG_WARNINGS 4

/* The library has one state for all threads; said is what it told last, both under the lock. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char said[256];

__attribute__((format(printf, 5, 6))) static void hear(int level, const char *file, int line,
						       int errnum, const char *fmt, ...)
{
	char text[sizeof(said)];
	va_list ap;

	(void)file;
	(void)line;
	(void)errnum;
	if ((level & LOG_LEVEL) > LOG_WARNINGS)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if ((level & LOG_LEVEL) <= LOG_ERRORS && !*said) /* the first is the cause */
		memcpy(said, text, sizeof(said));
	umbra_log_debug("libdevmapper: %s", text);
}

/* The library's descriptor is not close-on-exec. */
static void leave(pthread_mutex_t **held)
{
	dm_lib_release();
	pthread_mutex_unlock(*held);
}

static pthread_mutex_t *enter(void)
{
	static bool ready;

	pthread_mutex_lock(&lock);
	if (!ready) {
		dm_log_with_errno_init(hear);
		dm_set_name_mangling_mode(DM_STRING_MANGLING_NONE);
		ready = true;
	}
	*said = '\0';
	return &lock;
}

/* For the rest of the block the library is ours. */
#define LIBRARY _cleanup_(leave) pthread_mutex_t *held __attribute__((unused)) = enter()

static void destroy(struct dm_task **task)
{
	if (*task)
		dm_task_destroy(*task);
}
#define _cleanup_task_ _cleanup_(destroy)

#define SHOWN (UMBRA_DM_NAME_MAX + 16)

static const char *show(struct umbra_dm_ref ref, char out[SHOWN])
{
	if (ref.name)
		snprintf(out, SHOWN, "'%s'", ref.name);
	else
		snprintf(out, SHOWN, "%u:%u", major(ref.dev), minor(ref.dev));
	return out;
}

/* What libdevmapper's last failure was, as an error. */
static int fail(struct dm_task *task, const char *verb, struct umbra_dm_ref ref,
		struct umbra_error *err)
{
	int errnum = task ? dm_task_get_errno(task) : 0;
	char what[SHOWN];

	if (errnum == 0)
		errnum = geteuid() != 0 ? EPERM : EIO;
	if (errnum == ENXIO || errnum == EBUSY)
		return umbra_fail(err, umbra_code_from_errno(errnum), errnum,
				  "cannot %s device-mapper device %s: %s", verb, show(ref, what),
				  errnum == EBUSY ? "it is in use" : "there is none");
	return umbra_fail(err, umbra_code_from_errno(errnum), errnum,
			  "cannot %s device-mapper device %s: %s%s", verb, show(ref, what),
			  *said ? said : strerror(errnum),
			  errnum == EINVAL ? " (the kernel's log says why)" : "");
}

static int new_task(int type, const char *verb, struct umbra_dm_ref ref, struct dm_task **out,
		    struct umbra_error *err)
{
	struct dm_task *task = dm_task_create(type);
	int r;

	if (task && (ref.name ? dm_task_set_name(task, ref.name)
			      : dm_task_set_major(task, (int)major(ref.dev)) &&
					dm_task_set_minor(task, (int)minor(ref.dev)))) {
		*out = task;
		return 0;
	}
	r = fail(task, verb, ref, err);
	destroy(&task);
	return r;
}

static long now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void sleep_ms(long ms)
{
	nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

/* dm_udev_wait() has no limit, and udev may be stopped. */
static void wait_udev(uint32_t cookie)
{
	long end = now_ms() + UMBRA_DM_UDEV_MS;
	int ready = 0;

	if (cookie == 0) { /* no udev: the library makes and removes nodes now */
		dm_udev_wait(cookie);
		return;
	}
	while (dm_udev_wait_immediate(cookie, &ready) && !ready && now_ms() < end)
		sleep_ms(1);
	if (ready)
		return;
	umbra_log_warning("udev has not answered for %d s: its links to devices may be missing",
			  UMBRA_DM_UDEV_MS / 1000);
	dm_udev_complete(cookie);
	dm_udev_wait(cookie);
}

/* Of tasks that cause an event for udev. */
static int run_with_event(struct dm_task *task, const char *verb, struct umbra_dm_ref ref,
			  struct umbra_error *err)
{
	uint32_t cookie = 0;
	int r = 0;

	if (!ref.name)
		return dm_task_run(task) ? 0 : fail(task, verb, ref, err);
	if (!dm_task_set_cookie(task, &cookie, UMBRA_DM_UDEV_FLAGS))
		return fail(task, verb, ref, err);
	if (!dm_task_run(task))
		r = fail(task, verb, ref, err);
	wait_udev(cookie);
	return r;
}

static int run(struct dm_task *task, const char *verb, struct umbra_dm_ref ref,
	       struct umbra_error *err)
{
	return dm_task_run(task) ? 0 : fail(task, verb, ref, err);
}

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
			  "there is no device-mapper here%s%s (modprobe dm-mod)", *said ? ": " : "",
			  said);
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
	int r = new_task(DM_DEVICE_INFO, "look at", ref, &task, err);

	if (r < 0)
		return r;
	if (!dm_task_run(task) || !dm_task_get_info(task, &info))
		return fail(task, "look at", ref, err);
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
				  "cannot list the device-mapper devices%s%s", *said ? ": " : "",
				  said);
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
	int r = new_task(DM_DEVICE_RELOAD, "load a table into", ref, &task, err);

	if (r < 0)
		return r;
	if (!set_table(task, table, flags))
		return umbra_oom(err);
	return run(task, "load a table into", ref, err);
}

static int try_remove(const char *name, enum umbra_dm_remove how, struct umbra_error *err)
{
	struct umbra_dm_ref ref = umbra_dm_named(name);
	_cleanup_task_ struct dm_task *task = NULL;
	int r = new_task(DM_DEVICE_REMOVE, "remove", ref, &task, err);

	if (r < 0)
		return r;
	if (how == UMBRA_DM_REMOVE_LATER && !dm_task_deferred_remove(task))
		return fail(task, "remove", ref, err);
	r = run_with_event(task, "remove", ref, err);
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
	int r = new_task(DM_DEVICE_CREATE, "create", ref, &task, err);

	if (r < 0)
		return r;
	if (!dm_task_set_uuid(task, uuid))
		return umbra_oom(err);
	/* Without a cookie: udev is told of a device by its first resume. */
	r = run(task, "create", ref, err);
	if (r == -EBUSY)
		return already(name, err);
	return r < 0 ? r : get_dev(task, dev);
}

static int resume(struct umbra_dm_ref ref, struct umbra_error *err)
{
	_cleanup_task_ struct dm_task *task = NULL;
	int r = new_task(DM_DEVICE_RESUME, "resume", ref, &task, err);

	if (r < 0)
		return r;
	dm_task_skip_lockfs(task);
	dm_task_no_flush(task);
	return run_with_event(task, "resume", ref, err);
}

int umbra_dm_create(const char *name, const char *uuid, const struct umbra_dm_table *table,
		    unsigned int flags, dev_t *dev, struct umbra_error *err)
{
	LIBRARY;
	struct umbra_dm_ref ref = umbra_dm_named(name);
	dev_t made = 0;
	int r = create_empty(name, uuid, &made, err);

	if (r < 0)
		return r;
	r = load(ref, table, flags, err);
	if (r == 0 && !(flags & UMBRA_DM_LOAD_ONLY))
		r = resume(ref, err);
	if (r < 0) {
		try_remove(name, UMBRA_DM_REMOVE_NOW, NULL);
		return r;
	}
	if (dev)
		*dev = made;
	return 0;
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
	int r = new_task(DM_DEVICE_CLEAR, "unload a table from", ref, &task, err);

	return r < 0 ? r : run(task, "unload a table from", ref, err);
}

int umbra_dm_suspend(struct umbra_dm_ref ref, unsigned int flags, struct umbra_error *err)
{
	LIBRARY;
	_cleanup_task_ struct dm_task *task = NULL;
	int r = new_task(DM_DEVICE_SUSPEND, "suspend", ref, &task, err);

	if (r < 0)
		return r;
	if (flags & UMBRA_DM_NO_LOCKFS)
		dm_task_skip_lockfs(task);
	if (flags & UMBRA_DM_NO_FLUSH)
		dm_task_no_flush(task);
	return run(task, "suspend", ref, err);
}

int umbra_dm_resume(struct umbra_dm_ref ref, struct umbra_error *err)
{
	LIBRARY;

	return resume(ref, err);
}

static int remove_once(const char *name, enum umbra_dm_remove how, struct umbra_error *err)
{
	LIBRARY;

	return try_remove(name, how, err);
}

int umbra_dm_remove(const char *name, enum umbra_dm_remove how, struct umbra_error *err)
{
	long end = now_ms() + UMBRA_DM_REMOVE_MS;
	int r;

	/* Whoever is told of a device (udev, udisks) opens it for a moment. */
	while ((r = remove_once(name, how, err)) == -EBUSY && now_ms() < end)
		sleep_ms(20);
	return r;
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
	int r = new_task(type, "read the table of", ref, &task, err);

	if (r < 0)
		return r;
	if (!dm_task_secure_data(task) || !dm_task_no_flush(task) ||
	    (which == UMBRA_DM_LOADED && !dm_task_query_inactive_table(task)) ||
	    !dm_task_run(task) || !dm_task_get_info(task, &info))
		return fail(task, "read the table of", ref, err);
	if (!info.exists)
		return umbra_fail(err, UMBRA_E_NOT_FOUND, ENXIO,
				  "there is no device-mapper device %s",
				  show(ref, (char[SHOWN]){0}));
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
	int r = new_task(DM_DEVICE_DEPS, "ask what is below", ref, &task, err);

	if (r < 0)
		return r;
	deps = dm_task_run(task) ? dm_task_get_deps(task) : NULL;
	if (!deps)
		return fail(task, "ask what is below", ref, err);
	v = calloc(deps->count ? deps->count : 1, sizeof(*v));
	if (!v)
		return umbra_oom(err);
	for (i = 0; i < deps->count; i++) /* numbers in the kernel's form, which is glibc's */
		v[i] = (dev_t)deps->device[i];
	*out = v;
	*n = deps->count;
	return 0;
}
