/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Provider btrfs: read-only snapshots of subvolumes. */
#include "snapshot/provider/btrfs/parts.h"

#include <string.h>
#include <unistd.h>

static int probe(const struct umbra_volume *volume, struct umbra_error *err)
{
	_cleanup_free_ char *path = NULL;
	_cleanup_close_ int fd = -1;

	if (!volume->fstype || strcmp(volume->fstype, "btrfs") != 0) {
		umbra_fail(err, UMBRA_E_UNSUPPORTED, EOPNOTSUPP, "'%s' is not on btrfs",
			   volume->path);
		return 0;
	}
	if (volume->read_only) {
		umbra_fail(err, UMBRA_E_READ_ONLY, EROFS,
			   "'%s' is mounted read-only, and copies are kept on the same filesystem",
			   volume->mount);
		return 0;
	}
	if (umbra_btrfs_root_of(volume, &path, &fd, err) < 0)
		return 0;
	if (umbra_btrfs_privileged(fd) < 0) {
		umbra_fail(err, UMBRA_E_PERMISSION, EPERM,
			   "taking btrfs snapshots of '%s' needs root (CAP_SYS_ADMIN)",
			   volume->path);
		return 0;
	}
	return umbra_mountfd_available("btrfs", err) == 0 ? 100 : 0;
}

const struct umbra_provider umbra_provider_btrfs = {
	.name = "btrfs",
	.summary = "read-only snapshots of btrfs subvolumes",
	.label = UMBRA_LABEL_CRASH,
	.volume_kind = "subvolume",
	.probe = probe,
	.resolve = umbra_btrfs_resolve,
	.prepare = umbra_btrfs_prepare,
	.commit = umbra_btrfs_commit_member,
	.finish = umbra_btrfs_finish,
	.abort = umbra_btrfs_abort,
	.open = umbra_btrfs_open,
	.remove = umbra_btrfs_remove,
	.scan = umbra_btrfs_scan,
	.discard = umbra_btrfs_discard,
};
