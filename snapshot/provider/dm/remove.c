/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/provider/dm/parts.h"
#include "snapshot/provider/dm/volume/copies.h"

int umbra_dm_remove_shadow(int state_fd, const struct umbra_shadow *shadow,
			   struct umbra_watch *watch, struct umbra_error *err)
{
	_cleanup_protected_ struct umbra_protected *p = NULL;
	int r = umbra_dm_find_to_change(state_fd, shadow, &p, err);

	(void)watch;
	if (r == -ENOENT)
		return 0;
	if (r == 0)
		r = umbra_dm_delete(state_fd, p, &shadow->id, err);
	if (r == 0)
		umbra_protected_close_noted(state_fd, TAKE_PTR(p));
	return r;
}
