/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fuse/mountpoint.h"

#include <fcntl.h>
#include <libmount/libmount.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/log.h"
#include "snapshot/snapshot.h"

#define FUSERMOUNT "fusermount3"
#define ANSWER_MS  3000

static void unref_table(struct libmnt_table **tb)
{
	mnt_unref_table(*tb);
}

static void free_iter(struct libmnt_iter **it)
{
	mnt_free_iter(*it);
}

static bool is_tree(struct libmnt_fs *fs)
{
	const char *type = mnt_fs_get_fstype(fs);

	return type && strcmp(type, UMBRA_MOUNTS_FSTYPE) == 0;
}

/* A place that something is to be mounted on when it is first used (systemd.automount(5)). That of
 * an indirect map is a directory of such places. */
static bool is_automount(struct libmnt_fs *fs)
{
	const char *type = mnt_fs_get_fstype(fs);

	return type && strcmp(type, "autofs") == 0 &&
	       mnt_fs_get_option(fs, "direct", NULL, NULL) == 0;
}

/* Is the daemon of the tree on path there? 0: it answers; -ENOTCONN: it died; -ETIMEDOUT. Asked in
 * a process of its own: one that waits for an answer perhaps cannot even be killed. */
static int ask_daemon(const char *path)
{
	_cleanup_close_ int pidfd = -1;
	struct pollfd p = {.events = POLLIN};
	struct statvfs st;
	int status;
	pid_t pid = fork();

	if (pid == 0) /* attributes the kernel may have kept; this it always asks */
		_exit(statvfs(path, &st) < 0 && errno == ENOTCONN);
	if (pid < 0)
		return -errno;
	pidfd = pidfd_open(pid, 0);
	p.fd = pidfd;
	if (poll(&p, 1, ANSWER_MS) != 1 || waitpid(pid, &status, 0) != pid) {
		kill(pid, SIGKILL);
		return -ETIMEDOUT;
	}
	return WIFEXITED(status) && WEXITSTATUS(status) != 0 ? -ENOTCONN : 0;
}

static int run(char *const argv[])
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		execvp(argv[0], argv);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return -errno;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EBUSY;
}

/* What is left of a tree without a daemon is of no use to anybody. */
static int take_away(const char *path, struct umbra_error *err)
{
	bool root = geteuid() == 0;
	char *const by_root[] = {(char *)"umount", (char *)"-il", (char *)"--", (char *)path, NULL};
	char *const by_user[] = {(char *)FUSERMOUNT, (char *)"-uz", (char *)"--", (char *)path,
				 NULL};
	int r;

	umbra_log_info("'%s' had a tree whose daemon died: taking it away first", path);
	r = run(root ? by_root : by_user);
	return r < 0 ? umbra_fail_errno(err, r, "cannot take away the dead tree on '%s'", path) : 0;
}

/* r: what its daemon answers. */
static int refuse_mounted(const char *path, struct libmnt_fs *fs, const char *state_dir, int r,
			  struct umbra_error *err)
{
	const char *source = mnt_fs_get_source(fs);

	if (!source)
		source = "none";
	if (!is_tree(fs))
		return umbra_fail(err, UMBRA_E_EXISTS, EBUSY,
				  "'%s' is a mount point already, of %s (%s): choose an empty "
				  "directory",
				  path, source, mnt_fs_get_fstype(fs));
	if (r == -ETIMEDOUT)
		return umbra_fail(err, UMBRA_E_EXISTS, EBUSY,
				  "'%s' has a tree of shadow copies that does not answer: take it "
				  "away first ('umbra umount --lazy')",
				  path);
	if (strcmp(source, state_dir) == 0)
		return umbra_fail(err, UMBRA_E_EXISTS, EBUSY,
				  "the shadow copies are mounted on '%s' already", path);
	return umbra_fail(err, UMBRA_E_EXISTS, EBUSY,
			  "'%s' has the shadow copies of another state directory mounted on it, "
			  "'%s'",
			  path, source);
}

/* 1: a dead tree was there and is no more, look again. *automount: it is made for being mounted on.
 */
static int check_mounts(const char *path, const char *state_dir, bool *automount,
			struct umbra_error *err)
{
	_cleanup_(free_iter) struct libmnt_iter *it = mnt_new_iter(MNT_ITER_BACKWARD);
	_cleanup_(unref_table) struct libmnt_table *tb =
		mnt_new_table_from_file("/proc/self/mountinfo");
	const char *target, *below;
	struct libmnt_fs *fs;
	int r;

	if (!tb || !it)
		return umbra_fail(err, UMBRA_E_INTERNAL, EIO,
				  "cannot read /proc/self/mountinfo: is /proc mounted?");
	*automount = false;
	while (mnt_table_next_fs(tb, it, &fs) == 0) { /* the last is on top */
		target = mnt_fs_get_target(fs);
		if (!target || (*automount && strcmp(target, path) == 0))
			continue;
		if (strcmp(target, path) == 0 && is_automount(fs)) {
			*automount = true;
			continue;
		}
		if (strcmp(target, path) == 0 && strcmp(path, "/") != 0) {
			r = is_tree(fs) ? ask_daemon(path) : 0;
			if (r != -ENOTCONN)
				return refuse_mounted(path, fs, state_dir, r, err);
			r = take_away(path, err);
			return r < 0 ? r : 1;
		}
		if (is_tree(fs) && umbra_path_below(path, target))
			return umbra_fail(err, UMBRA_E_EXISTS, EINVAL,
					  "'%s' lies in a tree of shadow copies itself (mounted on "
					  "'%s')",
					  path, target);
		below = umbra_path_below(target, path);
		if (below && *below)
			return umbra_fail(err, UMBRA_E_EXISTS, EBUSY,
					  "mounting on '%s' would hide what is mounted on '%s': "
					  "choose an empty directory",
					  path, target);
	}
	return 0;
}

dev_t umbra_mountpoint_device(const char *path)
{
	_cleanup_(unref_table) struct libmnt_table *tb =
		mnt_new_table_from_file("/proc/self/mountinfo");
	struct libmnt_fs *fs = tb ? mnt_table_find_target(tb, path, MNT_ITER_BACKWARD) : NULL;

	return fs ? mnt_fs_get_devno(fs) : 0;
}

static int check_state(const char *path, const char *state_dir, struct umbra_error *err)
{
	if (umbra_path_below(path, state_dir))
		return umbra_fail(err, UMBRA_E_EXISTS, EINVAL,
				  "'%s' lies in umbra's own state directory '%s': choose another "
				  "directory",
				  path, state_dir);
	if (umbra_path_below(state_dir, path))
		return umbra_fail(err, UMBRA_E_EXISTS, EINVAL,
				  "mounting on '%s' would hide umbra's state directory '%s': "
				  "choose another directory",
				  path, state_dir);
	return 0;
}

static int missing(const char *dir, int r, struct umbra_error *err)
{
	if (r == -ENOENT)
		return umbra_fail(err, UMBRA_E_NOT_FOUND, ENOENT,
				  "'%s' does not exist: make it first (mkdir)", dir);
	return umbra_fail_errno(err, r, "cannot mount on '%s'", dir);
}

static int check_empty(const char *path, struct umbra_error *err)
{
	int n = umbra_dir_is_empty(AT_FDCWD, path);

	if (n < 0)
		return umbra_fail_errno(err, n, "cannot look whether '%s' is empty", path);
	if (n > 0)
		return 0;
	return umbra_fail(err, UMBRA_E_EXISTS, ENOTEMPTY,
			  "'%s' is not empty, and a tree mounted on it would hide what is there: "
			  "choose an empty directory, or say that it may ('umbra mount "
			  "--nonempty', '-o nonempty')",
			  path);
}

int umbra_mountpoint_check(const char *dir, const char *state_dir, bool nonempty, char **real,
			   struct umbra_error *err)
{
	_cleanup_free_ char *path = NULL, *followed = NULL;
	bool automount = false;
	struct stat st;
	int r = umbra_absolute_name(dir, &path);

	if (r < 0)
		return missing(dir, r, err);
	while ((r = check_mounts(path, state_dir, &automount, err)) > 0)
		;
	if (r < 0)
		return r;
	if (lstat(path, &st) < 0)
		return missing(dir, -errno, err);
	if (S_ISLNK(st.st_mode)) {
		r = umbra_absolute_path(path, false, &followed);
		return r < 0 ? missing(dir, r, err)
			     : umbra_mountpoint_check(followed, state_dir, nonempty, real, err);
	}
	if (!S_ISDIR(st.st_mode))
		return umbra_fail(err, UMBRA_E_NOT_FOUND, ENOTDIR, "'%s' is not a directory", dir);
	r = check_state(path, state_dir, err);
	/* Who looks into it now waits for what is being mounted: for us. */
	if (r == 0 && !nonempty && !automount)
		r = check_empty(path, err);
	if (r < 0)
		return r;
	*real = TAKE_PTR(path);
	return 0;
}

static bool in_path(const char *program)
{
	const char *list = getenv("PATH"), *end;

	for (list = list ? list : "/usr/bin:/bin"; *list; list = *end ? end + 1 : end) {
		_cleanup_free_ char *path = NULL;

		end = strchrnul(list, ':');
		path = umbra_asprintf("%.*s/%s", (int)(end - list), list, program);
		if (path && access(path, X_OK) == 0)
			return true;
	}
	return false;
}

int umbra_mountpoint_fuse(struct umbra_error *err)
{
	_cleanup_close_ int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);

	if (fd < 0 && (errno == EACCES || errno == EPERM))
		return umbra_fail(
			err, UMBRA_E_PERMISSION, errno,
			"no permission to use /dev/fuse: it normally is open to all (mode "
			"0666, set by udev and package fuse3); in a container it must be "
			"allowed");
	if (fd < 0)
		return umbra_fail(err, UMBRA_E_UNSUPPORTED, errno,
				  "cannot use /dev/fuse (%s): load the kernel's module ('modprobe "
				  "fuse'); in a container the device must be given to it",
				  strerror(errno));
	if (geteuid() != 0 && !in_path(FUSERMOUNT) && access("/usr/bin/" FUSERMOUNT, X_OK) < 0)
		return umbra_fail(err, UMBRA_E_UNSUPPORTED, ENOENT,
				  "there is no " FUSERMOUNT ", which users need for mounting: "
				  "install package fuse3");
	return 0;
}
