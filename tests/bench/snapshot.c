/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* bench-snapshot SUBVOLUME DIR NAME: the bare ioctl, and nothing else. */
#include <err.h>
#include <fcntl.h>
#include <linux/btrfs.h>
#include <stdio.h>
#include <sys/ioctl.h>

#include "common/util.h"

int main(int argc, char **argv)
{
	struct btrfs_ioctl_vol_args_v2 args = {.flags = BTRFS_SUBVOL_RDONLY};
	_cleanup_close_ int from = -1, to = -1;

	if (argc != 4)
		errx(2, "usage: bench-snapshot SUBVOLUME DIR NAME");
	from = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	to = open(argv[2], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	args.fd = from;
	snprintf(args.name, sizeof(args.name), "%s", argv[3]);
	if (from < 0 || to < 0 || ioctl(to, BTRFS_IOC_SNAP_CREATE_V2, &args) < 0)
		err(1, "%s", argv[3]);
	return 0;
}
