/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/provider/btrfs/parts.h"

#include <string.h>

#define IDENTITY "btrfs:"

int umbra_btrfs_record_origin(struct umbra_shadow *shadow, const struct umbra_btrfs_store *store,
			      const struct umbra_btrfs_subvolume *origin, struct umbra_error *err)
{
	char *volume = umbra_asprintf(IDENTITY "%s/%s", store->fs.uuid.s, origin->uuid.s);

	if (!volume)
		return umbra_oom(err);
	free(shadow->volume);
	shadow->volume = volume;
	if (umbra_doc_set_path(shadow->data, "label", store->fs.label) < 0 ||
	    umbra_doc_set_path(shadow->data, "device", store->device) < 0 ||
	    json_object_set_new(shadow->data, "subvolume_id",
				json_integer((json_int_t)origin->id)) < 0)
		return umbra_oom(err);
	return 0;
}

int umbra_btrfs_record_snapshot(struct umbra_shadow *shadow,
				const struct umbra_btrfs_subvolume *snapshot,
				struct umbra_error *err)
{
	if (umbra_doc_set_string(shadow->data, "snapshot", snapshot->uuid.s) < 0 ||
	    json_object_set_new(shadow->data, "snapshot_id",
				json_integer((json_int_t)snapshot->id)) < 0)
		return umbra_oom(err);
	return 0;
}

/* A leftover may have nothing but what the coordinator recorded before prepare(). */
static int filesystem_of(const struct umbra_shadow *shadow, char **out)
{
	const char *s = umbra_doc_string(shadow->data, "origin_uuid");

	if (shadow->volume && strncmp(shadow->volume, IDENTITY, strlen(IDENTITY)) == 0)
		s = shadow->volume + strlen(IDENTITY);
	if (!s)
		return 1;
	*out = strndup(s, strcspn(s, "/"));
	return *out ? 0 : -ENOMEM;
}

static int hint(const json_t *data, const char *key, char **out)
{
	return umbra_doc_get_path(data, key, out) == -ENOMEM ? -ENOMEM : 0;
}

int umbra_btrfs_record_get(const struct umbra_shadow *shadow, struct umbra_btrfs_record *out,
			   struct umbra_error *err)
{
	_cleanup_btrfs_record_ struct umbra_btrfs_record rec = {0};
	int r = filesystem_of(shadow, &rec.filesystem);

	if (r > 0)
		return 1;
	if (r < 0 || hint(shadow->data, "label", &rec.label) < 0 ||
	    hint(shadow->data, "device", &rec.device) < 0)
		return umbra_oom(err);
	if (!umbra_id_valid(rec.filesystem))
		return umbra_fail(err, UMBRA_E_DAMAGED, EUCLEAN,
				  "the record of shadow copy '%s' of '%s' names no valid btrfs "
				  "filesystem: 'umbra check --rebuild' reads it anew",
				  shadow->id.s, shadow->path);
	rec.snapshot = umbra_doc_string(shadow->data, "snapshot");
	rec.origin_id = (uint64_t)umbra_doc_int(shadow->data, "subvolume_id", 0);
	*out = rec;
	rec = (struct umbra_btrfs_record){0};
	return 0;
}

void umbra_btrfs_record_finish(struct umbra_btrfs_record *rec)
{
	free(rec->filesystem);
	free(rec->label);
	free(rec->device);
}
