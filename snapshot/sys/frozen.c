/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/sys/frozen.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "common/text.h"
#include "common/token.h"
#include "common/util.h"
#include "snapshot/sys/suspended.h"

/* What found a filesystem frozen and is stuck there. Whoever asks again waits for that one. */
struct stuck {
	dev_t dev;
	pid_t child;
	int fd; /* of which it has the other end */
	struct stuck *next;
};

static struct stuck *all_stuck;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of the list */

static dev_t device_of(int fd)
{
	struct stat st;

	return fstat(fd, &st) < 0 ? 0 : st.st_dev;
}

/* Takes fd. */
static void put_stuck(dev_t dev, pid_t child, int fd)
{
	struct stuck *s = malloc(sizeof(*s));

	if (!s) {
		close(fd);
		return;
	}
	*s = (struct stuck){.dev = dev, .child = child, .fd = fd};
	pthread_mutex_lock(&lock);
	s->next = all_stuck;
	all_stuck = s;
	pthread_mutex_unlock(&lock);
}

/* Out of the list, to be waited for by one at a time. */
static bool take_stuck(dev_t dev, pid_t *child, int *fd)
{
	struct stuck **at, *s;

	pthread_mutex_lock(&lock);
	for (at = &all_stuck; *at && (*at)->dev != dev;)
		at = &(*at)->next;
	s = *at;
	if (s)
		*at = s->next;
	pthread_mutex_unlock(&lock);
	if (!s)
		return false;
	*child = s->child;
	*fd = s->fd;
	free(s);
	return true;
}

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
static bool wait_for_end(int fd, int64_t until)
{
	struct pollfd p = {.fd = fd};
	int64_t left;
	int r;

	do {
		left = (until - umbra_now_us()) / 1000;
		r = poll(&p, 1, left > 0 ? (int)left : 0);
	} while (r < 0 && errno == EINTR);
	return r != 0;
}

/* False: then without knowing. */
static bool send(int fd, pid_t *child, int *out)
{
	_cleanup_close_ int mine = -1, its = -1;
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return false;
	mine = ends[0];
	its = ends[1];
	*child = fork();
	if (*child == 0)
		try_to_change(fd, its);
	if (*child < 0)
		return false;
	*out = TAKE_FD(mine);
	return true;
}

/* Takes end. */
static bool wait_for(dev_t dev, pid_t child, int end, int64_t until)
{
	if (!wait_for_end(end, until)) {
		kill(child, SIGKILL);
		put_stuck(dev, child, end);
		return false;
	}
	close(end);
	while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
		;
	return true;
}

int umbra_thawed(int fd, int limit_ms)
{
	const int64_t until = umbra_now_us() + (int64_t)limit_ms * 1000;
	const dev_t dev = device_of(fd);
	pid_t child;
	int end;

	/* That an earlier one is through says nothing of now. */
	while (take_stuck(dev, &child, &end))
		if (!wait_for(dev, child, end, until))
			return -EBUSY;
	return !send(fd, &child, &end) || wait_for(dev, child, end, until) ? 0 : -EBUSY;
}

int umbra_frozen_fail(struct umbra_error *err, const char *what, const char *dir)
{
	return umbra_fail(err, UMBRA_E_BUSY, EBUSY,
			  "%s is frozen, so that nothing can be changed on it: thaw it, as with "
			  "'fsfreeze -u %s', or wait for whoever froze it; then try again",
			  what, UMBRA_WORD(dir));
}

int umbra_refuse_frozen(const char *what, const char *path, int limit_ms, struct umbra_error *err)
{
	_cleanup_free_ char *above = strdup(path), *text = NULL;
	_cleanup_close_ int fd = -1;
	char *slash;
	int r;

	if (!above)
		return umbra_oom(err);
	/* The nearest directory that is there; of "/state" it is "/". */
	while ((fd = open(above, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0 &&
	       (errno == ENOENT || errno == ENOTDIR) && (slash = strrchr(above, '/')) && above[1])
		slash[slash == above] = '\0';
	/* Who suspends its device freezes it, too, but a thaw would not help. */
	r = fd < 0 ? 0 : umbra_refuse_suspended(device_of(fd), limit_ms, err);
	if (r < 0)
		return umbra_wrap(err, r, "%s '%s'", what, path);
	if (fd < 0 || umbra_thawed(fd, limit_ms) == 0)
		return 0;
	text = umbra_asprintf("the filesystem of %s '%s'", what, path);
	return text ? umbra_frozen_fail(err, text, above) : umbra_oom(err);
}
