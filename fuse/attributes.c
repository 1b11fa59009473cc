/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "fuse/nodeid.h"
#include "fuse/visit.h"

static void fill(struct stat *st, uint64_t id, mode_t mode, int64_t time)
{
	*st = (struct stat){
		.st_ino = id,
		.st_mode = mode,
		.st_nlink = S_ISDIR(mode) ? 2 : 1,
		.st_uid = geteuid(),
		.st_gid = getegid(),
		.st_blksize = 4096,
		.st_atim.tv_sec = time,
		.st_mtim.tv_sec = time,
		.st_ctim.tv_sec = time,
	};
}

void umbra_stat_plain(struct umbra_tree *tree, uint64_t id, struct stat *out)
{
	fill(out, id, S_IFDIR | 0755, umbra_layout_changed(&tree->layout));
}

void umbra_stat_latest(const struct umbra_shown *set, struct stat *out)
{
	fill(out, set->latest, S_IFLNK | 0777, set->set->time);
	out->st_size = UMBRA_TOKEN_LEN;
}

void umbra_stat_place(const struct umbra_place *place, struct stat *out)
{
	fill(out, place->id, S_IFDIR | place->mode, place->set->set->time);
	out->st_uid = place->uid;
	out->st_gid = place->gid;
}

int umbra_stat_in_copy(const struct umbra_root *root, uint64_t id, struct stat *st)
{
	int r = umbra_root_fix(root, st);

	st->st_ino = id;
	return r;
}

static void restrict_to(const struct umbra_pass *pass, bool has_acl, struct stat *st)
{
	if (pass->kind == UMBRA_PASS_CLASS && !has_acl && st->st_uid == pass->uid &&
	    st->st_gid == pass->gid) {
		st->st_mode &= S_IFMT | 07000 | pass->mask;
		return;
	}
	st->st_mode = S_IFDIR | (st->st_mode & 0700);
	st->st_uid = geteuid();
	st->st_gid = getegid();
}

int umbra_stat_top(const struct umbra_root *root, const struct umbra_member *m, uint64_t id,
		   struct stat *out)
{
	int r = fstat(root->fd, out) < 0 ? -errno : umbra_stat_in_copy(root, id, out);

	if (r < 0)
		return r;
	if (umbra_nodeid_view(id) == UMBRA_VIEW_VOLUME && m->pass.kind != UMBRA_PASS_ALL)
		restrict_to(&m->pass, fgetxattr(root->fd, "system.posix_acl_access", NULL, 0) > 0,
			    out);
	return 0;
}

int umbra_visit_stat(const struct umbra_visit *v, struct stat *out)
{
	const struct umbra_inode *inode = v->inode;
	_cleanup_close_ int fd = -1;

	switch (inode->kind) {
	case UMBRA_INODE_ROOT:
	case UMBRA_INODE_BY_VOLUME:
	case UMBRA_INODE_VOLUME:
		umbra_stat_plain(v->tree, inode->id, out);
		return 0;
	case UMBRA_INODE_LATEST:
		umbra_stat_latest(inode->place->set, out);
		return 0;
	case UMBRA_INODE_PLACE:
		umbra_stat_place(inode->place, out);
		return 0;
	case UMBRA_INODE_TOP:
		return umbra_stat_top(v->root, inode->member, inode->id, out);
	default:
		fd = umbra_visit_open(v, O_PATH);
		if (fd < 0)
			return fd;
		if (fstatat(fd, "", out, AT_EMPTY_PATH) < 0)
			return -errno;
		return umbra_stat_in_copy(v->root, inode->id, out);
	}
}

int umbra_tree_getattr(struct umbra_tree *tree, uint64_t id, struct stat *out)
{
	_cleanup_visit_ struct umbra_visit v = {0};
	int r = umbra_visit_begin(tree, id, &v);

	return r < 0 ? r : umbra_visit_stat(&v, out);
}

ssize_t umbra_tree_readlink(struct umbra_tree *tree, uint64_t id, char *out, size_t size)
{
	_cleanup_visit_ struct umbra_visit v = {0};
	_cleanup_close_ int fd = -1;
	ssize_t n;
	int r = umbra_visit_begin(tree, id, &v);

	if (r < 0)
		return r;
	if (v.inode->kind == UMBRA_INODE_LATEST) {
		n = UMBRA_TOKEN_LEN;
		memcpy(out, v.inode->place->set->token, size < (size_t)n ? size : (size_t)n);
		return size < (size_t)n ? (ssize_t)size : n;
	}
	if (!v.root)
		return -EINVAL;
	fd = umbra_visit_open(&v, O_PATH);
	if (fd < 0)
		return fd;
	n = readlinkat(fd, "", out, size);
	return n < 0 ? (errno == ENOENT ? -EINVAL : -errno) : n;
}

int umbra_tree_statfs(struct umbra_tree *tree, uint64_t id, struct statvfs *out)
{
	_cleanup_visit_ struct umbra_visit v = {0};
	int r = umbra_visit_begin(tree, id, &v), fd;

	if (r < 0)
		return r;
	fd = v.root ? v.root->fd : tree->state_fd;
	*out = (struct statvfs){.f_bsize = 4096, .f_frsize = 4096, .f_namemax = 255};
	if (fd >= 0 && fstatvfs(fd, out) < 0)
		return -errno;
	return 0;
}

/* Only the link below /proc reaches attributes of any type of file without following it. */
static int xattr_path(const struct umbra_visit *v, int *fd, char out[32])
{
	*fd = umbra_visit_open(v, O_PATH);
	if (*fd < 0)
		return *fd;
	snprintf(out, 32, "/proc/self/fd/%d", *fd);
	return 0;
}

static bool is_acl(const char *name)
{
	return strcmp(name, "system.posix_acl_access") == 0 ||
	       strcmp(name, "system.posix_acl_default") == 0;
}

static ssize_t give(const void *value, size_t len, void *out, size_t size)
{
	if (size > 0 && size < len)
		return -ERANGE;
	if (size > 0)
		memcpy(out, value, len);
	return (ssize_t)len;
}

/* Attributes of this directory may let in more people than what lay above it did. */
static bool is_restricted(const struct umbra_inode *inode)
{
	return inode->kind == UMBRA_INODE_TOP && inode->member->pass.kind != UMBRA_PASS_ALL &&
	       umbra_nodeid_view(inode->id) == UMBRA_VIEW_VOLUME;
}

ssize_t umbra_tree_getxattr(struct umbra_tree *tree, uint64_t id, const char *name, void *out,
			    size_t size)
{
	_cleanup_visit_ struct umbra_visit v = {0};
	_cleanup_close_ int fd = -1;
	char path[32];
	ssize_t n;
	int r = umbra_visit_begin(tree, id, &v);

	if (r < 0)
		return r;
	if (v.inode->kind == UMBRA_INODE_PLACE && v.inode->place->acl &&
	    strcmp(name, "system.posix_acl_access") == 0)
		return give(v.inode->place->acl, v.inode->place->acl_len, out, size);
	if (!v.root || (is_acl(name) && is_restricted(v.inode)))
		return -ENODATA;
	r = xattr_path(&v, &fd, path);
	if (r < 0)
		return r;
	n = getxattr(path, name, out, size);
	if (n >= 0)
		return n;
	/* To the kernel anything but ENODATA means that it cannot decide. */
	return errno == EOPNOTSUPP && is_acl(name) ? -ENODATA : -errno;
}

ssize_t umbra_tree_listxattr(struct umbra_tree *tree, uint64_t id, char *out, size_t size)
{
	static const char acl[] = "system.posix_acl_access";
	_cleanup_visit_ struct umbra_visit v = {0};
	_cleanup_close_ int fd = -1;
	char path[32];
	ssize_t n;
	int r = umbra_visit_begin(tree, id, &v);

	if (r < 0)
		return r;
	if (v.inode->kind == UMBRA_INODE_PLACE && v.inode->place->acl)
		return give(acl, sizeof(acl), out, size);
	if (!v.root || is_restricted(v.inode))
		return 0;
	r = xattr_path(&v, &fd, path);
	if (r < 0)
		return r;
	n = listxattr(path, out, size);
	return n < 0 ? (errno == EOPNOTSUPP ? 0 : -errno) : n;
}
