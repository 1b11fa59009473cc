/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which volume an area is of, and the other way round, by the records of the areas. */
#include <string.h>

#include "common/log.h"
#include "snapshot/provider/dm/volume/protected.h"
#include "snapshot/sys/frozen.h"

static bool is_volume(const struct umbra_dm_state *s, const struct umbra_dm_info *info)
{
	return *s->uuid ? strcmp(s->uuid, info->uuid) == 0
			: *info->uuid == '\0' && strcmp(s->name, info->name) == 0;
}

int umbra_protected_find(const struct umbra_dm_state *s, dev_t *out, struct umbra_error *err)
{
	_cleanup_dm_list_ struct umbra_dm_list list = {0};
	size_t i;
	int r = umbra_dm_list(s->uuid, &list, err);

	if (r < 0)
		return r;
	for (i = 0; i < list.n; i++) {
		if (!is_volume(s, &list.v[i]) || !list.v[i].live)
			continue;
		*out = list.v[i].dev;
		return 0;
	}
	return umbra_fail(
		err, UMBRA_E_NOT_FOUND, ENODEV,
		"the volume '%s' of diff area %s is not there: activate it first (if it is "
		"gone for good, 'umbra storage remove --force %s' gives up its copies, and what "
		"the kernel still has of it)",
		s->name, s->area.s, s->area.s);
}

struct search {
	struct umbra_dm_info volume;
	struct umbra_id area;
};

static int compare(const struct umbra_dm_state *s, void *arg)
{
	struct search *search = arg;

	if (!is_volume(s, &search->volume))
		return 0;
	search->area = s->area;
	return 1;
}

int umbra_protected_area_of(int state_fd, dev_t origin, struct umbra_id *out,
			    struct umbra_error *err)
{
	struct search search = {0};
	int r = umbra_dm_info(umbra_dm_numbered(origin), &search.volume, err);

	if (r != 0)
		return r == UMBRA_DM_NONE ? 0 : r; /* what is not device-mapper's has no area */
	r = umbra_dm_state_each(state_fd, compare, &search, err);
	if (r > 0)
		*out = search.area;
	return r;
}

struct each {
	int state_fd;
	int (*fn)(struct umbra_protected *p, void *arg, struct umbra_error *err);
	void *arg;
	struct umbra_error *err;
};

static int each_one(const struct umbra_dm_state *s, void *arg)
{
	_cleanup_protected_ struct umbra_protected *p = NULL;
	const struct each *each = arg;
	struct umbra_error why = {0};

	if (umbra_protected_open_area(each->state_fd, s->area.s, UMBRA_PROTECTED_WAIT_MS, &p,
				      &why) < 0) {
		umbra_log_debug("%s", why.text); /* who asks for the areas is told */
		return 0;
	}
	return each->fn(p, each->arg, each->err);
}

int umbra_protected_each(int state_fd,
			 int (*fn)(struct umbra_protected *p, void *arg, struct umbra_error *err),
			 void *arg, struct umbra_error *err)
{
	struct each each = {.state_fd = state_fd, .fn = fn, .arg = arg, .err = err};

	return umbra_dm_state_each(state_fd, each_one, &each, err);
}

int umbra_protected_refuse_frozen(int state_fd, const char *area, struct umbra_error *err)
{
	_cleanup_dm_state_ struct umbra_dm_state s = {0};
	int r;

	if (umbra_dm_state_read(state_fd, area, &s, NULL) < 0)
		return 0; /* who opens it says why */
	r = umbra_protected_refuse_suspended(&s, UMBRA_THAW_WAIT_MS, err);
	return r < 0 ? r : umbra_area_refuse_frozen(s.place, UMBRA_THAW_WAIT_MS, err);
}

int umbra_protected_refuse_frozen_dev(int state_fd, dev_t origin, struct umbra_error *err)
{
	struct umbra_id area;
	int r = umbra_protected_area_of(state_fd, origin, &area, err);

	return r <= 0 ? r : umbra_protected_refuse_frozen(state_fd, area.s, err);
}
