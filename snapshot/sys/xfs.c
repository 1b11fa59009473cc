/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/sys/xfs.h"

#include <linux/magic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/vfs.h>

/* Of xfs_fs.h, which is no part of the kernel's own headers. */
struct geometry {
	uint32_t block_size, rt_extent_size, ag_blocks, ag_count, log_blocks, sector_size;
	uint32_t inode_size, inode_percent;
	uint64_t data_blocks, rt_blocks, rt_extents, log_start;
	uint8_t uuid[16];
	uint32_t unit, width;
	int32_t version;
	uint32_t flags, log_sector_size, rt_sector_size, dir_block_size;
};

#define GET_GEOMETRY _IOR('X', 100, struct geometry) /* XFS_IOC_FSGEOMETRY_V1 */

_Static_assert(offsetof(struct geometry, dir_block_size) == 104, "as the kernel has it");

const char *umbra_xfs_elsewhere(int fd)
{
	struct geometry g;
	struct statfs fs;

	if (fstatfs(fd, &fs) < 0 || fs.f_type != XFS_SUPER_MAGIC || ioctl(fd, GET_GEOMETRY, &g) < 0)
		return NULL;
	if (g.log_start == 0)
		return "its log";
	return g.rt_blocks > 0 ? "a realtime section" : NULL;
}
