/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/notices.h"

#include <fcntl.h>
#include <string.h>

#include "common/log.h"
#include "common/token.h"
#include "common/util.h"
#include "daemon/pace.h"
#include "daemon/uevent.h"

#define CALM_US    5000   /* between two readings of what others may cause without end */
#define READ_MAX   1000   /* messages at once */
#define FOLLOW_US  10000  /* from a change of mounts to the first look after it */
#define FOLLOWS_US 160000 /* as much as from the last but one to the last */

enum { DEVICES, MOUNTS };

struct umbra_notices {
	int fd[UMBRA_NOTICES_FDS];
	umbra_notices_fn matters;
	int64_t calm_us;            /* the devices' is not read before */
	struct umbra_pace pace;     /* of looks for mounts */
	int64_t follow_us, next_us; /* one more is due then, and the next so much later; 0: none */
};

struct umbra_notices *umbra_notices_new(umbra_notices_fn matters)
{
	struct umbra_notices *n = calloc(1, sizeof(*n));
	struct umbra_error err = {0};

	if (!n)
		return NULL;
	n->matters = matters;
	n->fd[DEVICES] = umbra_uevent_open(&err);
	if (n->fd[DEVICES] < 0)
		umbra_log_warning("%s", err.text);
	n->fd[MOUNTS] = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
	if (n->fd[MOUNTS] < 0)
		umbra_log_warning("cannot open '/proc/self/mountinfo': %s", strerror(errno));
	return n;
}

struct umbra_notices *umbra_notices_free(struct umbra_notices *n)
{
	if (n) {
		umbra_close(n->fd[DEVICES]);
		umbra_close(n->fd[MOUNTS]);
		free(n);
	}
	return NULL;
}

static int sooner(int ms, int64_t wait_us)
{
	int64_t wait_ms = wait_us > 0 ? (wait_us + 999) / 1000 : 0;

	return wait_ms < ms ? (int)wait_ms : ms;
}

int umbra_notices_poll(struct umbra_notices *n, int ms, struct pollfd p[UMBRA_NOTICES_FDS])
{
	int64_t now = umbra_now_us(), wait = umbra_pace_wait(&n->pace, now);

	p[DEVICES] = (struct pollfd){.fd = n->fd[DEVICES], .events = POLLIN};
	p[MOUNTS] = (struct pollfd){.fd = n->fd[MOUNTS], .events = POLLPRI};
	if (now < n->calm_us) {
		p[DEVICES].fd = -1;
		ms = sooner(ms, n->calm_us - now);
	}
	/* The kernel keeps what is not asked for. */
	if (wait > 0) {
		p[MOUNTS].fd = -1;
		ms = sooner(ms, wait);
	} else if (n->follow_us) {
		ms = sooner(ms, n->follow_us - now);
	}
	return ms;
}

static unsigned int read_devices(struct umbra_notices *n)
{
	unsigned int found = UMBRA_NOTICE_NONE;
	enum umbra_uevent what;
	dev_t device = 0;
	int i;

	for (i = 0; i < READ_MAX; i++) {
		what = umbra_uevent_next(n->fd[DEVICES], &device);
		if (what == UMBRA_UEVENT_NONE)
			break;
		if (what == UMBRA_UEVENT_MISSED ||
		    (what == UMBRA_UEVENT_BLOCK && n->matters(device)))
			found = UMBRA_NOTICE_DEVICE;
	}
	n->calm_us = umbra_now_us() + CALM_US;
	return found;
}

static void follow(struct umbra_notices *n, int64_t now, int64_t after_us)
{
	n->follow_us = after_us <= FOLLOWS_US ? now + after_us : 0;
	n->next_us = 2 * after_us;
}

static unsigned int take_mounts(struct umbra_notices *n, bool told)
{
	int64_t now = umbra_now_us();

	if (told)
		follow(n, now, FOLLOW_US);
	else if (n->follow_us && now >= n->follow_us && umbra_pace_wait(&n->pace, now) == 0)
		follow(n, now, n->next_us);
	else
		return UMBRA_NOTICE_NONE;
	umbra_pace_spend(&n->pace, now);
	return UMBRA_NOTICE_MOUNTS;
}

unsigned int umbra_notices_take(struct umbra_notices *n, const struct pollfd p[UMBRA_NOTICES_FDS])
{
	return (p[DEVICES].revents ? read_devices(n) : 0U) |
	       take_mounts(n, p[MOUNTS].revents & (POLLPRI | POLLERR));
}
