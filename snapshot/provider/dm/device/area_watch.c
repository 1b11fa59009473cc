/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/provider/dm/device/area_watch.h"

#include <fcntl.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "common/token.h"
#include "snapshot/provider/dm/device/area_parts.h"

#define QUIET_US    200000   /* after a change of the mount table */
#define PATIENCE_US 10000000 /* while it changes all the time */
#define EVENTS      (IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF | IN_DONT_FOLLOW)

/* An area whose file was compared. For as long as the process lives: there are few. */
struct seen {
	struct umbra_id id;
	char *path; /* NULL: not yet */
	struct umbra_area_look as;
	struct umbra_fixed_extent *extents; /* of the record */
	size_t n_extents;
	bool unmounted;   /* since */
	int64_t tried_us; /* when it was compared last, or was to be */
	struct seen *next;
};

static struct seen *all;
static int alarm_fd = -1;
static int64_t changed_us; /* the mount table, last */

int umbra_area_alarm(void)
{
	if (alarm_fd < 0)
		alarm_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	return alarm_fd;
}

static void take(const struct inotify_event *e)
{
	struct seen *s;

	for (s = all; s; s = s->next)
		if ((e->mask & IN_Q_OVERFLOW) || ((e->mask & IN_UNMOUNT) && s->as.wd == e->wd))
			s->unmounted = true;
}

void umbra_area_alarm_read(void)
{
	char events[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
	const struct inotify_event *e;
	ssize_t n, at;

	while (alarm_fd >= 0 && (n = read(alarm_fd, events, sizeof(events))) > 0)
		for (at = 0; at < n; at += (ssize_t)sizeof(*e) + e->len) {
			e = (const struct inotify_event *)(events + at);
			take(e);
		}
}

void umbra_area_mounts_changed(void)
{
	changed_us = umbra_now_us();
}

bool umbra_area_too_soon(const struct umbra_area *a)
{
	return a->too_soon;
}

static struct seen *seen_of(const struct umbra_area *a)
{
	struct seen *s;

	for (s = all; s; s = s->next)
		if (strcmp(s->id.s, a->id.s) == 0)
			return s;
	s = calloc(1, sizeof(*s));
	if (s) {
		s->id = a->id;
		s->next = all;
		all = s;
	}
	return s;
}

/* By its name, without opening it. Of each time that a filesystem is mounted, a file has a watch of
 * its own. */
bool umbra_area_look_at(const char *path, struct umbra_area_look *out)
{
	struct statx st;

	out->wd = alarm_fd < 0 ? -1 : inotify_add_watch(alarm_fd, path, EVENTS);
	if (out->wd < 0 ||
	    statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, STATX_BASIC_STATS, &st) <
		    0 ||
	    !(st.stx_attributes & STATX_ATTR_IMMUTABLE))
		return false;
	out->dev = makedev(st.stx_dev_major, st.stx_dev_minor);
	out->ino = st.stx_ino;
	out->bytes = st.stx_size;
	out->changed_s = st.stx_ctime.tv_sec;
	out->changed_ns = st.stx_ctime.tv_nsec;
	return true;
}

static bool same_look(const struct umbra_area_look *a, const struct umbra_area_look *b)
{
	return a->wd == b->wd && a->dev == b->dev && a->ino == b->ino && a->bytes == b->bytes &&
	       a->changed_s == b->changed_s && a->changed_ns == b->changed_ns;
}

static bool is_known(const struct seen *s, const struct umbra_area *a)
{
	struct umbra_area_look now;

	return s->path && !a->resizing && s->n_extents == a->n_extents &&
	       memcmp(s->extents, a->extents, a->n_extents * sizeof(*a->extents)) == 0 &&
	       umbra_area_look_at(s->path, &now) && now.dev == a->origin && same_look(&now, &s->as);
}

enum umbra_area_glance umbra_area_glance(const struct umbra_area *a)
{
	struct seen *s = alarm_fd < 0 ? NULL : seen_of(a);
	int64_t now = umbra_now_us();

	if (!s)
		return UMBRA_AREA_UNKNOWN;
	if (!s->unmounted && is_known(s, a))
		return UMBRA_AREA_KNOWN;
	if ((s->unmounted || !s->path) && now - changed_us < QUIET_US &&
	    now - s->tried_us < PATIENCE_US)
		return UMBRA_AREA_TOO_SOON;
	s->tried_us = now;
	return UMBRA_AREA_UNKNOWN;
}

void umbra_area_seen(const struct umbra_area *a, const char *path, const struct umbra_area_look *as)
{
	struct seen *s = alarm_fd < 0 || a->resizing ? NULL : seen_of(a);
	struct umbra_fixed_extent *extents;
	char *copy;

	if (!s)
		return;
	copy = strdup(path);
	extents = calloc(a->n_extents + 1, sizeof(*extents));
	free(s->path);
	free(s->extents);
	if (!copy || !extents) {
		free(copy);
		free(extents);
		s->path = NULL;
		s->extents = NULL;
		return;
	}
	memcpy(extents, a->extents, a->n_extents * sizeof(*extents));
	s->path = copy;
	s->extents = extents;
	s->n_extents = a->n_extents;
	s->as = *as;
	s->unmounted = false;
}
