/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/target.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "snapshot/restore.h"

#define RANDOM_BYTES 8
#define TEMP_LEN     (sizeof(UMBRA_RESTORE_TEMP) - 1 + 2 * (size_t)RANDOM_BYTES)

void umbra_target_finish(struct umbra_target *t)
{
	t->fd = umbra_close(t->fd);
	free(t->path);
	t->path = NULL;
}

static int open_dir(int dirfd, const char *name)
{
	int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

	/* Who may write and search, but not read, can restore here all the same. */
	if (fd < 0 && errno == EACCES)
		fd = openat(dirfd, name, O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	return fd < 0 ? -errno : fd;
}

int umbra_target_open(const struct umbra_target *dir, const char *name, struct umbra_target *out,
		      struct umbra_error *err)
{
	_cleanup_free_ char *path = dir ? umbra_path_join(dir->path, name) : strdup("/");
	int fd;

	if (!path)
		return umbra_oom(err);
	fd = open_dir(dir ? dir->fd : AT_FDCWD, dir ? name : "/");
	if (fd == -ENOENT)
		return 0;
	if (fd == -ENOTDIR || fd == -ELOOP)
		return umbra_fail(err, UMBRA_E_EXISTS, ENOTDIR,
				  "'%s' is not a directory any more: move it away, or restore to "
				  "another place with --to",
				  path);
	if (fd < 0)
		return umbra_fail_errno(err, fd, "cannot enter '%s'", path);
	*out = (struct umbra_target){.fd = fd, .path = TAKE_PTR(path)};
	return 1;
}

int umbra_target_walk_above(const char *path, struct umbra_target *out, struct umbra_error *err)
{
	_cleanup_target_ struct umbra_target t = UMBRA_TARGET_NONE, next = UMBRA_TARGET_NONE;
	_cleanup_free_ char *copy = strdup(path);
	char *part, *slash;
	int r;

	if (!copy)
		return umbra_oom(err);
	r = umbra_target_open(NULL, NULL, &t, err);
	for (part = copy + 1; r > 0 && (slash = strchr(part, '/')); part = slash + 1) {
		*slash = '\0';
		r = umbra_target_open(&t, part, &next, err);
		if (r > 0) {
			umbra_target_finish(&t);
			t = next;
			next = (struct umbra_target)UMBRA_TARGET_NONE;
		}
	}
	if (r <= 0)
		return r < 0 ? r : -ENOENT;
	*out = t;
	t = (struct umbra_target)UMBRA_TARGET_NONE;
	return 0;
}

int umbra_target_refused(const struct umbra_target *dir, int r, const char *name,
			 struct umbra_error *err)
{
	struct statfs fs;

	if (abs(r) == EROFS && fstatfs(dir->fd, &fs) == 0 &&
	    (unsigned long)fs.f_type == FUSE_SUPER_MAGIC)
		return umbra_fail(err, UMBRA_E_READ_ONLY, EROFS,
				  "nothing can be restored into '%s': it is read-only, as mounted "
				  "trees of umbra always are",
				  dir->path);
	return umbra_fail_errno(err, r, "cannot make '%s' in '%s'", name, dir->path);
}

int umbra_target_make(const struct umbra_target *dir, const char *name, struct umbra_target *out,
		      struct umbra_error *err)
{
	struct stat st;
	int r;

	if (mkdirat(dir->fd, name, 0700) < 0)
		return umbra_target_refused(dir, -errno, name, err);
	r = umbra_target_open(dir, name, out, err);
	if (r < 0)
		return r;
	/* Whoever owns the directory above could have put another one there. */
	if (r == 0 || fstat(out->fd, &st) < 0 || st.st_uid != geteuid()) {
		umbra_target_finish(out);
		return umbra_fail(err, UMBRA_E_BUSY, EBUSY, "'%s/%s' was changed meanwhile",
				  dir->path, name);
	}
	out->made = true;
	return 0;
}

int umbra_target_look(const struct umbra_target *dir, const char *name, struct umbra_node *out,
		      struct umbra_error *err)
{
	struct umbra_node parent = {.fd = dir->fd};
	_cleanup_free_ char *path = umbra_path_join(dir->path, name);
	static const struct umbra_opener none;
	_cleanup_view_ struct umbra_view *live = umbra_view_live(&none);

	if (!path || !live)
		return umbra_oom(err);
	return umbra_view_child(live, &parent, path, name, out, err);
}

void umbra_target_temp_name(char out[32])
{
	unsigned char random[RANDOM_BYTES] = {0};
	size_t i, at = sizeof(UMBRA_RESTORE_TEMP) - 1;

	/* Only has to be new: O_EXCL refuses what is not. */
	if (getrandom(random, sizeof(random), 0) < 0)
		snprintf((char *)random, sizeof(random), "%d", getpid());
	memcpy(out, UMBRA_RESTORE_TEMP, at);
	for (i = 0; i < sizeof(random); i++)
		snprintf(out + at + 2 * i, 3, "%02x", random[i]);
}

static bool is_temp(const char *name)
{
	size_t prefix = sizeof(UMBRA_RESTORE_TEMP) - 1;

	return strncmp(name, UMBRA_RESTORE_TEMP, prefix) == 0 && strlen(name) == TEMP_LEN &&
	       strspn(name + prefix, "0123456789abcdef") == TEMP_LEN - prefix;
}

int umbra_target_commit(const struct umbra_target *dir, const char *tmp, const char *name, bool old)
{
	int r = 0;

	if (old) {
		if (renameat(dir->fd, tmp, dir->fd, name) < 0)
			r = -errno;
	} else if (renameat2(dir->fd, tmp, dir->fd, name, RENAME_NOREPLACE) < 0) {
		r = -errno;
		if ((r == -EINVAL || r == -ENOSYS) &&
		    faccessat(dir->fd, name, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
			r = renameat(dir->fd, tmp, dir->fd, name) < 0 ? -errno : 0;
	}
	/* Also after success: renaming one link of a file over another leaves both. */
	if (r < 0 || old)
		unlinkat(dir->fd, tmp, 0);
	return r;
}

static void remove_leftovers(int fd, const struct umbra_names *names)
{
	struct stat st;
	size_t i;

	for (i = 0; i < names->n; i++)
		if (is_temp(names->names[i]) &&
		    fstatat(fd, names->names[i], &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		    !S_ISDIR(st.st_mode))
			unlinkat(fd, names->names[i], 0);
}

/* Locks vanish with their process, so a killed restore does not hold one. Who has no lock is
 * only in danger of losing a temporary file, which is an error of that one file. */
static void share(int fd)
{
	static const struct timespec nap = {.tv_nsec = 2000000};
	int i;

	for (i = 0; i < 50 && flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK; i++)
		nanosleep(&nap, NULL);
}

void umbra_target_names(const struct umbra_target *dir, struct umbra_names *names)
{
	struct umbra_node node = {.fd = dir->fd};
	static const struct umbra_opener none;
	_cleanup_view_ struct umbra_view *live = umbra_view_live(&none);

	if (live)
		umbra_view_names(live, &node, dir->path, names, NULL);
}

void umbra_target_claim(const struct umbra_target *dir, struct umbra_names *names)
{
	_cleanup_names_ struct umbra_names list = {0};
	bool alone = flock(dir->fd, LOCK_EX | LOCK_NB) == 0;

	umbra_target_names(dir, &list);
	if (alone)
		remove_leftovers(dir->fd, &list);
	share(dir->fd);
	if (names) {
		*names = list;
		list = (struct umbra_names){0};
	}
}
