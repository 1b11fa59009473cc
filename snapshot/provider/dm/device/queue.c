/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/provider/dm/device/queue.h"

#include <fcntl.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "common/log.h"

#define FILE_MAX 4096 /* the size that every file of sysfs claims to have */

static const char *const names[] = {
	"read_ahead_kb", "max_sectors_kb", "rotational", "add_random",
	"nomerges",      "rq_affinity",    "iostats",
};

static int open_queue(dev_t dev)
{
	char path[64];

	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/queue", major(dev), minor(dev));
	return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* NULL: this kernel does not have it. */
static char *get(int dir, const char *name)
{
	char *value;

	if (umbra_read_file(dir, name, FILE_MAX, &value, NULL) < 0)
		return NULL;
	value[strcspn(value, "\n")] = '\0';
	return value;
}

static void put(int dir, dev_t dev, const char *name, const char *value)
{
	_cleanup_close_ int fd = openat(dir, name, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
	int r = fd < 0 ? -errno : umbra_write_all(fd, value, strlen(value));

	if (r < 0)
		umbra_log_info("%s of device %u:%u stays as the kernel has set it, not %s: %s",
			       name, major(dev), minor(dev), value, strerror(-r));
}

int umbra_queue_get(dev_t dev, json_t **out, struct umbra_error *err)
{
	_cleanup_json_ json_t *settings = json_object();
	_cleanup_close_ int dir = open_queue(dev);
	size_t i;

	if (!settings)
		return umbra_oom(err);
	if (dir < 0)
		return umbra_fail_errno(err, errno,
					"cannot read the queue settings of device %u:%u in /sys",
					major(dev), minor(dev));
	for (i = 0; i < UMBRA_ARRAY_SIZE(names); i++) {
		_cleanup_free_ char *value = get(dir, names[i]);

		if (value && umbra_doc_set_string(settings, names[i], value) < 0)
			return umbra_oom(err);
	}
	*out = TAKE_PTR(settings);
	return 0;
}

void umbra_queue_set(dev_t dev, const json_t *settings)
{
	_cleanup_close_ int dir = open_queue(dev);
	const char *wanted;
	size_t i;

	for (i = 0; dir >= 0 && i < UMBRA_ARRAY_SIZE(names); i++) {
		_cleanup_free_ char *value = get(dir, names[i]);

		wanted = umbra_doc_string(settings, names[i]);
		if (wanted && value && strcmp(wanted, value) != 0)
			put(dir, dev, names[i], wanted);
	}
}
