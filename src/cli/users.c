/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/users.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "common/util.h"

#define NAMED_MAX 4

struct wanted {
	bool (*is)(const void *arg, const char *path);
	const void *arg;
};

static bool link_is(int dirfd, const char *name, const struct wanted *wanted)
{
	char target[4096];
	ssize_t n = readlinkat(dirfd, name, target, sizeof(target) - 1);

	if (n <= 0)
		return false;
	target[n] = '\0';
	return wanted->is(wanted->arg, target);
}

static bool has_file(int process, const struct wanted *wanted)
{
	int fd = openat(process, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_dir_ DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *d;

	if (!dir) {
		umbra_close(fd);
		return false;
	}
	while ((d = readdir(dir)))
		if (d->d_name[0] != '.' && link_is(fd, d->d_name, wanted))
			return true;
	return false;
}

static bool uses(int process, const struct wanted *wanted)
{
	return link_is(process, "cwd", wanted) || link_is(process, "root", wanted) ||
	       link_is(process, "exe", wanted) || has_file(process, wanted);
}

static int append(char **list, int process, const char *pid)
{
	_cleanup_free_ char *comm = NULL;
	char *more;

	if (umbra_read_file(process, "comm", 256, &comm, NULL) == 0)
		comm[strcspn(comm, "\n")] = '\0';
	more = umbra_asprintf("%s%s%s (pid %s)", *list ? *list : "", *list ? ", " : "",
			      comm ? comm : "?", pid);
	if (!more)
		return -ENOMEM;
	free(*list);
	*list = more;
	return 0;
}

char *umbra_users_where(bool (*is)(const void *arg, const char *path), const void *arg)
{
	const struct wanted wanted = {is, arg};
	_cleanup_dir_ DIR *proc = opendir("/proc");
	const struct dirent *d;
	char *list = NULL;
	int named = 0;

	while (proc && named < NAMED_MAX && (d = readdir(proc))) {
		_cleanup_close_ int process = -1;

		if (d->d_name[0] < '1' || d->d_name[0] > '9' || atoi(d->d_name) == getpid())
			continue;
		process = openat(dirfd(proc), d->d_name, O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (process < 0 || !uses(process, &wanted))
			continue;
		if (append(&list, process, d->d_name) < 0)
			break;
		named++;
	}
	return list;
}

static bool is_below(const void *path, const char *target)
{
	return umbra_path_below(target, path) != NULL;
}

char *umbra_users_of(const char *path)
{
	return umbra_users_where(is_below, path);
}
