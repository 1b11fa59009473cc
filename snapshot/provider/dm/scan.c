/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is in the diff areas of a state directory. Opening one has undone what nobody finished. */
#include <string.h>

#include "snapshot/provider/dm/parts.h"
#include "snapshot/provider/dm/volume/copies.h"
#include "snapshot/provider/dm/volume/record.h"

struct search {
	const char *state_dir;
	umbra_scan_fn fn;
	void *arg;
};

static int judge(const json_t *record, const struct search *s, struct umbra_found *found,
		 struct umbra_error *why)
{
	const char *id = umbra_doc_string(json_object_get(record, "shadow"), "shadow");
	_cleanup_free_ char *owner = NULL;
	int r = umbra_doc_get_path(record, "state_dir", &owner);

	if (r == -ENOMEM)
		return r;
	found->record = record;
	if (r < 0 || !id || strcmp(id, found->id) != 0) {
		found->kind = UMBRA_FOUND_STRANGE;
		umbra_fail(why, UMBRA_E_DAMAGED, EUCLEAN, "its record is that of another one");
	} else if (strcmp(owner, s->state_dir) != 0) {
		found->kind = UMBRA_FOUND_FOREIGN;
		found->here = true;
		umbra_fail(why, UMBRA_E_EXISTS, EEXIST,
			   "its record says that it belongs to the state directory '%s', which is "
			   "there, too",
			   owner);
	}
	return 0;
}

static int scan_copy(const struct umbra_protected *p, const struct umbra_pool_copy *copy,
		     const char *where, const struct search *s)
{
	_cleanup_json_ json_t *record = NULL;
	struct umbra_error why = {0};
	struct umbra_found found = {
		.kind = UMBRA_FOUND_COPY, .id = copy->id.s, .where = where, .why = why.text};
	int r;

	if (copy->state != UMBRA_POOL_KEPT && copy->state != UMBRA_POOL_LOST)
		return 0;
	found.lost = copy->state == UMBRA_POOL_LOST;
	r = umbra_dm_record_read(p, copy, &record, &why);
	if (r == 0)
		r = judge(record, s, &found, &why);
	else
		found.kind = UMBRA_FOUND_STRANGE;
	return r == -ENOMEM ? r : s->fn(s->arg, &found);
}

static int scan_area(struct umbra_protected *p, void *arg, struct umbra_error *err)
{
	_cleanup_free_ char *where = umbra_asprintf("diff area %s", umbra_area_place(p->area));
	uint32_t i;
	int r = 0;

	if (!where)
		return umbra_oom(err);
	for (i = 0; r == 0 && i < p->pool->n_copies; i++)
		r = scan_copy(p, &p->pool->copies[i], where, arg);
	return r;
}

int umbra_dm_scan(int state_fd, const char *state_dir, umbra_scan_fn fn, void *arg,
		  struct umbra_error *err)
{
	struct search s = {.state_dir = state_dir, .fn = fn, .arg = arg};

	return umbra_protected_each(state_fd, scan_area, &s, err);
}

int umbra_dm_discard(int state_fd, const char *state_dir, const char *id, struct umbra_watch *watch,
		     struct umbra_error *err)
{
	_cleanup_protected_ struct umbra_protected *p = NULL;
	_cleanup_shadow_ struct umbra_shadow *shadow = umbra_shadow_new("/", "dm");
	int r;

	(void)state_dir;
	(void)watch;
	if (!shadow)
		return umbra_oom(err);
	snprintf(shadow->id.s, sizeof(shadow->id.s), "%s", id);
	r = umbra_dm_find(state_fd, shadow, &p, err);
	if (r == -ENOENT)
		return 0;
	return r < 0 ? r : umbra_dm_delete(state_fd, p, &shadow->id, err);
}
