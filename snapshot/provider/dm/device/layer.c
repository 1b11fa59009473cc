/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/provider/dm/device/layer.h"

#include <fcntl.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "common/fault.h"
#include "snapshot/provider/dm/device/layer_check.h"
#include "snapshot/provider/dm/device/names.h"
#include "snapshot/provider/dm/device/queue.h"
#include "snapshot/sys/suspended.h"

#define SETTINGS_MAX 65536

/* Everything that is to be known about a layer, read at once. */
struct look {
	struct umbra_dm_info origin, real;
	bool has_origin, has_real, in;
};

int umbra_layer_check(dev_t dev, struct umbra_error *err)
{
	_cleanup_dm_table_ struct umbra_dm_table table = {0};
	struct umbra_dm_info info;

	return umbra_layer_examine(dev, &info, &table, err);
}

static int make_origin_table(dev_t real, uint64_t sectors, struct umbra_dm_table *out,
			     struct umbra_error *err)
{
	return umbra_dm_table_add(out, sectors, "snapshot-origin", err, "%u:%u", major(real),
				  minor(real));
}

/* Is this table of the origin our layer? */
static int is_ours(const struct umbra_layer *layer, enum umbra_dm_which which, dev_t real,
		   struct umbra_error *err)
{
	_cleanup_dm_table_ struct umbra_dm_table table = {0}, ours = {0};
	int r = umbra_dm_table(umbra_dm_numbered(layer->origin), which, &table, err);

	if (r == 0)
		r = make_origin_table(real, umbra_dm_table_sectors(&table), &ours, err);
	return r < 0 ? r : umbra_dm_table_same(&table, &ours);
}

static int get_real(const struct umbra_layer *layer, struct umbra_dm_info *out,
		    struct umbra_error *err)
{
	struct umbra_device_name real;

	umbra_device_name(&layer->area, "real", &real);
	return umbra_dm_info(umbra_dm_named(real.name), out, err);
}

static int look_at(const struct umbra_layer *layer, struct look *look, struct umbra_error *err)
{
	int r = umbra_dm_info(umbra_dm_numbered(layer->origin), &look->origin, err);

	if (r < 0)
		return r;
	look->has_origin = r == 0;
	r = get_real(layer, &look->real, err);
	if (r < 0)
		return r;
	look->has_real = r == 0;
	look->in = false;
	if (!look->has_origin || !look->has_real)
		return 0;
	r = is_ours(layer, UMBRA_DM_LIVE, look->real.dev, err);
	if (r < 0)
		return r;
	look->in = r;
	return 0;
}

int umbra_layer_real(const struct umbra_layer *layer, dev_t *out, struct umbra_error *err)
{
	struct umbra_dm_info real;
	int r = get_real(layer, &real, err);

	if (r == UMBRA_DM_NONE)
		return umbra_fail(err, UMBRA_E_NOT_FOUND, ENXIO,
				  "there is no snapshot layer of diff area %s", layer->area.s);
	if (r == 0)
		*out = real.dev;
	return r;
}

/* Devices of the area besides `real`; first is the name of one. alive: count only copies that are
 * in force. A view that was closed under its readers has a table of errors and is nobody's. */
static int count_others(const struct umbra_layer *layer, bool alive, char first[UMBRA_DM_NAME_MAX],
			struct umbra_error *err)
{
	_cleanup_dm_list_ struct umbra_dm_list list = {0};
	struct umbra_device_name all;
	const char *role;
	int r, found = 0;
	size_t i;

	umbra_device_name(&layer->area, "", &all);
	r = umbra_dm_list(all.uuid, &list, err);
	for (i = 0; r == 0 && i < list.n; i++) {
		role = umbra_device_role(&layer->area, list.v[i].uuid);
		if (strcmp(role, "real") == 0 || list.v[i].removed_later ||
		    (alive && (strncmp(role, "snap", 4) != 0 || !list.v[i].live)))
			continue;
		found++;
		memcpy(first, list.v[i].name, sizeof(list.v[i].name));
	}
	return r < 0 ? r : found;
}

static int find_state(const struct umbra_layer *layer, const struct look *look,
		      enum umbra_layer_state *out, struct umbra_error *err)
{
	char name[UMBRA_DM_NAME_MAX];
	int r;

	if (look->in) {
		*out = UMBRA_LAYER_IN;
		return 0;
	}
	if (!look->has_real) {
		*out = UMBRA_LAYER_OUT;
		return 0;
	}
	r = count_others(layer, true, name, err);
	if (r < 0)
		return r;
	*out = r > 0 ? UMBRA_LAYER_REPLACED : UMBRA_LAYER_HALF;
	return 0;
}

int umbra_layer_state(const struct umbra_layer *layer, enum umbra_layer_state *out,
		      struct umbra_error *err)
{
	struct look look;
	int r = look_at(layer, &look, err);

	return r < 0 ? r : find_state(layer, &look, out, err);
}

static void settings_name(const struct umbra_layer *layer, char out[UMBRA_DEVICE_NAME_MAX])
{
	snprintf(out, UMBRA_DEVICE_NAME_MAX, "%s.queue", layer->area.s);
}

/* The origin's queue settings, where repair finds them until restore_settings(). */
static int keep_settings(const struct umbra_layer *layer, struct umbra_error *err)
{
	_cleanup_json_ json_t *settings = NULL;
	char name[UMBRA_DEVICE_NAME_MAX];
	_cleanup_free_ char *text = NULL;
	int r = umbra_queue_get(layer->origin, &settings, err);

	if (r < 0)
		return r;
	settings_name(layer, name);
	text = json_dumps(settings, JSON_COMPACT);
	if (!text)
		return umbra_oom(err);
	r = umbra_replace_file(layer->run_dir, name, 0600, text, strlen(text));
	return r < 0 ? umbra_fail_errno(err, r, "cannot write '%s' in /run/umbra", name) : 0;
}

bool umbra_layer_under_way(const struct umbra_layer *layer)
{
	char name[UMBRA_DEVICE_NAME_MAX];

	settings_name(layer, name);
	return faccessat(layer->run_dir, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static void restore_settings(const struct umbra_layer *layer)
{
	_cleanup_json_ json_t *settings = NULL;
	char name[UMBRA_DEVICE_NAME_MAX];
	_cleanup_free_ char *text = NULL;
	size_t len;

	settings_name(layer, name);
	if (umbra_read_file(layer->run_dir, name, SETTINGS_MAX, &text, &len) < 0)
		return; /* no change was under way */
	if (umbra_doc_parse(text, len, name, &settings, NULL) == 0)
		umbra_queue_set(layer->origin, settings);
	unlinkat(layer->run_dir, name, 0);
}

static int meddled(const struct umbra_dm_info *origin, struct umbra_error *err)
{
	return umbra_fail(err, UMBRA_E_BUSY, EBUSY,
			  "somebody else has changed the table of '%s' at the same moment: "
			  "try again",
			  origin->name);
}

/* What lvextend or pvmove has put there since it was read must not be replaced by what was before:
 * the volume would be written where it does not lie any more. */
static int check_still(const struct umbra_dm_info *origin, const struct umbra_dm_table *was,
		       struct umbra_error *err)
{
	_cleanup_dm_table_ struct umbra_dm_table is = {0};
	int r = umbra_dm_table(umbra_dm_numbered(origin->dev), UMBRA_DM_LIVE, &is, err);

	return r < 0 || umbra_dm_table_same(&is, was) ? r : meddled(origin, err);
}

/* Replaces the origin's table, which was this one: one ioctl, which suspends, replaces and resumes.
 */
static int swap(const struct umbra_layer *layer, const struct umbra_dm_info *origin,
		const struct umbra_dm_table *was, const struct umbra_dm_table *table,
		struct umbra_error *err)
{
	struct umbra_dm_ref ref = umbra_dm_numbered(layer->origin);
	int r = umbra_refuse_suspended(layer->origin, 0, err); /* it would be resumed */

	if (r == 0)
		r = keep_settings(layer, err);
	if (r < 0)
		return r;
	r = umbra_dm_load(ref, table, origin->read_only ? UMBRA_DM_READ_ONLY : 0, err);
	if (r == 0)
		r = umbra_fault_fail("layer.loaded", err);
	if (r == 0)
		r = check_still(origin, was, err);
	if (r == 0)
		r = umbra_dm_resume(ref, err);
	if (r < 0)
		umbra_dm_unload(ref, NULL);
	else
		umbra_fault("layer.replaced"); /* too late to fail */
	/* What could not be resumed either is left to the next, who sees that it was us. */
	if (r == 0 || umbra_refuse_suspended(layer->origin, 0, NULL) == 0)
		restore_settings(layer);
	return r;
}

static int remove_real(const struct umbra_layer *layer, struct umbra_error *err)
{
	struct umbra_device_name real;
	int r;

	umbra_device_name(&layer->area, "real", &real);
	r = umbra_dm_remove(real.name, UMBRA_DM_REMOVE_NOW, err);
	return r < 0 ? r : 0;
}

/* real is there: the origin's turn. */
static int slide_onto(const struct umbra_layer *layer, dev_t real,
		      const struct umbra_dm_info *origin, const struct umbra_dm_table *was,
		      struct umbra_error *err)
{
	_cleanup_dm_table_ struct umbra_dm_table ours = {0};
	int r = make_origin_table(real, umbra_dm_table_sectors(was), &ours, err);

	if (r == 0)
		r = swap(layer, origin, was, &ours, err);
	if (r == 0)
		r = is_ours(layer, UMBRA_DM_LIVE, real, err);
	if (r == 0)
		return meddled(origin, err);
	return r < 0 ? r : 0;
}

static int slide_in(const struct umbra_layer *layer, struct umbra_error *err)
{
	_cleanup_dm_table_ struct umbra_dm_table table = {0};
	struct umbra_dm_info origin;
	struct umbra_device_name name;
	dev_t real;
	int r = umbra_layer_examine(layer->origin, &origin, &table, err);

	if (r < 0)
		return r;
	umbra_device_name(&layer->area, "real", &name);
	r = umbra_dm_create(name.name, name.uuid, &table, origin.read_only ? UMBRA_DM_READ_ONLY : 0,
			    &real, err);
	if (r < 0)
		return r;
	r = umbra_fault_fail("layer.made", err);
	if (r == 0)
		r = slide_onto(layer, real, &origin, &table, err);
	if (r < 0)
		remove_real(layer, NULL);
	return r;
}

static int replaced(const struct umbra_dm_info *origin, struct umbra_error *err)
{
	return umbra_fail(err, UMBRA_E_BUSY, EBUSY,
			  "the table of '%s' was replaced while it had shadow copies (lvchange, "
			  "lvextend, cryptsetup or dmsetup did that): those are lost, and their "
			  "devices must be removed first",
			  origin->name);
}

int umbra_layer_in(const struct umbra_layer *layer, struct umbra_error *err)
{
	enum umbra_layer_state state = UMBRA_LAYER_OUT;
	struct look look;
	int r = look_at(layer, &look, err);

	if (r == 0)
		r = find_state(layer, &look, &state, err);
	if (r == 0 && state == UMBRA_LAYER_HALF) {
		r = umbra_layer_repair(layer, err);
		state = UMBRA_LAYER_OUT;
	}
	if (r == 0 && state == UMBRA_LAYER_REPLACED)
		r = replaced(&look.origin, err);
	if (r == 0 && state == UMBRA_LAYER_OUT)
		r = slide_in(layer, err);
	return r < 0 ? umbra_wrap(err, r, "sliding the snapshot layer under %u:%u",
				  major(layer->origin), minor(layer->origin))
		     : 0;
}

static int slide_out(const struct umbra_layer *layer, const struct look *look,
		     struct umbra_error *err)
{
	_cleanup_dm_table_ struct umbra_dm_table table = {0}, ours = {0};
	char name[UMBRA_DM_NAME_MAX];
	int r = count_others(layer, false, name, err);

	if (r > 0)
		return umbra_fail(err, UMBRA_E_BUSY, EBUSY, "'%s' is still there", name);
	if (r == 0 && look->in) {
		r = umbra_dm_table(umbra_dm_numbered(look->real.dev), UMBRA_DM_LIVE, &table, err);
		if (r == 0)
			r = make_origin_table(look->real.dev, umbra_dm_table_sectors(&table), &ours,
					      err);
		if (r == 0)
			r = swap(layer, &look->origin, &ours, &table, err);
	}
	if (r == 0)
		r = umbra_fault_fail("layer.left", err);
	return r < 0 ? r : remove_real(layer, err);
}

int umbra_layer_out(const struct umbra_layer *layer, struct umbra_error *err)
{
	struct look look;
	int r = look_at(layer, &look, err);

	if (r == 0 && look.has_real)
		r = slide_out(layer, &look, err);
	return r < 0 ? umbra_wrap(err, r, "taking the snapshot layer out from under %u:%u",
				  major(layer->origin), minor(layer->origin))
		     : 0;
}

/* Was the table that the origin has loaded put there by us? Either our layer, or, on its way out,
 * what it had before. */
static int loaded_by_us(const struct umbra_layer *layer, const struct look *look,
			struct umbra_error *err)
{
	_cleanup_dm_table_ struct umbra_dm_table loaded = {0}, before = {0};
	struct umbra_dm_ref origin = umbra_dm_numbered(layer->origin);
	int r = is_ours(layer, UMBRA_DM_LOADED, look->real.dev, err);

	if (r != 0 || !look->in)
		return r;
	r = umbra_dm_table(origin, UMBRA_DM_LOADED, &loaded, err);
	if (r == 0)
		r = umbra_dm_table(umbra_dm_numbered(look->real.dev), UMBRA_DM_LIVE, &before, err);
	return r < 0 ? r : umbra_dm_table_same(&loaded, &before);
}

/* Suspended by the kernel for a table of ours that it then refused, or left with one of ours. Where
 * somebody else has loaded one, he is at it, and resumes it himself; and so does who suspended it
 * while no change of ours was under way. */
static int settle_origin(const struct umbra_layer *layer, const struct look *look,
			 struct umbra_error *err)
{
	struct umbra_dm_ref origin = umbra_dm_numbered(layer->origin);
	bool ours = umbra_layer_under_way(layer);
	int r = 0;

	/* One that puts the old table back loads what we would to slide out. */
	if (look->origin.loaded) {
		r = ours ? loaded_by_us(layer, look, err) : 0;
		ours = r > 0;
	}
	if (r > 0)
		r = umbra_dm_unload(origin, err);
	if (r == 0 && ours && look->origin.suspended)
		r = umbra_dm_resume(origin, err);
	return r;
}

int umbra_layer_resume(const struct umbra_layer *layer, struct umbra_error *err)
{
	struct look look;
	int r = umbra_layer_under_way(layer) ? look_at(layer, &look, err) : 1;

	if (r == 0 && look.has_origin && look.has_real)
		r = settle_origin(layer, &look, err);
	return r < 0 ? umbra_wrap(err, r, "putting device %u:%u right", major(layer->origin),
				  minor(layer->origin))
		     : 0;
}

int umbra_layer_repair(const struct umbra_layer *layer, struct umbra_error *err)
{
	enum umbra_layer_state state = UMBRA_LAYER_OUT;
	struct look look;
	int r = look_at(layer, &look, err);

	if (r == 0 && look.has_origin && look.has_real)
		r = settle_origin(layer, &look, err);
	if (r == 0)
		r = look_at(layer, &look, err);
	if (r == 0)
		r = find_state(layer, &look, &state, err);
	if (r == 0 && look.has_origin)
		restore_settings(layer);
	if (r == 0 && state == UMBRA_LAYER_HALF)
		r = remove_real(layer, err);
	return r < 0 ? umbra_wrap(err, r, "putting device %u:%u right", major(layer->origin),
				  minor(layer->origin))
		     : 0;
}
