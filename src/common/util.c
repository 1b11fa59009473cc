/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/util.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "common/log.h"
#include "install.h"

int umbra_close(int fd)
{
	int saved = errno;

	if (fd >= 0)
		close(fd);
	errno = saved;
	return -1;
}

int umbra_write_all(int fd, const void *data, size_t len)
{
	const char *p = data;
	ssize_t n;

	while (len > 0) {
		n = write(fd, p, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

int umbra_read_file(int dirfd, const char *name, size_t max, char **out, size_t *len)
{
	_cleanup_close_ int fd = -1;
	_cleanup_free_ char *buf = NULL;
	size_t used = 0, size = 0;
	struct stat st;
	ssize_t n;
	char *more;

	fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	if (st.st_size > 0 && (size_t)st.st_size > max)
		return -EFBIG;
	for (;;) {
		if (used + 1 >= size) {
			size = size ? size * 2 : (size_t)st.st_size + 2;
			more = realloc(buf, size);
			if (!more)
				return -ENOMEM;
			buf = more;
		}
		n = read(fd, buf + used, size - used - 1);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		used += (size_t)n;
		if (used > max)
			return -EFBIG;
	}
	buf[used] = '\0';
	*out = TAKE_PTR(buf);
	if (len)
		*len = used;
	return 0;
}

/* btrfs logs the name of a file with the file, and an fsync costs a log commit each. */
static bool name_goes_with_file(int dirfd, const char *name)
{
	struct statfs fs;

	return faccessat(dirfd, name, F_OK, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT &&
	       fstatfs(dirfd, &fs) == 0 && fs.f_type == BTRFS_SUPER_MAGIC;
}

int umbra_replace_file(int dirfd, const char *name, mode_t mode, const void *data, size_t len)
{
	bool together = name_goes_with_file(dirfd, name);
	_cleanup_close_ int fd = -1;
	char tmp[NAME_MAX + 1];
	int r;

	if ((size_t)snprintf(tmp, sizeof(tmp), ".%s.tmp", name) >= sizeof(tmp))
		return -ENAMETOOLONG;
	if (unlinkat(dirfd, tmp, 0) < 0 && errno != ENOENT)
		return -errno;
	fd = openat(dirfd, tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
	if (fd < 0)
		return -errno;
	r = umbra_write_all(fd, data, len);
	if (r == 0 && !together && fsync(fd) < 0)
		r = -errno;
	if (r == 0 && renameat(dirfd, tmp, dirfd, name) < 0)
		r = -errno;
	if (r < 0) {
		unlinkat(dirfd, tmp, 0);
		return r;
	}
	return fsync(together ? fd : dirfd) < 0 ? -errno : 0;
}

int umbra_dir_is_empty(int dirfd, const char *name)
{
	_cleanup_close_ int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_dir_ DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	if (!d)
		return -errno;
	fd = -1; /* d has it */
	while (errno = 0, (e = readdir(d)))
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			return 0;
	return errno ? -errno : 1;
}

int umbra_mkdir_all(const char *path, mode_t mode)
{
	_cleanup_free_ char *copy = strdup(path);
	struct stat st;
	char *p;

	if (!copy)
		return -ENOMEM;
	for (p = copy + 1; *p; p++) {
		if (*p != '/')
			continue;
		*p = '\0';
		if (mkdir(copy, mode) < 0 && errno != EEXIST)
			return -errno;
		*p = '/';
	}
	if (mkdir(copy, mode) == 0)
		return 0;
	if (errno != EEXIST)
		return -errno;
	if (stat(copy, &st) < 0)
		return -errno;
	return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
}

int umbra_open_dir_make(int dirfd, const char *name, mode_t mode)
{
	int fd;

	if (mkdirat(dirfd, name, mode) < 0 && errno != EEXIST)
		return -errno;
	fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	return fd < 0 ? -errno : fd;
}

int umbra_fsync_dir(int dirfd)
{
	return fsync(dirfd) < 0 ? -errno : 0;
}

void umbra_hold_standard_fds(void)
{
	int fd;

	/* Without O_CLOEXEC: what we start has them too. The lowest free number is taken. */
	for (fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0)
			(void)!open("/dev/null", fd == STDOUT_FILENO ? O_RDONLY : O_RDWR);
}

int umbra_open_real(const char *path, int flags)
{
	const int through = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
	bool root = strcmp(path, "/") == 0;
	_cleanup_free_ char *copy = strdup(path + 1);
	char *at = root ? NULL : copy, *name;
	int fd, next;

	if (!copy)
		return -ENOMEM;
	flags |= O_NOFOLLOW | O_CLOEXEC;
	fd = open("/", root ? flags : through);
	while (fd >= 0 && (name = strsep(&at, "/"))) {
		next = openat(fd, name, at ? through : flags);
		umbra_close(fd);
		fd = next;
	}
	return fd < 0 ? -errno : fd;
}

size_t umbra_raise_nofile(void)
{
	struct rlimit lim;

	if (getrlimit(RLIMIT_NOFILE, &lim) < 0)
		return 1024;
	if (lim.rlim_cur < lim.rlim_max) {
		lim.rlim_cur = lim.rlim_max;
		if (setrlimit(RLIMIT_NOFILE, &lim) < 0)
			getrlimit(RLIMIT_NOFILE, &lim);
	}
	return lim.rlim_cur > 1U << 30 ? 1U << 30 : (size_t)lim.rlim_cur;
}

char *umbra_asprintf(const char *fmt, ...)
{
	char *out;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&out, fmt, ap);
	va_end(ap);
	return n < 0 ? NULL : out;
}

/* dir is resolved, name is appended as it is. */
static int missing_path(const char *path, char **out)
{
	_cleanup_free_ char *copy = NULL, *dir = NULL;
	size_t len = strlen(path);
	char *slash;

	while (len > 1 && path[len - 1] == '/')
		len--;
	copy = strndup(path, len);
	if (!copy)
		return -ENOMEM;
	slash = strrchr(copy, '/');
	if (slash && (strcmp(slash + 1, "..") == 0 || strcmp(slash + 1, ".") == 0))
		return -ENOENT;
	if (!slash) {
		dir = realpath(".", NULL);
	} else if (slash == copy) {
		dir = strdup("/");
	} else {
		*slash = '\0';
		dir = realpath(copy, NULL);
	}
	if (!dir)
		return -errno;
	*out = umbra_asprintf("%s/%s", strcmp(dir, "/") == 0 ? "" : dir, slash ? slash + 1 : copy);
	return *out ? 0 : -ENOMEM;
}

int umbra_absolute_path(const char *path, bool missing_ok, char **out)
{
	char *resolved = realpath(path, NULL);

	if (resolved) {
		*out = resolved;
		return 0;
	}
	if (errno != ENOENT || !missing_ok || !*path)
		return -errno;
	return missing_path(path, out);
}

int umbra_absolute_name(const char *path, char **out)
{
	const char *last = strrchr(path, '/');

	last = last ? last + 1 : path;
	if (strcmp(path, ".") == 0) {
		*out = getcwd(NULL, 0);
		return *out ? 0 : -errno;
	}
	if (strcmp(last, ".") == 0 || strcmp(last, "..") == 0)
		return umbra_absolute_path(path, false, out);
	return *path ? missing_path(path, out) : -ENOENT;
}

char *umbra_fd_path(int fd)
{
	_cleanup_free_ char *link = umbra_asprintf("/proc/self/fd/%d", fd);
	char path[PATH_MAX];
	ssize_t n = link ? readlink(link, path, sizeof(path)) : -1;

	return n > 0 && n < (ssize_t)sizeof(path) ? strndup(path, (size_t)n) : NULL;
}

const char *umbra_path_below(const char *path, const char *prefix)
{
	size_t len = strlen(prefix);

	if (strcmp(prefix, "/") == 0)
		return path[0] == '/' ? path + 1 : NULL;
	if (strncmp(path, prefix, len) != 0)
		return NULL;
	if (path[len] == '\0')
		return path + len;
	return path[len] == '/' ? path + len + 1 : NULL;
}

static int program_in(const char *dir, const char *below, const char *name, char **out)
{
	_cleanup_free_ char *path = umbra_asprintf("%s/%s/%s", dir, below, name);

	if (!path)
		return -ENOMEM;
	if (access(path, X_OK) < 0)
		return -errno;
	*out = TAKE_PTR(path);
	return 0;
}

int umbra_find_program(const char *name, const char *const *dirs, char **out,
		       struct umbra_error *err)
{
	char self[4096];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	self[n > 0 ? n : 0] = '\0';
	slash = strrchr(self, '/');
	if (slash)
		*slash = '\0';
	/* An installed program looks nowhere but where its helper was installed. */
	if (slash && strcmp(self, UMBRA_BINDIR) != 0 && strcmp(self, UMBRA_SBINDIR) != 0)
		for (; *dirs; dirs++)
			if (program_in(self, *dirs, name, out) == 0)
				return 0;
	if (program_in(UMBRA_SBINDIR, ".", name, out) == 0)
		return 0;
	return umbra_fail(err, UMBRA_E_NOT_FOUND, ENOENT,
			  "there is no %s beside this program nor in '" UMBRA_SBINDIR
			  "': is umbra installed completely?",
			  name);
}

int umbra_put_file(int dirfd, const char *dir, const char *name, const char *text)
{
	_cleanup_close_ int fd = umbra_open_dir_make(dirfd, dir, 0700);
	int r;

	if (fd < 0)
		return fd;
	r = umbra_replace_file(fd, name, 0600, text, strlen(text));
	return r < 0 ? r : umbra_fsync_dir(dirfd);
}

void umbra_be_spared(void)
{
	static const char least[] = "-1000";
	_cleanup_close_ int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, least, strlen(least)) < 0)
		umbra_log_debug("cannot ask to be spared when memory runs out");
}
