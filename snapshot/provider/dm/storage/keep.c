/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Who shuts the machine down removes every device that nobody has open, and then still writes to
 * the volume that it runs from: so the store that collects that is kept open.
 */
#include <fcntl.h>
#include <unistd.h>

#include "common/log.h"
#include "snapshot/provider/dm/parts.h"

/* A descriptor that only the end of the process closes. */
static int open_store(const struct umbra_protected *p, struct umbra_error *err)
{
	dev_t snap;
	int r = umbra_store_device_number(&p->kernel, umbra_pool_live(p->pool)->number, &snap, err);

	return r < 0 ? r : umbra_dm_open(snap, O_RDONLY, err);
}

static int keep_one(struct umbra_protected *p, void *arg, struct umbra_error *err)
{
	struct umbra_dm_info volume;
	struct umbra_error why = {0};
	int r;

	(void)arg;
	(void)err;
	if (!p->in || p->asleep || !umbra_pool_live(p->pool))
		return 0;
	r = umbra_dm_info(umbra_dm_numbered(p->layer.origin), &volume, &why);
	if (r == 0 && volume.open_count > 0)
		r = open_store(p, &why);
	if (r < 0)
		umbra_log_error("keeping the layer of '%s': %s", p->path, why.text);
	return 0;
}

int umbra_dm_keep(int state_fd, struct umbra_error *err)
{
	return umbra_protected_each(state_fd, keep_one, NULL, err);
}
