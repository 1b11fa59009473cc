/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The filesystem that has the file of an area elsewhere may be frozen: whoever writes to the file
 * then sleeps, with all the locks that he has. */
#include "snapshot/provider/dm/device/area_parts.h"
#include "snapshot/sys/frozen.h"

/* With the volume's lock in hand, for which others wait. */
#define LIMIT_MS 500

int umbra_area_refuse_frozen(const json_t *record, int limit_ms, struct umbra_error *err)
{
	_cleanup_free_ char *place = NULL;

	if (umbra_area_record_kind(record) != UMBRA_AREA_FILE ||
	    umbra_doc_get_path(record, "place", &place) < 0)
		return 0;
	return umbra_refuse_frozen("the diff area", place, limit_ms, err);
}

int umbra_area_refuse_frozen_now(struct umbra_area *a, struct umbra_error *err)
{
	int r = 0;

	if (a->kind == UMBRA_AREA_FILE && !a->thawed)
		r = umbra_refuse_frozen("the diff area", a->place, LIMIT_MS, err);
	a->thawed = r == 0;
	return r;
}
