/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/wake.h"

#include <poll.h>
#include <stdlib.h>

#include "common/token.h"
#include "daemon/notices.h"
#include "snapshot/provider.h"

#define CALM_MS 5 /* between two looks, whatever happens */
#define ALARMS  4

struct umbra_wake {
	struct umbra_notices *notices;
	int signals;
};

static bool matters(dev_t device)
{
	const struct umbra_provider *const *p;
	size_t n, i;

	p = umbra_providers(&n);
	for (i = 0; i < n; i++)
		if (p[i]->storage && p[i]->storage->depends_on && p[i]->storage->depends_on(device))
			return true;
	return false;
}

struct umbra_wake *umbra_wake_new(int signals)
{
	struct umbra_wake *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	w->signals = signals;
	w->notices = umbra_notices_new(matters);
	return w->notices ? w : umbra_wake_free(w);
}

struct umbra_wake *umbra_wake_free(struct umbra_wake *w)
{
	if (w) {
		umbra_notices_free(w->notices);
		free(w);
	}
	return NULL;
}

static size_t put_alarms(struct pollfd p[ALARMS])
{
	const struct umbra_provider *const *v;
	size_t n, n_alarms = 0, i;

	v = umbra_providers(&n);
	for (i = 0; i < n && n_alarms < ALARMS; i++)
		if (v[i]->storage && v[i]->storage->alarm)
			p[n_alarms++] =
				(struct pollfd){.fd = v[i]->storage->alarm(), .events = POLLIN};
	return n_alarms;
}

static enum umbra_wake_reason poll_all(struct umbra_wake *w, int ms, bool *mounts)
{
	struct pollfd p[1 + UMBRA_NOTICES_FDS + ALARMS];
	struct pollfd *notices = p + 1, *alarms = notices + UMBRA_NOTICES_FDS;
	size_t n = put_alarms(alarms), i;
	unsigned int told;

	p[0] = (struct pollfd){.fd = w->signals, .events = POLLIN};
	ms = umbra_notices_poll(w->notices, ms, notices);
	if (poll(p, 1 + UMBRA_NOTICES_FDS + n, ms) < 0)
		return UMBRA_WAKE_TIME;
	told = umbra_notices_take(w->notices, notices);
	if (told & UMBRA_NOTICE_MOUNTS)
		*mounts = true;
	if (p[0].revents)
		return UMBRA_WAKE_SIGNAL;
	for (i = 0; i < n; i++)
		if (alarms[i].revents)
			return UMBRA_WAKE_LOOK;
	return told ? UMBRA_WAKE_LOOK : UMBRA_WAKE_TIME;
}

/* The first moments are for signals alone: somebody may do for hours what alarms us. */
enum umbra_wake_reason umbra_wake_wait(struct umbra_wake *w, int ms, bool *mounts)
{
	struct pollfd p = {.fd = w->signals, .events = POLLIN};
	int64_t end = umbra_now_us() + (int64_t)ms * 1000;
	enum umbra_wake_reason reason = UMBRA_WAKE_TIME;

	if (poll(&p, 1, ms < CALM_MS ? ms : CALM_MS) > 0)
		return UMBRA_WAKE_SIGNAL;
	while (reason == UMBRA_WAKE_TIME && (ms = (int)((end - umbra_now_us()) / 1000)) > 0)
		reason = poll_all(w, ms, mounts);
	return reason;
}
