/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/root.h"

#include <fcntl.h>
#include <stddef.h>
#include <unistd.h>

#include "common/util.h"

struct umbra_root *umbra_root_close(struct umbra_root *root)
{
	if (root)
		root->close(root);
	return NULL;
}

bool umbra_root_probe_handles(int fd, int mount_fd)
{
	union {
		struct file_handle h;
		char space[sizeof(struct file_handle) + MAX_HANDLE_SZ];
	} u = {.h.handle_bytes = MAX_HANDLE_SZ};
	_cleanup_close_ int opened = -1;
	int mount_id;

	if (name_to_handle_at(fd, "", &u.h, &mount_id, AT_EMPTY_PATH) < 0)
		return false;
	opened = open_by_handle_at(mount_fd, &u.h, O_PATH | O_CLOEXEC);
	return opened >= 0;
}
