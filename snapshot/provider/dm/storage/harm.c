/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/provider/dm/storage/harm.h"

#include <string.h>
#include <sys/inotify.h>

#include "snapshot/provider/dm/device/area_watch.h"
#include "snapshot/provider/dm/volume/proof.h"
#include "snapshot/provider/dm/volume/stamp.h"

/* To the volume's device, past its filesystem; the area's file is watched by who looks at it. The
 * device by all its names: without udev each is a file of its own. What is watched already
 * stays so, and no watch keeps a filesystem mounted. */
static void listen_to(const struct umbra_protected *p)
{
	char path[UMBRA_DM_PATH_MAX], name[UMBRA_DM_NAME_MAX + 16];
	struct umbra_dm_info info;
	int fd = umbra_area_alarm();

	if (fd < 0)
		return; /* we look often enough for most */
	umbra_dm_path(p->layer.origin, path);
	inotify_add_watch(fd, path, IN_MODIFY);
	if (umbra_dm_info(umbra_dm_numbered(p->layer.origin), &info, NULL) == 0) {
		snprintf(name, sizeof(name), "/dev/mapper/%s", info.name);
		inotify_add_watch(fd, name, IN_MODIFY);
	}
}

void umbra_harm_forget(struct umbra_harm *h)
{
	json_decref(h->record);
	*h = (struct umbra_harm){0};
}

void umbra_harm_remember(struct umbra_harm *h, const struct umbra_protected *p)
{
	umbra_harm_forget(h);
	if (!p->in || p->asleep || !umbra_area_is_inside(p->area))
		return;
	h->record = umbra_area_record(p->area);
	if (umbra_area_resizing(h->record)) {
		umbra_harm_forget(h);
		return;
	}
	h->layer = (struct umbra_layer){.area = p->kernel.area, .origin = p->layer.origin};
	snprintf(h->stamp, sizeof(h->stamp), "%s", p->pool->stamp);
	listen_to(p);
}

/* The volume below its layer, as it is now: other devices may have the numbers of then. */
static bool find_real(const struct umbra_harm *h, dev_t *out)
{
	enum umbra_layer_state state;

	return umbra_layer_state(&h->layer, &state, NULL) == 0 && state == UMBRA_LAYER_IN &&
	       umbra_layer_real(&h->layer, out, NULL) == 0;
}

enum umbra_harm_state umbra_harm_look(const struct umbra_harm *h)
{
	_cleanup_area_ struct umbra_area *area = NULL;
	dev_t real;
	int r;

	if (!h->record)
		return UMBRA_HARM_NONE;
	r = umbra_area_open(h->record, h->layer.origin, false, &area, NULL);
	/* A filesystem that has the file has it, whatever it is called by now. */
	if (r == 0 && umbra_area_certain(area))
		return UMBRA_HARM_NONE;
	if ((r < 0 && r != -ENOENT) || !find_real(h, &real))
		return UMBRA_HARM_SUSPECTED;
	if (r == -ENOENT)
		return UMBRA_HARM_CERTAIN;
	if (!umbra_stamp_replaced(h->layer.origin, real, h->stamp))
		return UMBRA_HARM_NONE;
	/* A revert that is done takes its mark away. */
	return umbra_proof_is_reverting(h->stamp) ? UMBRA_HARM_SUSPECTED : UMBRA_HARM_CERTAIN;
}
