/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/sys/dm_task.h"

#include <pthread.h>
#include <stdarg.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "common/log.h"
#include "snapshot/sys/dm_udev.h"

#define LOG_LEVEL    7 /* of the library: the rest of the number is flags */
#define LOG_ERRORS   3
#define LOG_WARNINGS 4

#define UDEV_RUNS "/run/udev/control"

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

void umbra_dm_leave(pthread_mutex_t **held)
{
	dm_lib_release(); /* makes nodes; and its descriptor is not close-on-exec */
	pthread_mutex_unlock(*held);
}

pthread_mutex_t *umbra_dm_enter(void)
{
	static bool ready;

	pthread_mutex_lock(&lock);
	if (!ready) {
		dm_log_with_errno_init(hear);
		dm_set_name_mangling_mode(DM_STRING_MANGLING_NONE);
		dm_udev_set_sync_support(0);
		ready = true;
	}
	*said = '\0';
	return &lock;
}

void umbra_dm_task_destroy(struct dm_task **task)
{
	if (*task)
		dm_task_destroy(*task);
}
const char *umbra_dm_show(struct umbra_dm_ref ref, char out[UMBRA_DM_SHOWN])
{
	if (ref.name)
		snprintf(out, UMBRA_DM_SHOWN, "'%s'", ref.name);
	else
		snprintf(out, UMBRA_DM_SHOWN, "%u:%u", major(ref.dev), minor(ref.dev));
	return out;
}

const char *umbra_dm_said(void)
{
	return said;
}

int umbra_dm_fail(struct dm_task *task, const char *verb, struct umbra_dm_ref ref,
		  struct umbra_error *err)
{
	int errnum = task ? dm_task_get_errno(task) : 0;
	char what[UMBRA_DM_SHOWN];

	if (errnum == 0)
		errnum = geteuid() != 0 ? EPERM : EIO;
	if (strcmp(verb, UMBRA_DM_LOAD) != 0 && (errnum == ENXIO || errnum == EBUSY))
		return umbra_fail(err, umbra_code_from_errno(errnum), errnum,
				  "cannot %s device-mapper device %s: %s", verb,
				  umbra_dm_show(ref, what),
				  errnum == EBUSY ? "it is in use" : "there is none");
	return umbra_fail(err, umbra_code_from_errno(errnum), errnum,
			  "cannot %s device-mapper device %s: %s%s", verb, umbra_dm_show(ref, what),
			  *said ? said : strerror(errnum),
			  strcmp(verb, UMBRA_DM_LOAD) == 0 ? " (the kernel's log says why)" : "");
}

int umbra_dm_task_new(int type, const char *verb, struct umbra_dm_ref ref, struct dm_task **out,
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
	r = umbra_dm_fail(task, verb, ref, err);
	umbra_dm_task_destroy(&task);
	return r;
}

long umbra_dm_now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void umbra_dm_sleep_ms(long ms)
{
	nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

bool umbra_dm_hidden(struct umbra_dm_ref ref)
{
	const char *role = ref.name ? strchr(ref.name, '-') : NULL;

	if (!role || strncmp(ref.name, "umbra-", 6) != 0)
		return false;
	role = strchr(role + 1, '-');
	return role && (strncmp(role, "-cow", 4) == 0 || strncmp(role, "-wall", 5) == 0);
}

/*
 * Flags for udev, and no semaphore that udev is to answer: a killed process would leave that
 * behind, and a stopped udev keep us. Where udev runs it makes and removes the links; else the
 * library makes nodes.
 */
int umbra_dm_run_with_event(struct dm_task *task, const char *verb, struct umbra_dm_ref ref,
			    struct umbra_error *err)
{
	bool udev = access(UDEV_RUNS, F_OK) == 0;
	uint32_t none = 0;

	if (!dm_task_set_cookie(task, &none,
				UMBRA_DM_UDEV_FLAGS |
					(udev ? DM_UDEV_DISABLE_LIBRARY_FALLBACK : 0) |
					(umbra_dm_hidden(ref) ? DM_UDEV_DISABLE_DM_RULES_FLAG : 0)))
		return umbra_dm_fail(task, verb, ref, err);
	return umbra_dm_run(task, verb, ref, err);
}

int umbra_dm_run(struct dm_task *task, const char *verb, struct umbra_dm_ref ref,
		 struct umbra_error *err)
{
	return dm_task_run(task) ? 0 : umbra_dm_fail(task, verb, ref, err);
}
