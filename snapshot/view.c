/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/view.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

struct umbra_view {
	struct umbra_opener opener;
	const struct umbra_set *set; /* NULL: live */
	struct umbra_root **roots;   /* by place in set->shadows; NULL: not opened yet */
};

static int open_by_engine(void *arg, const struct umbra_shadow *shadow, struct umbra_root **out,
			  struct umbra_error *err)
{
	return umbra_engine_open_shadow(arg, shadow, out, err);
}

struct umbra_opener umbra_engine_opener(struct umbra_engine *e)
{
	return (struct umbra_opener){open_by_engine, e, umbra_engine_state_dir(e)};
}

struct umbra_view *umbra_view_of_set(const struct umbra_opener *opener, const struct umbra_set *set)
{
	struct umbra_view *view = umbra_view_live(opener);

	if (!view)
		return NULL;
	view->set = set;
	view->roots = calloc(set->n_shadows + 1, sizeof(struct umbra_root *));
	return view->roots ? view : umbra_view_free(view);
}

struct umbra_view *umbra_view_live(const struct umbra_opener *opener)
{
	struct umbra_view *view = calloc(1, sizeof(*view));

	if (view)
		view->opener = *opener;
	return view;
}

struct umbra_view *umbra_view_free(struct umbra_view *view)
{
	size_t i;

	if (!view)
		return NULL;
	for (i = 0; view->roots && i < view->set->n_shadows; i++)
		umbra_root_close(view->roots[i]);
	free(view->roots);
	free(view);
	return NULL;
}

const struct umbra_set *umbra_view_set(const struct umbra_view *view)
{
	return view->set;
}

bool umbra_view_is_member(const struct umbra_view *view, const char *path)
{
	const struct umbra_shadow *shadow = view->set ? umbra_set_covering(view->set, path) : NULL;

	return shadow && strcmp(shadow->path, path) == 0;
}

void umbra_node_finish(struct umbra_node *node)
{
	node->fd = umbra_close(node->fd);
}

static struct stat stat_of(const struct statx *x)
{
	return (struct stat){
		.st_dev = makedev(x->stx_dev_major, x->stx_dev_minor),
		.st_ino = x->stx_ino,
		.st_mode = x->stx_mode,
		.st_nlink = x->stx_nlink,
		.st_uid = x->stx_uid,
		.st_gid = x->stx_gid,
		.st_size = (off_t)x->stx_size,
		.st_atim = {x->stx_atime.tv_sec, x->stx_atime.tv_nsec},
		.st_mtim = {x->stx_mtime.tv_sec, x->stx_mtime.tv_nsec},
		.st_ctim = {x->stx_ctime.tv_sec, x->stx_ctime.tv_nsec},
	};
}

/*
 * A mounted directory, looked at without asking its server, which may hang, or let nobody but its
 * user in: mostly it is only to be passed by. 1, or 0: nothing is mounted there, or on a file.
 */
static int look_at_mount(int fd, struct umbra_node *node)
{
	const int quietly = AT_EMPTY_PATH | AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC;
	struct statx sx;

	/* Asked for nothing, also a FUSE filesystem of somebody else answers. */
	if (statx(fd, "", quietly, 0, &sx) < 0 || !(sx.stx_attributes & STATX_ATTR_MOUNT_ROOT))
		return 0;
	if (statx(fd, "", quietly, STATX_BASIC_STATS, &sx) == 0)
		node->st = stat_of(&sx);
	else
		node->st = (struct stat){.st_mode = S_IFDIR};
	node->mount = S_ISDIR(node->st.st_mode);
	return node->mount;
}

/* Takes fd. */
static int fill(struct umbra_node *out, int fd, const struct umbra_root *root)
{
	struct umbra_node node = {.fd = fd, .root = root};
	int r = 0;

	if ((root || !look_at_mount(fd, &node)) && fstat(fd, &node.st) < 0)
		r = -errno;
	node.dev = node.st.st_dev;
	node.ino = node.st.st_ino;
	if (r == 0 && root)
		r = umbra_root_fix(root, &node.st);
	if (r < 0) {
		umbra_close(fd);
		return r;
	}
	*out = node;
	return 0;
}

static bool is_absence(int r)
{
	return r == -ENOENT || r == -ENOTDIR || r == -ELOOP || r == -ENAMETOOLONG;
}

static int fail_at(const struct umbra_view *view, int r, const char *path, struct umbra_error *err)
{
	char token[UMBRA_TOKEN_LEN + 1];

	if (!view->set)
		return umbra_fail_errno(err, r, "cannot look at '%s'", path);
	umbra_token_format(view->set->time, token);
	return umbra_fail_errno(err, r, "cannot look at '%s' in %s", path, token);
}

static int member_root(struct umbra_view *view, const struct umbra_shadow *shadow,
		       const struct umbra_root **out, struct umbra_error *err)
{
	size_t i = 0;
	int r;

	while (view->set->shadows[i] != shadow)
		i++;
	if (!view->roots[i]) {
		r = view->opener.open(view->opener.arg, shadow, &view->roots[i], err);
		if (r < 0)
			return r;
	}
	*out = view->roots[i];
	return 0;
}

/* Walks below (no leading slash) from fd. A descriptor or -errno. */
static int walk(int start, const char *below)
{
	_cleanup_close_ int fd = openat(start, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	char name[NAME_MAX + 1];
	size_t len;
	int next;

	while (fd >= 0 && *below) {
		len = strcspn(below, "/");
		if (len > NAME_MAX)
			return -ENAMETOOLONG;
		memcpy(name, below, len);
		name[len] = '\0';
		if (strcmp(name, "..") == 0)
			return -ENOENT;
		below += len;
		next = openat(fd, name,
			      O_PATH | O_NOFOLLOW | O_CLOEXEC | (*below ? O_DIRECTORY : 0));
		if (next < 0)
			return -errno;
		umbra_close(fd);
		fd = next;
		below += strspn(below, "/");
	}
	return fd < 0 ? -errno : TAKE_FD(fd);
}

static bool is_hidden(const struct umbra_root *root, const char *below)
{
	const char *rest;

	if (!root->hidden)
		return false;
	rest = strncmp(below, root->hidden, strlen(root->hidden)) == 0
		       ? below + strlen(root->hidden)
		       : "?";
	return *rest == '\0' || *rest == '/';
}

int umbra_view_find(struct umbra_view *view, const char *path, struct umbra_node *out,
		    struct umbra_error *err)
{
	_cleanup_close_ int slash = -1;
	const struct umbra_shadow *shadow;
	const struct umbra_root *root = NULL;
	const char *below = path + strspn(path, "/");
	int fd, r;

	if (view->set) {
		shadow = umbra_set_covering(view->set, path);
		if (!shadow)
			return 0;
		r = member_root(view, shadow, &root, err);
		if (r < 0)
			return r;
		below = umbra_path_below(path, shadow->path);
		if (is_hidden(root, below))
			return 0;
		fd = walk(root->fd, below);
	} else {
		slash = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
		fd = slash < 0 ? -errno : walk(slash, below);
	}
	if (is_absence(fd))
		return 0;
	r = fd < 0 ? fd : fill(out, fd, root);
	return r < 0 ? fail_at(view, r, path, err) : 1;
}

int umbra_view_child(struct umbra_view *view, const struct umbra_node *dir, const char *path,
		     const char *name, struct umbra_node *out, struct umbra_error *err)
{
	int fd, r;

	if (umbra_view_is_member(view, path))
		return umbra_view_find(view, path, out, err);
	fd = openat(dir->fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 && is_absence(-errno))
		return 0;
	r = fd < 0 ? -errno : fill(out, fd, dir->root);
	return r < 0 ? fail_at(view, r, path, err) : 1;
}

void umbra_names_finish(struct umbra_names *names)
{
	size_t i;

	for (i = 0; i < names->n; i++)
		free(names->names[i]);
	free(names->names);
	*names = (struct umbra_names){0};
}

static int add_name(struct umbra_names *list, size_t *room, const char *name)
{
	char **more;

	if (list->n == *room) {
		*room = *room ? *room * 2 : 64;
		more = reallocarray(list->names, *room, sizeof(char *));
		if (!more)
			return -ENOMEM;
		list->names = more;
	}
	list->names[list->n] = strdup(name);
	return list->names[list->n] ? (list->n++, 0) : -ENOMEM;
}

static int by_bytes(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The part of umbra's state directory that is an entry of the live directory path, or NULL. */
static const char *state_entry(const struct umbra_view *view, const char *path)
{
	const char *below;

	if (view->set || !view->opener.state_dir)
		return NULL;
	below = umbra_path_below(view->opener.state_dir, path);
	return below && *below && !strchr(below, '/') ? below : NULL;
}

static bool is_root_of(const struct umbra_node *node)
{
	struct stat st;

	return node->root && fstat(node->root->fd, &st) == 0 && st.st_dev == node->dev &&
	       st.st_ino == node->ino;
}

const char *umbra_node_hidden(const struct umbra_node *dir)
{
	return is_root_of(dir) ? dir->root->hidden : NULL;
}

/* Looking leaves no trace, not even an access time, where that is ours to say. */
static int open_quietly(int dirfd, const char *name, int flags)
{
	int fd = openat(dirfd, name, flags | O_NOATIME);

	return fd < 0 && errno == EPERM ? openat(dirfd, name, flags) : fd;
}

int umbra_view_names(const struct umbra_view *view, const struct umbra_node *dir, const char *path,
		     struct umbra_names *out, struct umbra_error *err)
{
	const char *hidden = is_root_of(dir) ? dir->root->hidden : state_entry(view, path);
	_cleanup_names_ struct umbra_names list = {0};
	_cleanup_dir_ DIR *d = NULL;
	struct dirent *de;
	size_t room = 0;
	int fd, r = 0;

	fd = open_quietly(dir->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		r = -errno;
		umbra_close(fd);
		return fail_at(view, r, path, err);
	}
	while (r == 0 && (errno = 0, de = readdir(d))) {
		if (strcmp(de->d_name, ".") != 0 && strcmp(de->d_name, "..") != 0 &&
		    !(hidden && strcmp(de->d_name, hidden) == 0))
			r = add_name(&list, &room, de->d_name);
	}
	if (r == 0 && errno)
		r = -errno;
	if (r < 0)
		return fail_at(view, r, path, err);
	if (list.n > 1)
		qsort(list.names, list.n, sizeof(char *), by_bytes);
	*out = list;
	list = (struct umbra_names){0};
	return 0;
}

bool umbra_node_is_unreadable(const struct umbra_node *node)
{
	return S_ISREG(node->st.st_mode) && node->root &&
	       umbra_root_check(node->root, node->ino) < 0;
}

bool umbra_node_is_unlisted(const struct umbra_node *node)
{
	return S_ISDIR(node->st.st_mode) && node->root &&
	       umbra_root_check(node->root, node->ino) < 0;
}

int umbra_view_unreadable(const struct umbra_view *view, const char *path, struct umbra_error *err)
{
	char token[UMBRA_TOKEN_LEN + 1];

	umbra_token_format(view->set->time, token);
	return umbra_fail(err, UMBRA_E_PERMISSION, EACCES,
			  "the content of '%s' was not readable when %s was made and is not in it",
			  path, token);
}

int umbra_node_open(const struct umbra_node *node, int flags)
{
	char proc[40];
	int fd, r;

	if (S_ISDIR(node->st.st_mode))
		fd = open_quietly(node->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC | flags);
	else if (!S_ISREG(node->st.st_mode))
		return -EINVAL; /* opening a device or a pipe does something */
	else {
		r = node->root ? umbra_root_check(node->root, node->ino) : 0;
		if (r < 0)
			return r;
		snprintf(proc, sizeof(proc), "/proc/self/fd/%d", node->fd);
		fd = open_quietly(AT_FDCWD, proc, O_RDONLY | O_CLOEXEC | flags);
	}
	return fd < 0 ? -errno : fd;
}

int umbra_node_readlink(const struct umbra_node *node, char **out)
{
	char target[PATH_MAX];
	ssize_t n = readlinkat(node->fd, "", target, sizeof(target));

	if (n < 0)
		return -errno;
	*out = strndup(target, (size_t)n);
	return *out ? 0 : -ENOMEM;
}

const char *umbra_type_name(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
		return "file";
	case S_IFDIR:
		return "directory";
	case S_IFLNK:
		return "symlink";
	case S_IFIFO:
		return "fifo";
	case S_IFSOCK:
		return "socket";
	case S_IFCHR:
		return "char-device";
	case S_IFBLK:
		return "block-device";
	default:
		return "unknown";
	}
}

int umbra_view_too_deep(const char *path, struct umbra_error *err)
{
	size_t len = strlen(path);

	return umbra_fail(err, UMBRA_E_UNSUPPORTED, ENAMETOOLONG,
			  "there are more than %d directories below each other; what is below "
			  "'…%s' must be named by itself",
			  UMBRA_DEPTH_MAX, path + (len > 100 ? len - 100 : 0));
}

char *umbra_path_join(const char *dir, const char *name)
{
	return umbra_asprintf("%s/%s", strcmp(dir, "/") == 0 ? "" : dir, name);
}
