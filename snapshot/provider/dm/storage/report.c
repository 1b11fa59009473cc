/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/provider/dm/storage/report.h"

#include <sys/stat.h>
#include <unistd.h>

#include "common/text.h"
#include "snapshot/provider/dm/device/place.h"
#include "snapshot/provider/dm/volume/fate.h"
#include "snapshot/provider/dm/volume/gauge.h"
#include "snapshot/provider/dm/volume/record.h"

static uint64_t used_segments(const struct umbra_protected *p)
{
	struct umbra_gauge gauge = {0};

	umbra_gauge_read(p, &gauge, NULL);
	return umbra_gauge_in_use(p, &gauge);
}

static json_t *fill_report(json_t *doc, const char *path, const char *place, const char *why)
{
	if (!doc || umbra_doc_set_path(doc, "volume", path) < 0 ||
	    umbra_doc_set_path(doc, "place", place) < 0 ||
	    (*why && json_object_update_new(doc, json_pack("{s:s}", "why", why)) < 0)) {
		json_decref(doc);
		return NULL;
	}
	return doc;
}

/* What there is to be said of an area, if anything; of one that works what is of its copies. */
static void remark(const struct umbra_protected *p, struct umbra_dm_condition *is)
{
	uint32_t lost = umbra_pool_count(p->pool, UMBRA_POOL_LOST);

	if (is->kind == UMBRA_CONDITION_GOOD && lost > 0)
		umbra_dm_condition_of_copy(p, &p->pool->copies[lost - 1], is);
}

static const char *state_name(const struct umbra_protected *p, const struct umbra_dm_condition *is)
{
	if (is->kind != UMBRA_CONDITION_GOOD)
		return umbra_condition_name(is->kind);
	return p->in ? "active" : "idle";
}

/* As an umbra of earlier days let it be made: does what is written to the area come to the volume,
 * by way of another one's diff area? */
static bool in_a_circle(const struct umbra_protected *p)
{
	struct stat st;

	return !umbra_area_is_inside(p->area) && stat(umbra_area_place(p->area), &st) == 0 &&
	       umbra_place_lies_on(S_ISBLK(st.st_mode) ? st.st_rdev : st.st_dev, p->layer.origin) >
		       0;
}

static int add_circle(json_t *doc, const struct umbra_protected *p, const char *path)
{
	_cleanup_free_ char *copied = umbra_dm_copied_as(p, path);
	_cleanup_free_ char *text = umbra_asprintf(
		"it is on a volume that has its own on '%s', so that writes to each may have to "
		"wait for the other: delete the copies of one ('umbra delete --all %s'), and make "
		"its diff area elsewhere ('umbra storage remove %s', 'umbra storage add')",
		path, UMBRA_WORD(copied ? copied : path), UMBRA_WORD(path));

	return text && json_object_update_new(doc, json_pack("{s:s}", "problem", text)) == 0
		       ? 0
		       : -ENOMEM;
}

json_t *umbra_storage_report(const struct umbra_protected *p, const char *path)
{
	const struct umbra_pool_geometry *g = &p->pool->geometry;
	json_int_t segment = (json_int_t)g->segment_chunks * g->chunk_sectors * UMBRA_DM_SECTOR;
	json_int_t bytes = (json_int_t)umbra_pool_sectors_of(g, g->segments) * UMBRA_DM_SECTOR;
	struct umbra_dm_condition is;
	json_t *doc;

	umbra_dm_condition_of_area(p, &is);
	doc = json_pack("{s:s,s:s,s:I,s:I,s:i,s:i,s:s}", "area", p->kernel.area.s, "kind",
			umbra_area_kind(p->area), "size", bytes, "used",
			segment * (json_int_t)used_segments(p), "copies",
			(int)umbra_pool_count(p->pool, UMBRA_POOL_KEPT), "lost",
			(int)umbra_pool_count(p->pool, UMBRA_POOL_LOST), "state",
			state_name(p, &is));
	remark(p, &is);
	doc = fill_report(doc, path, umbra_area_place(p->area), is.why);
	if (doc && in_a_circle(p) && add_circle(doc, p, path) < 0) {
		json_decref(doc);
		return NULL;
	}
	return doc;
}

/* One that cannot be opened is shown too, with the reason. */
static json_t *report_failed(int state_fd, const struct umbra_dm_state *s, int r,
			     const struct umbra_error *why)
{
	const char *state = "unknown";
	struct umbra_dm_condition is;
	json_t *doc;

	if (umbra_dm_condition_of_closed(state_fd, s->area.s, r, why, &is) == 0)
		state = umbra_condition_name(is.kind);
	else
		umbra_dm_reason(is.why, "cannot be told now", why->text);
	doc = json_pack("{s:s,s:s,s:n,s:n,s:n,s:n,s:s}", "area", s->area.s, "kind", "?", "size",
			"used", "copies", "lost", "state", state);
	return fill_report(doc, s->path, s->area.s, is.why);
}

struct listing {
	int state_fd;
	json_t *out;
};

static int list_one(const struct umbra_dm_state *s, void *arg)
{
	_cleanup_protected_ struct umbra_protected *p = NULL;
	const struct listing *listing = arg;
	struct umbra_error why = {0};
	json_t *doc;
	int r = umbra_protected_open_area(listing->state_fd, s->area.s, UMBRA_PROTECTED_WAIT_MS, &p,
					  &why);

	doc = r < 0 ? report_failed(listing->state_fd, s, r, &why)
		    : umbra_storage_report(p, p->path);
	return json_array_append_new(listing->out, doc) < 0 ? -ENOMEM : 0;
}

int umbra_storage_list_all(int state_fd, const char *state_dir, json_t *out,
			   struct umbra_error *err)
{
	struct listing listing = {.state_fd = state_fd, .out = out};
	int r;

	(void)state_dir;
	if (geteuid() != 0)
		return 0;
	r = umbra_dm_state_each(state_fd, list_one, &listing, err);
	return r == -ENOMEM ? umbra_oom(err) : r;
}
