/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fuse/ops.h"

#include <errno.h>
#include <linux/limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fuse/nodeid.h"

/* Nothing in a copy changes, and of all else the kernel is told: it may keep all it knows. */
#define FOREVER 1e9

static struct umbra_tree *tree_of(fuse_req_t req)
{
	const struct umbra_mount *m = fuse_req_userdata(req);

	return m->tree;
}

static void want(struct fuse_conn_info *conn, unsigned int flag)
{
	conn->want |= conn->capable & flag;
}

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
	struct umbra_mount *m = userdata;

	want(conn, FUSE_CAP_READDIRPLUS);
	want(conn, FUSE_CAP_PARALLEL_DIROPS);
	want(conn, FUSE_CAP_CACHE_SYMLINKS);
	want(conn, FUSE_CAP_POSIX_ACL);
	want(conn, FUSE_CAP_EXPLICIT_INVAL_DATA);
	want(conn, FUSE_CAP_ASYNC_READ);
	want(conn, FUSE_CAP_SPLICE_WRITE);
	conn->want &= ~(unsigned int)(FUSE_CAP_READDIRPLUS_AUTO | FUSE_CAP_AUTO_INVAL_DATA);
	m->no_open = conn->capable & FUSE_CAP_NO_OPEN_SUPPORT;
	m->no_opendir = conn->capable & FUSE_CAP_NO_OPENDIR_SUPPORT;
	if (m->others && !(conn->want & FUSE_CAP_POSIX_ACL))
		m->ready(m->arg, "this kernel does not enforce access control lists on FUSE "
				 "filesystems, so others cannot be let in: mount with -o noothers");
	else
		m->ready(m->arg, NULL);
}

static void set_entry(const struct umbra_entry *e, struct fuse_entry_param *out)
{
	*out = (struct fuse_entry_param){
		.ino = e->id,
		.generation = e->generation,
		.attr = e->st,
		.attr_timeout = FOREVER,
		.entry_timeout = FOREVER,
	};
}

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param e = {.entry_timeout = FOREVER}; /* inode 0: there is none */
	struct umbra_entry entry;
	int r = umbra_tree_lookup(tree_of(req), parent, name, &entry);

	if (r < 0 && r != -ENOENT) {
		fuse_reply_err(req, -r);
		return;
	}
	if (r == 0)
		set_entry(&entry, &e);
	/* Who asked may be gone: then the kernel will never give it back. */
	if (fuse_reply_entry(req, &e) < 0 && r == 0)
		umbra_tree_forget(tree_of(req), entry.id, 1);
}

static void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t n)
{
	umbra_tree_forget(tree_of(req), ino, n);
	fuse_reply_none(req);
}

static void op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	size_t i;

	for (i = 0; i < count; i++)
		umbra_tree_forget(tree_of(req), forgets[i].ino, forgets[i].nlookup);
	fuse_reply_none(req);
}

static void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct stat st;
	int r = umbra_tree_getattr(tree_of(req), ino, &st);

	(void)fi;
	if (r < 0)
		fuse_reply_err(req, -r);
	else
		fuse_reply_attr(req, &st, FOREVER);
}

static void op_readlink(fuse_req_t req, fuse_ino_t ino)
{
	char target[PATH_MAX + 1];
	ssize_t n = umbra_tree_readlink(tree_of(req), ino, target, sizeof(target) - 1);

	if (n < 0) {
		fuse_reply_err(req, (int)-n);
		return;
	}
	target[n] = '\0';
	fuse_reply_readlink(req, target);
}

/* With ENOSYS the kernel asks no more, and keeps file and directory contents as told to here. */
static void reply_open(fuse_req_t req, struct fuse_file_info *fi, bool unsupported)
{
	if (unsupported) {
		fuse_reply_err(req, ENOSYS);
		return;
	}
	fi->keep_cache = 1;
	fi->cache_readdir = 1;
	fuse_reply_open(req, fi);
}

static void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	const struct umbra_mount *m = fuse_req_userdata(req);

	(void)ino;
	if ((fi->flags & O_ACCMODE) != O_RDONLY)
		fuse_reply_err(req, EROFS);
	else
		reply_open(req, fi, m->no_open);
}

static void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	const struct umbra_mount *m = fuse_req_userdata(req);

	(void)ino;
	reply_open(req, fi, m->no_opendir);
}

static void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		    struct fuse_file_info *fi)
{
	struct fuse_bufvec buf = FUSE_BUFVEC_INIT(size);
	struct umbra_file *file;
	int r = umbra_tree_open(tree_of(req), ino, &file);

	(void)fi;
	if (r < 0) {
		fuse_reply_err(req, -r);
		return;
	}
	buf.buf[0].flags = FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK;
	buf.buf[0].fd = umbra_file_fd(file);
	buf.buf[0].pos = off;
	fuse_reply_data(req, &buf, 0);
	umbra_tree_close(file);
}

static void op_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence,
		     struct fuse_file_info *fi)
{
	struct umbra_file *file;
	off_t at;
	int r = umbra_tree_open(tree_of(req), ino, &file);

	(void)fi;
	if (r < 0) {
		fuse_reply_err(req, -r);
		return;
	}
	/* The position that this changes is one nobody uses. */
	at = lseek(umbra_file_fd(file), off, whence);
	r = at < 0 ? errno : 0;
	umbra_tree_close(file);
	if (r)
		fuse_reply_err(req, r);
	else
		fuse_reply_lseek(req, at);
}

/* One answer to READDIR or READDIRPLUS while it is filled. */
struct answer {
	fuse_req_t req;
	char *buf;
	size_t size, used;
	bool plus;
};

static int add_entry(void *arg, const struct umbra_dirent *d)
{
	struct answer *a = arg;
	struct fuse_entry_param e = {
		.attr = {.st_ino = d->ino, .st_mode = DTTOIF((mode_t)d->type)}};
	size_t left = a->size - a->used, n;

	if (d->entry)
		set_entry(d->entry, &e);
	if (a->plus)
		n = fuse_add_direntry_plus(a->req, a->buf + a->used, left, d->name, &e, d->next);
	else
		n = fuse_add_direntry(a->req, a->buf + a->used, left, d->name, &e.attr, d->next);
	if (n > left)
		return 1;
	a->used += n;
	return 0;
}

static void list(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, bool plus)
{
	struct answer a = {.req = req, .buf = malloc(size), .size = size, .plus = plus};
	int r = -ENOMEM;

	if (a.buf)
		r = umbra_tree_list(tree_of(req), ino, off, plus, add_entry, &a);
	/* What was told already cannot be taken back: an error waits for the next call. */
	if (r < 0 && a.used == 0)
		fuse_reply_err(req, -r);
	else
		fuse_reply_buf(req, a.buf, a.used);
	free(a.buf);
}

static void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		       struct fuse_file_info *fi)
{
	(void)fi;
	list(req, ino, size, off, false);
}

static void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
			   struct fuse_file_info *fi)
{
	(void)fi;
	list(req, ino, size, off, true);
}

static void op_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct statvfs st;
	int r = umbra_tree_statfs(tree_of(req), ino, &st);

	if (r < 0)
		fuse_reply_err(req, -r);
	else
		fuse_reply_statfs(req, &st);
}

static void reply_xattr(fuse_req_t req, const char *value, ssize_t n, size_t size)
{
	if (n < 0)
		fuse_reply_err(req, (int)-n);
	else if (size == 0)
		fuse_reply_xattr(req, (size_t)n);
	else
		fuse_reply_buf(req, value, (size_t)n);
}

static void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	_cleanup_free_ char *value = size ? malloc(size) : NULL;
	ssize_t n = -ENOMEM;

	if (value || size == 0)
		n = umbra_tree_getxattr(tree_of(req), ino, name, value, size);
	reply_xattr(req, value, n, size);
}

static ssize_t without_trusted(char *names, size_t len)
{
	static const char trusted[] = "trusted.";
	size_t at, n, left = 0;

	for (at = 0; at < len; at += n) {
		n = strnlen(names + at, len - at - 1) + 1;
		if (strncmp(names + at, trusted, strlen(trusted)) == 0)
			continue;
		memmove(names + left, names + at, n);
		left += n;
	}
	return (ssize_t)left;
}

/* trusted.* is for root alone: the file's own filesystem does not even name it to others. */
static void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	bool root = fuse_req_ctx(req)->uid == 0;
	size_t room = root ? size : XATTR_LIST_MAX;
	_cleanup_free_ char *names = room ? malloc(room) : NULL;
	ssize_t n = -ENOMEM;

	if (names || room == 0)
		n = umbra_tree_listxattr(tree_of(req), ino, names, room);
	if (!root && n > 0)
		n = without_trusted(names, (size_t)n);
	if (n > 0 && size > 0 && (size_t)n > size)
		n = -ERANGE;
	reply_xattr(req, names, n, size);
}

/* The mount is read-only, so the kernel asks for none of these; if somebody remounts it writable
 * the answer is the same. */
static void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int set,
		       struct fuse_file_info *fi)
{
	(void)ino, (void)attr, (void)set, (void)fi;
	fuse_reply_err(req, EROFS);
}

static void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t dev)
{
	(void)parent, (void)name, (void)mode, (void)dev;
	fuse_reply_err(req, EROFS);
}

static void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	(void)parent, (void)name, (void)mode;
	fuse_reply_err(req, EROFS);
}

static void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	(void)parent, (void)name;
	fuse_reply_err(req, EROFS);
}

static void op_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
	(void)target, (void)parent, (void)name;
	fuse_reply_err(req, EROFS);
}

static void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent,
		      const char *newname, unsigned int flags)
{
	(void)parent, (void)name, (void)newparent, (void)newname, (void)flags;
	fuse_reply_err(req, EROFS);
}

static void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t newparent, const char *newname)
{
	(void)ino, (void)newparent, (void)newname;
	fuse_reply_err(req, EROFS);
}

static void op_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off,
		     struct fuse_file_info *fi)
{
	(void)ino, (void)buf, (void)size, (void)off, (void)fi;
	fuse_reply_err(req, EROFS);
}

static void op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value,
			size_t size, int flags)
{
	(void)ino, (void)name, (void)value, (void)size, (void)flags;
	fuse_reply_err(req, EROFS);
}

static void op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	(void)ino, (void)name;
	fuse_reply_err(req, EROFS);
}

static void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
		      struct fuse_file_info *fi)
{
	(void)parent, (void)name, (void)mode, (void)fi;
	fuse_reply_err(req, EROFS);
}

static void op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t length,
			 struct fuse_file_info *fi)
{
	(void)ino, (void)mode, (void)off, (void)length, (void)fi;
	fuse_reply_err(req, EROFS);
}

static void op_copy_file_range(fuse_req_t req, fuse_ino_t in, off_t off_in,
			       struct fuse_file_info *fi_in, fuse_ino_t out, off_t off_out,
			       struct fuse_file_info *fi_out, size_t len, int flags)
{
	(void)in, (void)off_in, (void)fi_in, (void)out, (void)off_out, (void)fi_out, (void)len;
	(void)flags;
	fuse_reply_err(req, EROFS);
}

void umbra_ops_notify(void *arg, uint64_t parent, const char *name, uint64_t child)
{
	struct fuse_session *se = arg;

	/* The entry first: for it the kernel waits for lookups and listings under way, which
	 * then cannot put old things into the directory's cache any more. What it has never
	 * seen is ENOENT and no error. */
	if (!child || fuse_lowlevel_notify_delete(se, parent, child, name, strlen(name)) != 0)
		fuse_lowlevel_notify_inval_entry(se, parent, name, strlen(name));
	fuse_lowlevel_notify_inval_inode(se, parent, 0, 0);
}

const struct fuse_lowlevel_ops umbra_ops = {
	.init = op_init,
	.lookup = op_lookup,
	.forget = op_forget,
	.forget_multi = op_forget_multi,
	.getattr = op_getattr,
	.readlink = op_readlink,
	.open = op_open,
	.read = op_read,
	.lseek = op_lseek,
	.opendir = op_opendir,
	.readdir = op_readdir,
	.readdirplus = op_readdirplus,
	.statfs = op_statfs,
	.getxattr = op_getxattr,
	.listxattr = op_listxattr,
	.setattr = op_setattr,
	.mknod = op_mknod,
	.mkdir = op_mkdir,
	.unlink = op_unlink,
	.rmdir = op_unlink,
	.symlink = op_symlink,
	.rename = op_rename,
	.link = op_link,
	.write = op_write,
	.setxattr = op_setxattr,
	.removexattr = op_removexattr,
	.create = op_create,
	.fallocate = op_fallocate,
	.copy_file_range = op_copy_file_range,
};
