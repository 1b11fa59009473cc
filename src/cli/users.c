/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/users.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "common/util.h"

#define NAMED_MAX 4

static bool link_below(int dirfd, const char *name, const char *path)
{
	char target[4096];
	ssize_t n = readlinkat(dirfd, name, target, sizeof(target) - 1);

	if (n <= 0)
		return false;
	target[n] = '\0';
	return umbra_path_below(target, path) != NULL;
}

static bool has_file(int process, const char *path)
{
	int fd = openat(process, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_dir_ DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *d;

	if (!dir) {
		umbra_close(fd);
		return false;
	}
	while ((d = readdir(dir)))
		if (d->d_name[0] != '.' && link_below(fd, d->d_name, path))
			return true;
	return false;
}

static bool uses(int process, const char *path)
{
	return link_below(process, "cwd", path) || link_below(process, "root", path) ||
	       link_below(process, "exe", path) || has_file(process, path);
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

char *umbra_users_of(const char *path)
{
	_cleanup_dir_ DIR *proc = opendir("/proc");
	const struct dirent *d;
	char *list = NULL;
	int named = 0;

	while (proc && named < NAMED_MAX && (d = readdir(proc))) {
		_cleanup_close_ int process = -1;

		if (d->d_name[0] < '1' || d->d_name[0] > '9')
			continue;
		process = openat(dirfd(proc), d->d_name, O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (process < 0 || !uses(process, path))
			continue;
		if (append(&list, process, d->d_name) < 0)
			break;
		named++;
	}
	return list;
}
