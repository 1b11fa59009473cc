/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/sys/extents.h"

#include <linux/btrfs.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "common/util.h"

#define BATCH   128
#define GIVE_UP 65536 /* extents; reading is no dearer than mapping more of them */

/* Data that is not at a place of its own, or not there yet. Encoded: compressed extents show where
 * they begin, not which part of them a file uses. */
#define UNSURE                                                                                     \
	(FIEMAP_EXTENT_UNKNOWN | FIEMAP_EXTENT_DELALLOC | FIEMAP_EXTENT_DATA_INLINE |              \
	 FIEMAP_EXTENT_DATA_TAIL | FIEMAP_EXTENT_NOT_ALIGNED | FIEMAP_EXTENT_DATA_ENCRYPTED |      \
	 FIEMAP_EXTENT_ENCODED)

struct map {
	struct fiemap head;
	struct fiemap_extent extents[BATCH];
};

static bool next(int fd, struct map *map, __u64 start)
{
	memset(&map->head, 0, sizeof(map->head));
	map->head.fm_start = start;
	map->head.fm_length = ~0ULL - start;
	map->head.fm_flags = FIEMAP_FLAG_SYNC;
	map->head.fm_extent_count = BATCH;
	return ioctl(fd, FS_IOC_FIEMAP, &map->head) == 0;
}

/* Subvolumes of one btrfs have device numbers and statfs() ids of their own. */
static bool one_filesystem(int fd_a, int fd_b)
{
	struct btrfs_ioctl_fs_info_args a = {0}, b = {0};
	struct stat x, y;

	if (fstat(fd_a, &x) < 0 || fstat(fd_b, &y) < 0)
		return false;
	if (x.st_dev == y.st_dev)
		return true;
	return ioctl(fd_a, BTRFS_IOC_FS_INFO, &a) == 0 && ioctl(fd_b, BTRFS_IOC_FS_INFO, &b) == 0 &&
	       memcmp(a.fsid, b.fsid, sizeof(a.fsid)) == 0;
}

static bool same_extent(const struct fiemap_extent *a, const struct fiemap_extent *b)
{
	return a->fe_logical == b->fe_logical && a->fe_physical == b->fe_physical &&
	       a->fe_length == b->fe_length && a->fe_flags == b->fe_flags &&
	       !(a->fe_flags & UNSURE) && (a->fe_flags & FIEMAP_EXTENT_SHARED);
}

bool umbra_extents_same(int fd_a, int fd_b)
{
	_cleanup_free_ struct map *maps = calloc(2, sizeof(*maps));
	const struct fiemap_extent *a = NULL;
	size_t seen = 0;
	__u64 start = 0;
	__u32 i, n;

	if (!maps || !one_filesystem(fd_a, fd_b))
		return false;
	while (seen < GIVE_UP) {
		if (!next(fd_a, &maps[0], start) || !next(fd_b, &maps[1], start))
			return false;
		n = maps[0].head.fm_mapped_extents;
		if (n != maps[1].head.fm_mapped_extents)
			return false;
		for (i = 0; i < n; i++) {
			a = &maps[0].extents[i];
			if (!same_extent(a, &maps[1].extents[i]))
				return false;
		}
		if (n == 0) /* nothing but holes from here, in both */
			return true;
		if (a->fe_flags & FIEMAP_EXTENT_LAST)
			return true;
		start = a->fe_logical + a->fe_length;
		seen += n;
	}
	return false;
}
