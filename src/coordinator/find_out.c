/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What became of sets' copies, for who lists them. */
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/log.h"
#include "common/util.h"
#include "coordinator/client.h"
#include "snapshot/conditions.h"
#include "snapshot/mounts.h"

#define LIMIT_MS  2000
#define UNKNOWN   "whether all shadow copies can be read is not known at this time: %s"
#define ANSWER_FD 3

/* Nothing else of its requester's is left in it: that goes on without it when it takes too long. */
static int leave(int answer)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), fd;

	setsid();
	umbra_log_close();
	for (fd = 0; null >= 0 && fd < ANSWER_FD; fd++)
		if (dup2(null, fd) < 0)
			return -errno;
	if (null < 0 || dup2(answer, ANSWER_FD) < 0)
		return -errno;
	return (int)syscall(SYS_close_range, ANSWER_FD + 1, ~0U, 0);
}

/* Answers with why it failed, or nothing. */
static _Noreturn void run_child(const char *state_dir, int answer)
{
	_cleanup_engine_ struct umbra_engine *e = NULL;
	json_t *gone = json_array();
	struct umbra_error err = {0};
	bool changed = false;
	int r;

	if (!gone || leave(answer) < 0)
		_exit(1);
	r = umbra_engine_open(state_dir, UMBRA_CATALOG_READ, &e, &err);
	if (r == 0)
		r = umbra_conditions_ask(e, &changed, gone, &err);
	if (changed)
		umbra_mounts_announce(umbra_engine_state_fd(e), UMBRA_MOUNTS_ANSWER_MS);
	if (r < 0)
		umbra_write_all(ANSWER_FD, err.text, strlen(err.text));
	_exit(r < 0);
}

/* Did it end in time? why: what it answered. */
static bool await_answer(int fd, char why[UMBRA_ERROR_MAX])
{
	int64_t end = umbra_now_us() + LIMIT_MS * 1000;
	struct pollfd p = {.fd = fd, .events = POLLIN};
	size_t len = 0;
	ssize_t n = 1;
	int left;

	*why = '\0';
	while (n != 0 && (left = (int)((end - umbra_now_us()) / 1000)) > 0) {
		if (poll(&p, 1, left) <= 0)
			continue;
		n = read(fd, why + len, UMBRA_ERROR_MAX - 1 - len);
		if (n < 0)
			return false;
		len += (size_t)n;
		why[len] = '\0';
	}
	return n == 0;
}

static void ask(const char *state_dir)
{
	_cleanup_close_ int answer = -1;
	char why[UMBRA_ERROR_MAX] = "no process can be started";
	int fds[2];
	pid_t pid;

	fflush(NULL);
	if (pipe2(fds, O_CLOEXEC) < 0) {
		umbra_log_warning(UNKNOWN, strerror(errno));
		return;
	}
	answer = fds[0];
	pid = fork();
	if (pid == 0)
		run_child(state_dir, fds[1]);
	close(fds[1]);
	if (pid > 0 && !await_answer(answer, why))
		snprintf(why, sizeof(why), "their diff areas did not answer within %d s",
			 LIMIT_MS / 1000);
	else if (pid > 0)
		waitpid(pid, NULL, 0);
	if (*why)
		umbra_log_warning(UNKNOWN, why);
}

int umbra_coordinator_find_out(struct umbra_engine *e, struct umbra_set *const *sets, size_t n,
			       struct umbra_error *err)
{
	if (!umbra_conditions_can_ask(sets, n))
		return 0;
	umbra_coordinator_release_leftovers(); /* the volumes may be held, or the state */
	ask(umbra_engine_state_dir(e));
	return umbra_conditions_show(umbra_engine_state_fd(e), sets, n, err);
}
