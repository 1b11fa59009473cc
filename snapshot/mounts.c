/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/mounts.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/id.h"
#include "common/log.h"
#include "common/token.h"
#include "common/util.h"

#define DIR_NAME "mounts"

/* A state directory's path may be longer than sun_path: go through the descriptor. */
static void address(struct sockaddr_un *sa, int dirfd, const char *name)
{
	*sa = (struct sockaddr_un){.sun_family = AF_UNIX};
	snprintf(sa->sun_path, sizeof(sa->sun_path), "/proc/self/fd/%d/%s", dirfd, name);
}

static int open_dir(int state_fd)
{
	return umbra_open_dir_make(state_fd, DIR_NAME, 0700);
}

int umbra_mounts_listen(int state_fd, char **name_out, int *fd_out, struct umbra_error *err)
{
	_cleanup_close_ int dirfd = open_dir(state_fd), fd = -1;
	_cleanup_free_ char *name = NULL, *early = NULL;
	struct sockaddr_un sa;
	struct umbra_id id;

	if (dirfd < 0)
		return umbra_fail_errno(err, dirfd, "cannot open '%s' in umbra's state directory",
					DIR_NAME);
	umbra_id_new(&id);
	name = umbra_asprintf("%s.sock", id.s);
	early = umbra_asprintf(".%s", id.s);
	if (!name || !early)
		return umbra_oom(err);
	/* An announcer takes a socket that nobody listens on yet for one that is left over, so it
	 * gets its name last. */
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	address(&sa, dirfd, early);
	if (fd < 0 || bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 || listen(fd, 16) < 0 ||
	    renameat(dirfd, early, dirfd, name) < 0)
		return umbra_fail_errno(
			err, errno, "cannot listen in '%s' of umbra's state directory", DIR_NAME);
	*name_out = TAKE_PTR(name);
	*fd_out = TAKE_FD(fd);
	return 0;
}

void umbra_mounts_close(int state_fd, const char *name, int fd)
{
	/* Not made when it is gone: somebody may be deleting the whole state. */
	_cleanup_close_ int dirfd =
		openat(state_fd, DIR_NAME, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

	if (dirfd >= 0)
		unlinkat(dirfd, name, 0);
	umbra_close(fd);
}

/* Waits for a message; its length, or -ETIMEDOUT or -EPROTO. */
static ssize_t hear(int fd, void *buf, size_t size, int timeout_ms)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	ssize_t n;

	if (poll(&p, 1, timeout_ms) != 1)
		return -ETIMEDOUT;
	n = recv(fd, buf, size, MSG_DONTWAIT);
	return n > 0 ? n : -EPROTO;
}

int umbra_mounts_accept(int fd, enum umbra_mounts_word *word)
{
	_cleanup_close_ int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	char c;

	if (client < 0 || hear(client, &c, 1, UMBRA_MOUNTS_ASK_MS) != 1 ||
	    (c != UMBRA_MOUNTS_CHANGED && c != UMBRA_MOUNTS_WAIT))
		return -EAGAIN;
	*word = (enum umbra_mounts_word)c;
	return TAKE_FD(client);
}

void umbra_mounts_answer(int client, enum umbra_mounts_word word)
{
	const char c = (char)word;

	if (send(client, &c, 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		umbra_log_debug("nobody waits for the mount's answer any more");
	close(client);
}

int umbra_mounts_tell_device(int client, dev_t dev)
{
	const uint64_t number = dev;

	return send(client, &number, sizeof(number), MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}

/* A connected socket to which the word was said; -ECONNREFUSED: nobody listens any more. */
static int tell(int dirfd, const char *name, enum umbra_mounts_word word)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	const char c = (char)word;
	struct sockaddr_un sa;

	address(&sa, dirfd, name);
	if (fd < 0 || connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 ||
	    send(fd, &c, 1, MSG_NOSIGNAL) < 0)
		return -errno;
	return TAKE_FD(fd);
}

static bool is_socket_name(const char *name)
{
	size_t len = strlen(name);

	return len > 5 && name[0] != '.' && strcmp(name + len - 5, ".sock") == 0;
}

/* Tells all first, then waits, so that slow mounts are slow at the same time. */
static size_t tell_all(int dirfd, DIR *dir, int *fds, size_t max, int *failed)
{
	struct dirent *d;
	size_t n = 0;
	int fd;

	while ((d = readdir(dir))) {
		if (!is_socket_name(d->d_name))
			continue;
		fd = n < max ? tell(dirfd, d->d_name, UMBRA_MOUNTS_CHANGED) : -EMFILE;
		if (fd >= 0)
			fds[n++] = fd;
		else if (fd == -ECONNREFUSED)
			unlinkat(dirfd, d->d_name, 0);
		else if (fd != -ENOENT)
			(*failed)++;
	}
	return n;
}

/* The directory of sockets, twice: to list it, and to reach what is in it. NULL: there is none. */
static DIR *list_sockets(int state_fd, int *dirfd_out)
{
	int fd = openat(state_fd, DIR_NAME, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);

	if (!dir)
		umbra_close(fd);
	else
		*dirfd_out = dirfd(dir);
	return dir;
}

static int left_ms(int64_t until_us)
{
	int64_t left = (until_us - umbra_now_us()) / 1000;

	return left > 0 ? (int)left : 0;
}

struct umbra_mounts_answers umbra_mounts_announce(int state_fd, int timeout_ms)
{
	int64_t until = umbra_now_us() + (int64_t)timeout_ms * 1000;
	struct umbra_mounts_answers answers = {0};
	_cleanup_dir_ DIR *dir = NULL;
	int fds[256], at;
	size_t n, i;
	char c;

	dir = list_sockets(state_fd, &at);
	if (!dir)
		return answers;
	n = tell_all(at, dir, fds, UMBRA_ARRAY_SIZE(fds), &answers.silent);
	for (i = 0; i < n; i++) {
		if (hear(fds[i], &c, 1, left_ms(until)) != 1 ||
		    (c != UMBRA_MOUNTS_DONE && c != UMBRA_MOUNTS_BUSY))
			answers.silent++;
		else
			answers.busy += c == UMBRA_MOUNTS_BUSY;
		close(fds[i]);
	}
	return answers;
}

static bool is_device(int fd, dev_t dev, int timeout_ms)
{
	uint64_t number;

	return hear(fd, &number, sizeof(number), timeout_ms) == sizeof(number) && number == dev;
}

int umbra_mounts_find(int state_fd, dev_t dev)
{
	int64_t until = umbra_now_us() + (int64_t)UMBRA_MOUNTS_ANSWER_MS * 1000;
	_cleanup_dir_ DIR *dir = NULL;
	struct dirent *d;
	int at;

	dir = list_sockets(state_fd, &at);
	while (dir && (d = readdir(dir))) {
		_cleanup_close_ int fd =
			is_socket_name(d->d_name) ? tell(at, d->d_name, UMBRA_MOUNTS_WAIT) : -1;

		if (fd >= 0 && is_device(fd, dev, left_ms(until)))
			return TAKE_FD(fd);
	}
	return -ENOENT;
}

int umbra_mounts_wait_end(int connection, int timeout_ms)
{
	char c;

	return hear(connection, &c, 1, timeout_ms) == -ETIMEDOUT ? -ETIMEDOUT : 0;
}
