/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What became of sets' copies, for who lists them. */
#include <fcntl.h>
#include <poll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/log.h"
#include "common/util.h"
#include "coordinator/client.h"
#include "snapshot/conditions.h"
#include "snapshot/mounts.h"

#define LIMIT_MS 2000

/* Nothing of its requester's is left in it: that goes on without it when it takes too long. */
static _Noreturn void run_child(const char *state_dir)
{
	_cleanup_engine_ struct umbra_engine *e = NULL;
	json_t *gone = json_array();
	bool changed = false;
	int null, r;

	setsid();
	umbra_log_close();
	syscall(SYS_close_range, 0, ~0U, 0);
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null != STDIN_FILENO || !gone || dup2(null, STDOUT_FILENO) < 0 ||
	    dup2(null, STDERR_FILENO) < 0)
		_exit(1);
	r = umbra_engine_open(state_dir, UMBRA_CATALOG_READ, &e, NULL);
	if (r == 0)
		r = umbra_conditions_ask(e, &changed, gone, NULL);
	if (changed)
		umbra_mounts_announce(umbra_engine_state_fd(e), UMBRA_MOUNTS_ANSWER_MS);
	_exit(r < 0);
}

/* Did it end well, and in time? */
static bool await_child(pid_t pid)
{
	_cleanup_close_ int fd = (int)syscall(SYS_pidfd_open, pid, 0);
	struct pollfd p = {.fd = fd, .events = POLLIN};
	int64_t end = umbra_now_us() + LIMIT_MS * 1000;
	int status, left;

	while ((left = (int)((end - umbra_now_us()) / 1000)) > 0 && poll(&p, 1, left) < 0)
		if (errno != EINTR)
			return false;
	return waitpid(pid, &status, WNOHANG) == pid && WIFEXITED(status) &&
	       WEXITSTATUS(status) == 0;
}

int umbra_coordinator_find_out(struct umbra_engine *e, struct umbra_set *const *sets, size_t n,
			       struct umbra_error *err)
{
	pid_t pid;

	if (!umbra_conditions_can_ask(sets, n))
		return 0;
	umbra_coordinator_release_leftovers(); /* the volumes may be held, or the state */
	fflush(NULL);
	pid = fork();
	if (pid == 0)
		run_child(umbra_engine_state_dir(e));
	if (pid < 0 || !await_child(pid))
		umbra_log_warning("not all diff areas could be asked at this time what became of "
				  "their shadow copies: 'umbra storage' says why");
	return umbra_conditions_show(umbra_engine_state_fd(e), sets, n, err);
}
