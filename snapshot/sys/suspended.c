/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/sys/suspended.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "common/token.h"
#include "common/util.h"

#define POLL_US  20000
#define FILE_MAX 4096

/* What the kernel says of it to everybody, without device-mapper's control device. NULL: nothing.
 * The caller frees. */
static char *attribute(dev_t dev, const char *name)
{
	char path[64], *text = NULL;

	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/dm/%s", major(dev), minor(dev), name);
	if (umbra_read_file(AT_FDCWD, path, FILE_MAX, &text, NULL) < 0)
		return NULL;
	text[strcspn(text, "\n")] = '\0';
	return text;
}

static bool is_suspended(dev_t dev)
{
	_cleanup_free_ char *text = attribute(dev, "suspended");

	return text && strcmp(text, "1") == 0;
}

int umbra_refuse_suspended(dev_t dev, int limit_ms, struct umbra_error *err)
{
	int64_t until = umbra_now_us() + (int64_t)limit_ms * 1000;
	_cleanup_free_ char *name = NULL;

	while (is_suspended(dev)) {
		if (umbra_now_us() < until) {
			usleep(POLL_US);
			continue;
		}
		name = attribute(dev, "name");
		return umbra_fail(err, UMBRA_E_BUSY, EBUSY,
				  "'%s' is suspended, so that whoever reads or writes it has to "
				  "wait: wait for who did that, or run 'dmsetup resume %s'",
				  name ? name : "?", name ? name : "NAME");
	}
	return 0;
}
