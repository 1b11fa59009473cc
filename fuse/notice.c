/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fuse/notice.h"

#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "snapshot/snapshot.h"

int umbra_notice_open(int state_fd)
{
	_cleanup_close_ int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	char path[40];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", state_fd);
	/* Not IN_CLOSE_WRITE: our own reading would cause it. A journal that is deleted commits. */
	if (fd < 0 ||
	    inotify_add_watch(fd, path, IN_MODIFY | IN_MOVED_TO | IN_DELETE | IN_ONLYDIR) < 0)
		return -errno;
	return TAKE_FD(fd);
}

static bool is_about_catalog(const struct inotify_event *e)
{
	if (e->mask & IN_Q_OVERFLOW)
		return true;
	return e->len > 0 && strncmp(e->name, UMBRA_CATALOG_NAME, strlen(UMBRA_CATALOG_NAME)) == 0;
}

bool umbra_notice_take(int fd)
{
	char buf[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
	const struct inotify_event *e;
	bool changed = false;
	ssize_t n, at;

	while ((n = read(fd, buf, sizeof(buf))) > 0) {
		for (at = 0; at < n; at += (ssize_t)(sizeof(*e) + e->len)) {
			e = (const void *)(buf + at);
			changed |= is_about_catalog(e);
		}
	}
	return changed;
}
