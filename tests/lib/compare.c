/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * umbra-compare A B [--no-atime]: prints every difference of two trees: names, types, modes,
 * owners, sizes, times, devices, link targets, link counts, which files are one file, extended
 * attributes with ACLs, content, holes. Status 0: none, 1: some, 2: could not compare.
 */
#include "compare.h"

#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "common/text.h"
#include "common/util.h"

#define XATTRS_MAX 65536
#define SHOWN      100

struct names {
	char **v; /* first byte: d_type */
	size_t n;
};

static void names_finish(struct names *names)
{
	while (names->n > 0)
		free(names->v[--names->n]);
	free(names->v);
}

static void compare_dirs(struct comparison *c, const char *path, const int dir[2]);

/* Paths may be longer than anyone wants to read: their ends tell enough. */
static void print_path(const char *path)
{
	_cleanup_free_ char *shown = umbra_text_printable_dup(path);
	size_t len = shown ? strlen(shown) : 0;

	if (len > 2 * SHOWN)
		printf("%.*s[…]%s: ", SHOWN, shown, shown + len - SHOWN);
	else
		printf("%s: ", len > 0 ? shown : ".");
}

void differ(struct comparison *c, const char *path, const char *fmt, ...)
{
	va_list ap;

	c->found++;
	print_path(path);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a + 1, *(char *const *)b + 1);
}

static void read_names(struct comparison *c, const char *path, int dir, struct names *out)
{
	_cleanup_dir_ DIR *d = fdopendir(openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	struct dirent *e;
	char **v;

	if (!d) {
		differ(c, path, "cannot be listed: %s", strerror(errno));
		return;
	}
	while ((errno = 0, e = readdir(d))) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		v = out->n % 1024 ? out->v : realloc(out->v, (out->n + 1024) * sizeof(*v));
		if (!v)
			err(2, "out of memory");
		out->v = v;
		out->v[out->n] = umbra_asprintf("%c%s", e->d_type, e->d_name);
		if (!out->v[out->n++])
			err(2, "out of memory");
	}
	if (errno)
		differ(c, path, "cannot be listed: %s", strerror(errno));
	if (out->n > 0)
		qsort(out->v, out->n, sizeof(*out->v), by_name);
}

static void compare_number(struct comparison *c, const struct pair *p, const char *what,
			   unsigned long long a, unsigned long long b, const char *format)
{
	char left[64], right[64];

	if (a == b)
		return;
	snprintf(left, sizeof(left), *format == 'o' ? "%04llo" : "%llu", a);
	snprintf(right, sizeof(right), *format == 'o' ? "%04llo" : "%llu", b);
	differ(c, p->path, "%s %s, not %s", what, right, left);
}

static void compare_time(struct comparison *c, const struct pair *p, const char *what,
			 struct timespec a, struct timespec b)
{
	if (a.tv_sec != b.tv_sec || a.tv_nsec != b.tv_nsec)
		differ(c, p->path, "%s %lld.%09ld, not %lld.%09ld", what, (long long)b.tv_sec,
		       b.tv_nsec, (long long)a.tv_sec, a.tv_nsec);
}

static void compare_stat(struct comparison *c, const struct pair *p)
{
	const struct stat *a = &p->st[0], *b = &p->st[1];

	compare_number(c, p, "mode", a->st_mode & 07777, b->st_mode & 07777, "o");
	compare_number(c, p, "uid", a->st_uid, b->st_uid, "u");
	compare_number(c, p, "gid", a->st_gid, b->st_gid, "u");
	compare_time(c, p, "mtime", a->st_mtim, b->st_mtim);
	if (c->atime)
		compare_time(c, p, "atime", a->st_atim, b->st_atim);
	/* What filesystems say of a directory's links and size is their own affair. */
	if (S_ISDIR(a->st_mode))
		return;
	compare_number(c, p, "size", (unsigned long long)a->st_size, (unsigned long long)b->st_size,
		       "u");
	compare_number(c, p, "link count", a->st_nlink, b->st_nlink, "u");
	if (S_ISCHR(a->st_mode) || S_ISBLK(a->st_mode))
		compare_number(c, p, "device", a->st_rdev, b->st_rdev, "u");
}

static void compare_identity(struct comparison *c, const struct pair *p)
{
	_cleanup_free_ char *shown = NULL;
	const char *other;

	other = identity_check(c->forth, &p->st[0], &p->st[1], p->path);
	if (other) {
		shown = umbra_text_printable_dup(other);
		differ(c, p->path, "is one file with '%s' and should still be", shown ?: "");
	}
	other = identity_check(c->back, &p->st[1], &p->st[0], p->path);
	if (other) {
		free(shown);
		shown = umbra_text_printable_dup(other);
		differ(c, p->path, "has the inode of '%s', another file", shown ?: "");
	}
}

static void compare_targets(struct comparison *c, const struct pair *p)
{
	char target[2][PATH_MAX];
	ssize_t n[2];
	int i;

	for (i = 0; i < 2; i++) {
		n[i] = readlinkat(p->dir[i], p->name, target[i], sizeof(target[i]));
		if (n[i] < 0) {
			differ(c, p->path, "link cannot be read: %s", strerror(errno));
			return;
		}
	}
	if (n[0] != n[1] || memcmp(target[0], target[1], (size_t)n[0]) != 0)
		differ(c, p->path, "link target differs");
}

static void xattr_path(const struct pair *p, int side, char *out, size_t size)
{
	snprintf(out, size, "/proc/self/fd/%d/%s", p->dir[side], p->name);
}

/* Every attribute of side `of` must be on the other side with the same value. */
static void compare_xattrs_of(struct comparison *c, const struct pair *p, int of)
{
	static char list[XATTRS_MAX], value[2][XATTRS_MAX];
	char path[2][NAME_MAX + 64];
	ssize_t len, n[2];
	const char *key;
	int i;

	for (i = 0; i < 2; i++)
		xattr_path(p, i, path[i], sizeof(path[i]));
	len = llistxattr(path[of], list, sizeof(list));
	if (len < 0) {
		if (errno != EOPNOTSUPP)
			differ(c, p->path, "attributes cannot be listed: %s", strerror(errno));
		return;
	}
	for (key = list; key < list + len; key += strlen(key) + 1) {
		_cleanup_free_ char *shown = umbra_text_printable_dup(key);

		for (i = 0; i < 2; i++)
			n[i] = lgetxattr(path[i], key, value[i], sizeof(value[i]));
		if (n[of] < 0)
			differ(c, p->path, "attribute %s is listed and cannot be read: %s", shown,
			       strerror(errno));
		else if (n[!of] < 0)
			differ(c, p->path, "attribute %s is %s", shown, of ? "new" : "missing");
		else if (!of && (n[0] != n[1] || memcmp(value[0], value[1], (size_t)n[0]) != 0))
			differ(c, p->path, "attribute %s differs", shown);
	}
}

static void compare_subdirs(struct comparison *c, const struct pair *p)
{
	_cleanup_close_ int a = openat(p->dir[0], p->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_close_ int b = openat(p->dir[1], p->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (a < 0 || b < 0)
		differ(c, p->path, "directory cannot be opened: %s", strerror(errno));
	else
		compare_dirs(c, p->path, (const int[]){a, b});
}

static void compare_pair(struct comparison *c, struct pair *p)
{
	int i;

	for (i = 0; i < 2; i++) {
		if (fstatat(p->dir[i], p->name, &p->st[i], AT_SYMLINK_NOFOLLOW) < 0) {
			differ(c, p->path, "no status: %s", strerror(errno));
			return;
		}
	}
	if ((p->st[0].st_mode & S_IFMT) != (p->st[1].st_mode & S_IFMT)) {
		differ(c, p->path, "another type of file");
		return;
	}
	compare_stat(c, p);
	compare_identity(c, p);
	compare_xattrs_of(c, p, 0);
	compare_xattrs_of(c, p, 1);
	if (S_ISLNK(p->st[0].st_mode))
		compare_targets(c, p);
	else if (S_ISREG(p->st[0].st_mode) && p->st[0].st_size == p->st[1].st_size)
		compare_data(c, p);
	else if (S_ISDIR(p->st[0].st_mode))
		compare_subdirs(c, p);
}

static void check_type(struct comparison *c, const struct pair *p, int side, const char *entry)
{
	unsigned char type = (unsigned char)*entry;

	if (type != DT_UNKNOWN && type != IFTODT(p->st[side].st_mode))
		differ(c, p->path, "readdir() says another type than stat()");
}

/* Names are sorted on both sides: walk them together. */
static void compare_dirs(struct comparison *c, const char *path, const int dir[2])
{
	struct names a = {0}, b = {0};
	size_t i = 0, k = 0;
	int order;

	read_names(c, path, dir[0], &a);
	read_names(c, path, dir[1], &b);
	while (i < a.n || k < b.n) {
		order = i == a.n ? 1 : k == b.n ? -1 : strcmp(a.v[i] + 1, b.v[k] + 1);
		const char *name = order <= 0 ? a.v[i] + 1 : b.v[k] + 1;
		_cleanup_free_ char *below = umbra_asprintf("%s%s%s", path, *path ? "/" : "", name);

		if (!below)
			err(2, "out of memory");
		if (order < 0) {
			differ(c, below, "missing");
			i++;
		} else if (order > 0) {
			differ(c, below, "new");
			k++;
		} else {
			struct pair p = {.path = below, .name = name, .dir = {dir[0], dir[1]}};

			compare_pair(c, &p);
			check_type(c, &p, 0, a.v[i++]);
			check_type(c, &p, 1, b.v[k++]);
		}
	}
	names_finish(&a);
	names_finish(&b);
}

int main(int argc, char **argv)
{
	struct comparison c = {.atime = true};
	struct pair top = {.path = "", .name = "."};
	int i;

	if (argc == 4 && strcmp(argv[3], "--no-atime") == 0)
		c.atime = false;
	else if (argc != 3)
		errx(2, "usage: umbra-compare A B [--no-atime]");
	umbra_raise_nofile();
	for (i = 0; i < 2; i++) {
		top.dir[i] = open(argv[1 + i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (top.dir[i] < 0)
			err(2, "%s", argv[1 + i]);
	}
	c.forth = identity_new();
	c.back = identity_new();
	compare_pair(&c, &top);
	identity_free(c.forth);
	identity_free(c.back);
	umbra_close(top.dir[0]);
	umbra_close(top.dir[1]);
	return c.found ? 1 : 0;
}
