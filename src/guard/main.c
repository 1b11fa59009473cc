/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* umbra-guard(8): releases what is held when its holder cannot. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "common/fault.h"
#include "common/log.h"
#include "common/urgent.h"
#include "common/util.h"
#include "guard/watch.h"
#include "snapshot/sys/thaw.h"
#include "version.h"

#define SECOND_DELAY_US 300000
#define STACK           (64U << 10)

static struct umbra_watch_state state = {.file_fd = -1};

/* Nothing but the holder's end ends us: who shuts the machine down must not leave it held. */
static void ignore_signals(void)
{
	sigset_t all;

	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL);
}

static __attribute__((noinline)) void touch_stack(void)
{
	volatile char room[STACK];
	size_t i;

	for (i = 0; i < sizeof(room); i += 512)
		room[i] = 0;
}

static int lock_memory(struct umbra_error *err)
{
	const struct rlimit none = {0};

	prctl(PR_SET_DUMPABLE, 0);
	setrlimit(RLIMIT_CORE, &none);
	touch_stack();
	memset(&state.order, 0, sizeof(state.order));
	if (mlockall(MCL_CURRENT | MCL_FUTURE) < 0)
		return umbra_fail_errno(err, errno, "cannot lock its memory");
	return 0;
}

static int prepare(struct umbra_error *err)
{
	int r = umbra_dm_control_open(&state.control, err);

	if (r < 0)
		return r;
	state.page = mmap(NULL, sizeof(*state.page), PROT_READ | PROT_WRITE, MAP_SHARED,
			  UMBRA_GUARD_PAGE, 0);
	if (state.page == MAP_FAILED)
		return umbra_fail_errno(err, errno, "cannot share memory with who starts it");
	state.timer = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
	if (state.timer < 0)
		return umbra_fail_errno(err, errno, "cannot have a timer");
	umbra_be_spared();
	umbra_urgent_raise(NULL);
	return lock_memory(err);
}

/* Somebody may read what the requester writes, and wait for the end of it; what we have to say goes
 * to syslog, too. A terminal and a file make nobody wait. */
static void let_go_of_pipes(void)
{
	int fd, null = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct stat st;

	for (fd = STDIN_FILENO; null >= 0 && fd <= STDERR_FILENO; fd++)
		if (fstat(fd, &st) < 0 || S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode))
			dup2(null, fd);
	umbra_close(null);
}

static int watch(const char *which)
{
	struct umbra_guard_answer failed = {.word = UMBRA_GUARD_FAILED};
	struct umbra_error err = {0};

	ignore_signals();
	let_go_of_pipes();
	if (strcmp(which, "second") == 0) {
		state.delay_us = SECOND_DELAY_US;
		prctl(PR_SET_NAME, "umbra-second"); /* is not killed by the other's name */
	}
	if (prepare(&err) == 0)
		return umbra_watch_serve(&state);
	snprintf(failed.why, sizeof(failed.why), "%.200s", err.text);
	send(UMBRA_GUARD_SOCKET, &failed, sizeof(failed), MSG_NOSIGNAL | MSG_DONTWAIT);
	return 1;
}

static void tell(void *arg, bool problem, const char *sentence)
{
	bool *problems = arg;

	*problems = *problems || problem;
	umbra_log(problem ? UMBRA_LOG_ERROR : UMBRA_LOG_INFO, "%s", sentence);
}

static int thaw(void)
{
	struct umbra_error err = {0};
	bool problems = false;

	if (umbra_thaw(tell, &problems, &err) < 0) {
		umbra_log_error("%s", err.text);
		return 1;
	}
	return problems;
}

int main(int argc, char **argv)
{
	umbra_hold_standard_fds();
	umbra_log_init("umbra-guard", UMBRA_LOG_INFO);
	umbra_fault_init();
	if (argc == 3 && strcmp(argv[1], "--watch") == 0 &&
	    (strcmp(argv[2], "first") == 0 || strcmp(argv[2], "second") == 0))
		return watch(argv[2]);
	if (argc == 2 && strcmp(argv[1], "--thaw") == 0)
		return thaw();
	if (argc == 2 && strcmp(argv[1], "--version") == 0) {
		puts("umbra-guard " UMBRA_VERSION);
		return 0;
	}
	fprintf(stderr, "usage: umbra-guard --thaw\n"
			"'umbra-guard --watch' is started by who holds volumes: umbra-guard(8)\n");
	return 2;
}
