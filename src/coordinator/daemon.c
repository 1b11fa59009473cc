/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "coordinator/daemon.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/doc.h"
#include "common/log.h"
#include "common/text.h"
#include "common/util.h"

#define LOCK_NAME "umbrad.lock"
#define LOOK_MS   10
#define SOON_MS   500   /* for one that was started before */
#define START_MS  10000 /* for a new one */

bool umbra_daemon_at_work(const struct umbra_engine *e)
{
	_cleanup_close_ int fd =
		openat(umbra_engine_state_fd(e), LOCK_NAME, O_RDWR | O_CLOEXEC | O_NOFOLLOW);

	return fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;
}

bool umbra_daemon_is_needed(const json_t *areas)
{
	const json_t *area;
	const char *state;
	size_t i;

	json_array_foreach (areas, i, area) {
		state = umbra_doc_string(area, "state");
		if (state && strcmp(state, "active") == 0)
			return true;
	}
	return false;
}

/* A service manager ends what a job leaves running, so there it has to be a service itself. */
static bool ask_systemd(const struct umbra_engine *e)
{
	static const char *const argv[] = {"systemctl", "start", "--quiet", "umbrad.service", NULL};
	int status;
	pid_t pid;

	if (strcmp(umbra_engine_state_dir(e), UMBRA_STATE_SYSTEM) != 0 ||
	    access("/run/systemd/system", F_OK) < 0 ||
	    posix_spawnp(&pid, argv[0], NULL, NULL, (char *const *)argv, environ) != 0)
		return false;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return false;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static _Noreturn void become(const char *path, const char *state_dir)
{
	const char *argv[] = {path, "--state", state_dir, "--syslog", NULL};
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	sigset_t none;

	setsid();
	if (fork() != 0)
		_exit(0);
	if (null < 0 || chdir("/") < 0)
		_exit(1);
	/* What it has to say goes to the log; whoever reads our output must not wait for it. */
	dup2(null, STDIN_FILENO);
	dup2(null, STDOUT_FILENO);
	dup2(null, STDERR_FILENO);
	/* Nor must what it had open, and we with it, stay in use for as long as umbrad lives. */
	close_range(STDERR_FILENO + 1, ~0U, 0);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execv(path, (char *const *)argv);
	_exit(127);
}

int umbra_daemon_start(const struct umbra_engine *e, struct umbra_error *err)
{
	static const char *const places[] = {
		"", "../daemon", "../src/daemon", "../../src/daemon", "../sbin", NULL};
	_cleanup_free_ char *path = NULL;
	pid_t pid;
	int r;

	if (umbra_daemon_at_work(e) || ask_systemd(e))
		return 0;
	r = umbra_find_program("umbrad", places, &path, err);
	if (r < 0)
		return r;
	pid = fork();
	if (pid == 0)
		become(path, umbra_engine_state_dir(e));
	if (pid < 0)
		return umbra_fail_errno(err, errno, "cannot start umbrad");
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return 0;
}

static bool is_soon_at_work(const struct umbra_engine *e, int limit_ms)
{
	int ms;

	for (ms = 0; !umbra_daemon_at_work(e) && ms < limit_ms; ms += LOOK_MS)
		usleep(LOOK_MS * 1000);
	return ms < limit_ms;
}

int umbra_daemon_need(const struct umbra_engine *e, struct umbra_error *err)
{
	int r;

	if (is_soon_at_work(e, SOON_MS))
		return 0;
	r = umbra_daemon_start(e, err);
	if (r < 0 || is_soon_at_work(e, START_MS))
		return r;
	return umbra_fail(
		err, UMBRA_E_INTERNAL, ESRCH,
		"umbrad, without which nothing looks after the diff area, does not get to "
		"work: the system's log, or 'umbrad --state %s', says why",
		UMBRA_WORD(umbra_engine_state_dir(e)));
}
