/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/provider/copy/store.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "common/id.h"
#include "common/util.h"
#include "snapshot/provider.h"

static int open_below(int fd, const char *name)
{
	int sub = openat(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	return sub < 0 ? -errno : sub;
}

int umbra_store_open(int state_fd, bool make)
{
	return make ? umbra_open_dir_make(state_fd, UMBRA_STORE_COPIES, 0700)
		    : open_below(state_fd, UMBRA_STORE_COPIES);
}

int umbra_store_open_copy(int store_fd, const char *id)
{
	return umbra_id_valid(id) ? open_below(store_fd, id) : -ENOENT;
}

int umbra_store_open_tree(int copy_fd)
{
	return open_below(copy_fd, UMBRA_STORE_TREE);
}

int umbra_store_make_copy(int store_fd, const char *id)
{
	_cleanup_close_ int fd = -1;

	if (!umbra_id_valid(id))
		return -EINVAL;
	if (mkdirat(store_fd, id, 0700) < 0)
		return -errno;
	fd = open_below(store_fd, id);
	if (fd < 0)
		return fd;
	flock(fd, LOCK_SH);
	/* Nothing in the tree may inherit an ACL that the state directory happens to have. */
	fremovexattr(fd, "system.posix_acl_default");
	if (mkdirat(fd, UMBRA_STORE_TREE, 0700) < 0)
		return -errno;
	return TAKE_FD(fd);
}

bool umbra_store_in_use(int copy_fd)
{
	return flock(copy_fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK;
}

bool umbra_store_finished(int copy_fd)
{
	return faccessat(copy_fd, UMBRA_RECORD_NAME, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}
