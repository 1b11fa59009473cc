/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/sys/frozen.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "common/token.h"
#include "common/util.h"

/*
 * In a process of its own, since it may never come back. It keeps nothing that others wait for:
 * no lock, no socket, no terminal.
 */
static _Noreturn void try_to_change(int fd, int alive)
{
	if (dup2(alive, STDOUT_FILENO) < 0 || dup2(alive, STDERR_FILENO) < 0 ||
	    dup2(fd, STDIN_FILENO) < 0)
		_exit(1);
	closefrom(STDERR_FILENO + 1);
	/* There is no such kind of attribute, but the kernel asks for write access first. */
	fremovexattr(STDIN_FILENO, "umbra.frozen");
	_exit(0);
}

/* Until the other end is closed. */
static bool wait_for_end(int fd, int limit_ms)
{
	const int64_t until = umbra_now_us() + (int64_t)limit_ms * 1000;
	struct pollfd p = {.fd = fd};
	int64_t left;
	int r;

	do {
		left = (until - umbra_now_us()) / 1000;
		r = poll(&p, 1, left > 0 ? (int)left : 0);
	} while (r < 0 && errno == EINTR);
	return r != 0;
}

int umbra_thawed(int fd, int limit_ms)
{
	_cleanup_close_ int mine = -1, its = -1;
	int ends[2];
	pid_t child;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return 0;
	mine = ends[0];
	its = ends[1];
	child = fork();
	if (child == 0)
		try_to_change(fd, its);
	if (child < 0) /* then without knowing */
		return 0;
	its = umbra_close(its);
	if (!wait_for_end(mine, limit_ms)) {
		kill(child, SIGKILL);
		return -EBUSY;
	}
	while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
		;
	return 0;
}

int umbra_frozen_fail(struct umbra_error *err, const char *what, const char *dir)
{
	return umbra_fail(err, UMBRA_E_BUSY, EBUSY,
			  "%s is frozen, so that nothing can be changed on it: thaw it, as with "
			  "'fsfreeze -u %s', or wait for whoever froze it; then try again",
			  what, dir);
}

int umbra_refuse_frozen(const char *what, const char *path, struct umbra_error *err)
{
	_cleanup_free_ char *above = strdup(path), *text = NULL;
	_cleanup_close_ int fd = -1;
	char *slash;

	if (!above)
		return umbra_oom(err);
	/* The nearest directory that is there; of "/state" it is "/". */
	while ((fd = open(above, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0 &&
	       (errno == ENOENT || errno == ENOTDIR) && (slash = strrchr(above, '/')) && above[1])
		slash[slash == above] = '\0';
	if (fd < 0 || umbra_thawed(fd, UMBRA_THAW_WAIT_MS) == 0)
		return 0;
	text = umbra_asprintf("the filesystem of %s '%s'", what, path);
	return text ? umbra_frozen_fail(err, text, above) : umbra_oom(err);
}
