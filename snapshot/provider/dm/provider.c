/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Provider dm: block copies of volumes on device-mapper, below the mounted filesystem. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "snapshot/provider/dm/parts.h"
#include "snapshot/sys/xfs.h"

/* Filesystems whose copies can be mounted without a write (read.c). */
static const char *const filesystems[] = {"ext2", "ext3", "ext4", "xfs"};

static bool takes(const char *fstype)
{
	size_t i;

	for (i = 0; fstype && i < UMBRA_ARRAY_SIZE(filesystems); i++)
		if (strcmp(fstype, filesystems[i]) == 0)
			return true;
	return false;
}

/* Is the layer in? 1, 0 or negative. */
static int is_ours(dev_t dev, struct umbra_error *err)
{
	_cleanup_dm_table_ struct umbra_dm_table table = {0};
	struct umbra_dm_info below;
	unsigned int maj, min;
	int r = umbra_dm_table(umbra_dm_numbered(dev), UMBRA_DM_LIVE, &table, err);

	if (r < 0)
		return r;
	if (table.n != 1 || strcmp(table.v[0].target, "snapshot-origin") != 0 ||
	    sscanf(table.v[0].params, "%u:%u", &maj, &min) != 2)
		return 0;
	r = umbra_dm_info(umbra_dm_numbered(makedev(maj, min)), &below, err);
	return r < 0 ? r
		     : r == 0 && strncmp(below.uuid, UMBRA_DEVICE_PREFIX,
					 strlen(UMBRA_DEVICE_PREFIX)) == 0;
}

int umbra_dm_check_whole(const struct umbra_volume *volume, struct umbra_error *err)
{
	_cleanup_close_ int fd = open(volume->mount, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	const char *part = fd < 0 ? NULL : umbra_xfs_elsewhere(fd);

	if (!part)
		return 0;
	return umbra_fail(
		err, UMBRA_E_UNSUPPORTED, EOPNOTSUPP,
		"the XFS on '%s' has %s on another device, without which a block copy could "
		"not be mounted",
		volume->mount, part);
}

static int probe(const struct umbra_volume *volume, struct umbra_error *err)
{
	struct umbra_dm_info info;

	if (!takes(volume->fstype)) {
		umbra_fail(err, UMBRA_E_UNSUPPORTED, EOPNOTSUPP,
			   "'%s' has filesystem %s; block copies are made of ext4 and XFS",
			   volume->path, volume->fstype ? volume->fstype : "unknown");
		return 0;
	}
	if (umbra_dm_available(err) < 0)
		return 0;
	if (umbra_dm_info(umbra_dm_numbered(volume->dev), &info, NULL) != 0) {
		umbra_fail(err, UMBRA_E_UNSUPPORTED, EOPNOTSUPP,
			   "'%s' is not on a device-mapper device", volume->path);
		return 0;
	}
	if (volume->read_only) {
		umbra_fail(err, UMBRA_E_READ_ONLY, EROFS,
			   "'%s' is mounted read-only: nothing can change there", volume->mount);
		return 0;
	}
	if (umbra_dm_check_whole(volume, err) < 0)
		return 0;
	if (is_ours(volume->dev, NULL) > 0)
		return 100;
	if (umbra_dm_has_target("snapshot", err) < 0 || umbra_layer_check(volume->dev, err) < 0)
		return 0;
	return 100;
}

/* The whole volume, whatever directory on it was named. */
static int resolve(const struct umbra_volume *asked, struct umbra_volume_list *out,
		   struct umbra_error *err)
{
	struct umbra_volume *v = umbra_volume_dup(asked, asked->mount);

	if (!v || umbra_volume_list_add(out, v) < 0)
		return umbra_oom(err);
	return 0;
}

const struct umbra_provider umbra_provider_dm = {
	.name = "dm",
	.summary = "block copies of volumes on device-mapper (LVM, LUKS, …), with a diff area",
	.label = UMBRA_LABEL_FILESYSTEM,
	.probe = probe,
	.resolve = resolve,
	.prepare = umbra_dm_prepare,
	.lies_on = umbra_dm_lies_on,
	.hold = umbra_dm_hold_member,
	.commit = umbra_dm_commit_member,
	.release = umbra_dm_release_member,
	.finish = umbra_dm_finish,
	.abort = umbra_dm_abort,
	.open = umbra_dm_open_shadow,
	.remove = umbra_dm_remove_shadow,
	.scan = umbra_dm_scan,
	.discard = umbra_dm_discard,
	.usage = umbra_dm_usage,
	.storage = &umbra_dm_storage,
	.revert = &umbra_dm_revert_ops,
};
