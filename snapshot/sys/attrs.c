/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/sys/attrs.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "common/util.h"

#define ACL_PREFIX  "system.posix_acl_"
#define ACL_ACCESS  "system.posix_acl_access"
#define ACL_DEFAULT "system.posix_acl_default"

/*
 * For the calls that have no form with a directory descriptor: a path, whose last component is
 * not followed; or a descriptor, and the path that leads to what it is open on, for O_PATH
 * descriptors, with which nothing else can be done.
 */
struct place {
	int fd; /* or -1 */
	char path[sizeof("/proc/self/fd/") + 12 + NAME_MAX + 1];
};

struct names {
	char *buf; /* NUL-terminated names, one after another */
	size_t len;
	char small[512];
};

static int place_of(const struct umbra_object *o, struct place *p)
{
	int n;

	p->fd = o->name ? -1 : o->dirfd;
	n = snprintf(p->path, sizeof(p->path), "/proc/self/fd/%d%s%s", o->dirfd, o->name ? "/" : "",
		     o->name ? o->name : "");
	return (size_t)n < sizeof(p->path) ? 0 : -ENAMETOOLONG;
}

static ssize_t list_call(const struct place *p, char *buf, size_t size)
{
	ssize_t n;

	if (p->fd < 0)
		return llistxattr(p->path, buf, size);
	n = flistxattr(p->fd, buf, size);
	return n < 0 && errno == EBADF ? listxattr(p->path, buf, size) : n;
}

static ssize_t get_call(const struct place *p, const char *name, void *buf, size_t size)
{
	ssize_t n;

	if (p->fd < 0)
		return lgetxattr(p->path, name, buf, size);
	n = fgetxattr(p->fd, name, buf, size);
	return n < 0 && errno == EBADF ? getxattr(p->path, name, buf, size) : n;
}

static int set_call(const struct place *p, const char *name, const void *value, size_t size)
{
	int r;

	if (p->fd < 0)
		r = lsetxattr(p->path, name, value, size, 0);
	else if ((r = fsetxattr(p->fd, name, value, size, 0)) < 0 && errno == EBADF)
		r = setxattr(p->path, name, value, size, 0);
	return r < 0 ? -errno : 0;
}

static int remove_call(const struct place *p, const char *name)
{
	int r;

	if (p->fd < 0)
		r = lremovexattr(p->path, name);
	else if ((r = fremovexattr(p->fd, name)) < 0 && errno == EBADF)
		r = removexattr(p->path, name);
	return r < 0 ? -errno : 0;
}

static bool no_xattrs_here(int errnum)
{
	return errnum == EOPNOTSUPP || errnum == ENOSYS;
}

static void names_finish(struct names *n)
{
	if (n->buf != n->small)
		free(n->buf);
}

/* The names of all extended attributes; none where the filesystem has no such thing. */
static int names_read(const struct place *p, struct names *n)
{
	size_t size = sizeof(n->small);
	ssize_t len;

	n->buf = n->small;
	n->len = 0;
	for (;;) {
		len = list_call(p, n->buf, size);
		if (len >= 0)
			break;
		if (no_xattrs_here(errno))
			return 0;
		if (errno != ERANGE || size >= XATTR_LIST_MAX)
			return -errno;
		names_finish(n);
		size = XATTR_LIST_MAX;
		n->buf = malloc(size);
		if (!n->buf)
			return -ENOMEM;
	}
	n->len = (size_t)len;
	return 0;
}

static const char *names_next(const struct names *n, const char *name)
{
	name = name ? name + strlen(name) + 1 : n->buf;
	return name < n->buf + n->len ? name : NULL;
}

static bool names_have(const struct names *n, const char *wanted)
{
	const char *name = NULL;

	while ((name = names_next(n, name)))
		if (strcmp(name, wanted) == 0)
			return true;
	return false;
}

/* The caller frees *out. */
static int value_read(const struct place *p, const char *name, char **out, size_t *len)
{
	_cleanup_free_ char *buf = NULL;
	ssize_t n;

	do {
		n = get_call(p, name, NULL, 0);
		if (n < 0)
			return -errno;
		free(buf);
		buf = malloc((size_t)n + 1);
		if (!buf)
			return -ENOMEM;
		n = get_call(p, name, buf, (size_t)n + 1);
	} while (n < 0 && errno == ERANGE); /* it grew meanwhile */
	if (n < 0)
		return -errno;
	*out = TAKE_PTR(buf);
	*len = (size_t)n;
	return 0;
}

static bool value_is(const struct place *p, const char *name, const char *value, size_t len)
{
	_cleanup_free_ char *other = NULL;
	size_t n;

	return value_read(p, name, &other, &n) == 0 && n == len && memcmp(other, value, len) == 0;
}

/* Not a matter of this attribute: the object or its filesystem is out of order. */
static bool is_fatal(int r)
{
	return r == -EIO || r == -EROFS || r == -ENOENT || r == -ENOTDIR || r == -ENOMEM ||
	       r == -EDQUOT || r == -ENOSPC || r == -ESTALE || r == -EBADF || r == -ENAMETOOLONG;
}

static bool is_acl(const char *name)
{
	return strncmp(name, ACL_PREFIX, strlen(ACL_PREFIX)) == 0;
}

static int copy_one(const struct place *from, const struct place *to, const char *name)
{
	_cleanup_free_ char *value = NULL;
	size_t len;
	int r = value_read(from, name, &value, &len);

	if (r == -ENODATA) /* removed meanwhile */
		return 0;
	if (r < 0)
		return r == -ENOMEM ? r : -EACCES;
	r = set_call(to, name, value, len);
	if (r == -ENOSPC) /* ext4's way to say that it is too big */
		r = -E2BIG;
	/* A label that the system gives by itself, like SELinux's, may be right already. */
	if (r < 0 && !is_fatal(r) && value_is(to, name, value, len))
		return 0;
	return r;
}

static int copy_xattrs(const struct place *from, const struct place *to, const struct names *names,
		       bool acls, unsigned int *lost)
{
	const char *name = NULL;
	int r;

	while ((name = names_next(names, name))) {
		if (is_acl(name) != acls)
			continue;
		r = copy_one(from, to, name);
		if (is_fatal(r))
			return r;
		if (r < 0)
			*lost |= acls ? UMBRA_ATTRS_ACLS : UMBRA_ATTRS_XATTRS;
	}
	return 0;
}

/* An access ACL hides the group's own permissions behind its mask: mode's group bits are the
 * mask. Without the ACL the group itself would get them. */
static mode_t mode_without_acl(const struct place *from, mode_t mode)
{
	_cleanup_free_ char *acl = NULL;
	uint16_t entry[2], group = 7;
	size_t len, at;

	if (value_read(from, ACL_ACCESS, &acl, &len) < 0)
		return mode;
	for (at = 4; at + 8 <= len; at += 8) { /* le32 version; le16 tag, le16 perm, le32 id */
		memcpy(entry, acl + at, sizeof(entry));
		if (le16toh(entry[0]) == 0x04)
			group = le16toh(entry[1]);
	}
	return mode & ~(mode_t)(070 & ~(group << 3));
}

static int set_owner(const struct umbra_object *o, const struct stat *st, unsigned int *lost)
{
	const char *name = o->name ? o->name : "";
	int flags = AT_SYMLINK_NOFOLLOW | (o->name ? 0 : AT_EMPTY_PATH);

	if (fchownat(o->dirfd, name, st->st_uid, st->st_gid, flags) == 0)
		return 0;
	if (is_fatal(-errno))
		return -errno;
	*lost |= UMBRA_ATTRS_OWNER;
	/* An owner may still choose among the groups that he is in. */
	if (fchownat(o->dirfd, name, (uid_t)-1, st->st_gid, flags) < 0 && is_fatal(-errno))
		return -errno;
	return 0;
}

static int set_mode(const struct umbra_object *o, const struct place *p, mode_t mode)
{
	int r;

	if (o->name)
		r = fchmodat(o->dirfd, o->name, mode & 07777, AT_SYMLINK_NOFOLLOW);
	else if ((r = fchmod(o->dirfd, mode & 07777)) < 0 && errno == EBADF)
		r = chmod(p->path, mode & 07777);
	return r < 0 ? -errno : 0;
}

static int copy_mode(const struct umbra_object *o, const struct place *p, mode_t mode,
		     unsigned int *lost)
{
	int r;

	if (S_ISLNK(mode))
		return 0;
	if ((*lost & UMBRA_ATTRS_OWNER) && (mode & (S_ISUID | S_ISGID))) {
		mode &= ~(mode_t)(S_ISUID | S_ISGID);
		*lost |= UMBRA_ATTRS_MODE;
	}
	r = set_mode(o, p, mode);
	if (r < 0 && !is_fatal(r)) {
		*lost |= UMBRA_ATTRS_MODE;
		r = 0;
	}
	return r;
}

/* Before the mode: what it gives to the group is what an inherited ACL gives to others. */
static int copy_acls(const struct place *from, const struct place *to, const struct names *names,
		     const struct stat *st, unsigned int what, unsigned int *lost)
{
	if (S_ISLNK(st->st_mode))
		return 0;
	if (!(what & UMBRA_ATTRS_FRESH)) {
		if (!names_have(names, ACL_ACCESS))
			remove_call(to, ACL_ACCESS);
		if (S_ISDIR(st->st_mode) && !names_have(names, ACL_DEFAULT))
			remove_call(to, ACL_DEFAULT);
	}
	return copy_xattrs(from, to, names, true, lost);
}

static int copy_times(const struct umbra_object *o, const struct place *p, const struct stat *st,
		      unsigned int *lost)
{
	const struct timespec times[2] = {st->st_atim, st->st_mtim};
	int r;

	if (o->name)
		r = utimensat(o->dirfd, o->name, times, AT_SYMLINK_NOFOLLOW);
	else if ((r = futimens(o->dirfd, times)) < 0 && errno == EBADF)
		r = utimensat(AT_FDCWD, p->path, times, 0);
	if (r == 0)
		return 0;
	if (is_fatal(-errno))
		return -errno;
	*lost |= UMBRA_ATTRS_TIMES;
	return 0;
}

/* What a new object has already: setting it again would cost as much as making it. */
static unsigned int has_already(const struct umbra_object *o, const struct stat *st)
{
	unsigned int has = 0;
	struct stat now;

	if (fstatat(o->dirfd, o->name ? o->name : "", &now,
		    AT_SYMLINK_NOFOLLOW | (o->name ? 0 : AT_EMPTY_PATH)) < 0)
		return 0;
	if (now.st_uid == st->st_uid && now.st_gid == st->st_gid) {
		has |= UMBRA_ATTRS_OWNER;
		if ((now.st_mode & 07777) == (st->st_mode & 07777))
			has |= UMBRA_ATTRS_MODE;
	}
	return has;
}

int umbra_attrs_copy(const struct umbra_object *from, const struct umbra_object *to,
		     const struct stat *st, unsigned int what, unsigned int *lost_out)
{
	_cleanup_(names_finish) struct names names = {.buf = names.small};
	struct place source, target;
	unsigned int lost = 0, todo = what;
	mode_t mode = st->st_mode;
	int r;

	if (place_of(from, &source) < 0 || place_of(to, &target) < 0)
		return -ENAMETOOLONG;
	if (what & UMBRA_ATTRS_FRESH)
		todo &= ~has_already(to, st);
	if (what & (UMBRA_ATTRS_XATTRS | UMBRA_ATTRS_ACLS)) {
		r = names_read(&source, &names);
		if (r == -ENOMEM)
			return r;
		if (r < 0)
			lost |= what & (UMBRA_ATTRS_XATTRS | UMBRA_ATTRS_ACLS);
	}
	r = todo & UMBRA_ATTRS_OWNER ? set_owner(to, st, &lost) : 0;
	if (r == 0 && (what & UMBRA_ATTRS_XATTRS))
		r = copy_xattrs(&source, &target, &names, false, &lost);
	if (r == 0 && (what & UMBRA_ATTRS_ACLS))
		r = copy_acls(&source, &target, &names, st, what, &lost);
	if (lost & what & UMBRA_ATTRS_ACLS && names_have(&names, ACL_ACCESS)) {
		mode = mode_without_acl(&source, mode);
		todo |= what & UMBRA_ATTRS_MODE;
	}
	if (r == 0 && (todo & UMBRA_ATTRS_MODE))
		r = copy_mode(to, &target, mode, &lost);
	if (r == 0 && (what & UMBRA_ATTRS_TIMES))
		r = copy_times(to, &target, st, &lost);
	if (r == 0)
		*lost_out = lost;
	return r;
}

int umbra_attrs_same_xattrs(const struct umbra_object *a, const struct umbra_object *b)
{
	_cleanup_(names_finish) struct names names = {.buf = names.small};
	_cleanup_(names_finish) struct names other = {.buf = other.small};
	const char *name = NULL;
	struct place pa, pb;
	int r;

	if (place_of(a, &pa) < 0 || place_of(b, &pb) < 0)
		return -ENAMETOOLONG;
	r = names_read(&pa, &names);
	if (r == 0)
		r = names_read(&pb, &other);
	if (r < 0 || names.len != other.len)
		return r < 0 ? r : 0;
	while ((name = names_next(&names, name))) {
		_cleanup_free_ char *value = NULL;
		size_t len;

		r = value_read(&pa, name, &value, &len);
		if (r < 0)
			return r;
		if (!value_is(&pb, name, value, len))
			return 0;
	}
	return 1;
}

bool umbra_attrs_has_acl(const struct umbra_object *o)
{
	_cleanup_(names_finish) struct names names = {.buf = names.small};
	struct place p;

	return place_of(o, &p) == 0 && names_read(&p, &names) == 0 &&
	       (names_have(&names, ACL_ACCESS) || names_have(&names, ACL_DEFAULT));
}

const char *umbra_attrs_names(unsigned int lost, char *buf, size_t size)
{
	static const char *const text[] = {"owner", "mode", "extended attributes", "ACLs", "times"};
	size_t i, used = 0;

	*buf = '\0';
	for (i = 0; i < UMBRA_ARRAY_SIZE(text) && used < size; i++)
		if (lost & (1U << i))
			used += (size_t)snprintf(buf + used, size - used, "%s%s", used ? ", " : "",
						 text[i]);
	return buf;
}
