/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/restore_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "snapshot/sys/attrs.h"

static int interrupted(struct umbra_error *err)
{
	return umbra_fail(err, UMBRA_E_INTERRUPTED, ECANCELED, "interrupted");
}

int umbra_restore_stopped(struct umbra_restore *r, struct umbra_error *err)
{
	return !r->stop || r->stop(r) == 0 ? 0 : interrupted(err);
}

static int on_bytes(struct umbra_clone_watch *watch, uint64_t bytes)
{
	struct umbra_restore *r =
		(struct umbra_restore *)((char *)watch - offsetof(struct umbra_restore, watch));

	r->bytes += bytes;
	return umbra_restore_stopped(r, NULL);
}

int umbra_restore_attrs(struct umbra_restore *r, const struct umbra_node *node, int fd,
			unsigned int what, const char *path, struct umbra_error *err)
{
	unsigned int lost = 0;
	int ret = umbra_attrs_copy(&(struct umbra_object){node->fd, NULL},
				   &(struct umbra_object){fd, NULL}, &node->st, what, &lost);

	if (ret < 0)
		return umbra_fail_errno(err, ret, "cannot give '%s' its attributes", path);
	if (lost) {
		r->incomplete++;
		r->lost |= lost;
	}
	return 0;
}

/* Writes the copy's data to a new file. The descriptor, or negative; then it is gone. */
static int make_file(struct umbra_restore *r, const struct umbra_node *node,
		     const struct umbra_target *dir, const char *tmp, const char *name,
		     const char *path, struct umbra_error *err)
{
	_cleanup_close_ int from = umbra_node_open(node, 0), to = -1;
	int ret;

	if (from < 0)
		return umbra_fail_errno(err, from, "cannot read the copy of '%s'", path);
	to = openat(dir->fd, tmp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (to < 0)
		return umbra_target_refused(dir, errno, name, err);
	r->watch.tick = on_bytes;
	ret = umbra_clone_data(from, to, &r->pair, &r->watch);
	if (ret < 0) {
		unlinkat(dir->fd, tmp, 0);
		return ret == -ECANCELED
			       ? interrupted(err)
			       : umbra_fail_errno(err, ret, "cannot restore the data of '%s'",
						  path);
	}
	if (ret == UMBRA_CLONE_SHARED)
		r->bytes += (uint64_t)node->st.st_size;
	return TAKE_FD(to);
}

static int make_special(const struct umbra_node *node, const struct umbra_target *dir,
			const char *tmp, const char *name, const char *path,
			struct umbra_error *err)
{
	_cleanup_free_ char *target = NULL;
	int r;

	if (S_ISLNK(node->st.st_mode)) {
		r = umbra_node_readlink(node, &target);
		if (r == 0 && symlinkat(target, dir->fd, tmp) < 0)
			r = -errno;
	} else {
		r = mknodat(dir->fd, tmp, (node->st.st_mode & S_IFMT) | 0600, node->st.st_rdev);
		r = r < 0 ? -errno : 0;
	}
	if (r < 0)
		return umbra_target_refused(dir, r, name, err);
	r = openat(dir->fd, tmp, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	return r < 0 ? umbra_fail_errno(err, errno, "cannot open '%s'", path) : r;
}

/* Did somebody who may write in the directory put something else under our name? */
static bool is_ours(int fd, const struct umbra_node *node)
{
	struct stat st;

	return fstat(fd, &st) == 0 && st.st_uid == geteuid() && st.st_nlink == 1 &&
	       ((!S_ISCHR(st.st_mode) && !S_ISBLK(st.st_mode)) || st.st_rdev == node->st.st_rdev) &&
	       (st.st_mode & S_IFMT) == (node->st.st_mode & S_IFMT);
}

/* All of the file under a temporary name, then its own. */
int umbra_restore_put(struct umbra_restore *r, const struct umbra_node *node,
		      const struct umbra_target *dir, const char *name, const char *path, bool old,
		      struct umbra_error *err)
{
	bool regular = S_ISREG(node->st.st_mode);
	_cleanup_close_ int fd = -1;
	char tmp[32];
	int ret;

	umbra_target_temp_name(tmp);
	fd = regular ? make_file(r, node, dir, tmp, name, path, err)
		     : make_special(node, dir, tmp, name, path, err);
	if (fd < 0)
		return fd;
	r->wrote = true;
	if (is_ours(fd, node))
		ret = umbra_restore_attrs(r, node, fd, UMBRA_ATTRS_ALL, path, err);
	else
		ret = umbra_fail(err, UMBRA_E_BUSY, EBUSY, "'%s' was changed meanwhile", path);
	/* What is replaced must not be lost for something that a power cut leaves empty. A file
	 * with several names may be the one to replace others. */
	if (ret == 0 && regular && (old || node->st.st_nlink > 1) && fsync(fd) < 0)
		ret = umbra_fail_errno(err, errno, "cannot write '%s'", path);
	if (ret < 0) {
		unlinkat(dir->fd, tmp, 0);
		return ret;
	}
	ret = umbra_target_commit(dir, tmp, name, old);
	return ret < 0 ? umbra_fail_errno(err, ret, "cannot give '%s' its name", path) : 0;
}
