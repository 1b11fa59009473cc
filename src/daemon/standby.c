/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/standby.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/fault.h"
#include "common/log.h"
#include "common/token.h"
#include "daemon/awake.h"
#include "daemon/leftovers.h"
#include "daemon/memory.h"
#include "snapshot/provider.h"

#define SECOND_NAME "umbra-standby"
#define STATUS_MAX  65536
#define LOOK_MS     200
#define CLOSELY_MS  50       /* while writers wait */
#define LATE_MS     1700     /* a little after the first would have done it */
#define STUCK_US    700000   /* without a step while writers wait */
#define ALONE_US    2000000  /* without one: what it does besides is done here */
#define HUNG_US     10000000 /* without one at any time */
#define STOPPED_US  3000000  /* the second */
#define END_MS      500      /* for it to be dead */
#define END_LOOK_MS 5

/* What both see. */
struct page {
	_Atomic uint32_t first, second; /* steps */
};

struct umbra_standby {
	struct page *page;
	struct umbra_awake awake;
	pid_t pid;     /* of the second, in the first; 0: there is none */
	uint32_t seen; /* of the other's steps */
	int64_t seen_us;
};

struct umbra_standby *umbra_standby_new(void)
{
	struct umbra_standby *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->page = mmap(NULL, sizeof(*s->page), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		       -1, 0);
	if (s->page == MAP_FAILED) {
		free(s);
		return NULL;
	}
	umbra_awake_begin(&s->awake);
	return s;
}

/* Never waits for long: one that sleeps in the kernel, or that a debugger has, is left to itself.
 */
static void end_second(struct umbra_standby *s)
{
	int ms;

	if (s->pid <= 0)
		return;
	kill(s->pid, SIGKILL);
	for (ms = 0; ms < END_MS && waitpid(s->pid, NULL, WNOHANG) == 0; ms += END_LOOK_MS)
		usleep(END_LOOK_MS * 1000);
	s->pid = 0;
}

struct umbra_standby *umbra_standby_free(struct umbra_standby *s)
{
	if (s) {
		end_second(s);
		umbra_awake_end(&s->awake);
		munmap(s->page, sizeof(*s->page));
		free(s);
	}
	return NULL;
}

void umbra_standby_step(struct umbra_standby *s)
{
	atomic_fetch_add(&s->page->first, 1);
	umbra_awake_step(&s->awake);
}

/* For how long the other has not made a step. */
static int64_t silence(struct umbra_standby *s, _Atomic uint32_t *steps)
{
	uint32_t now = atomic_load(steps);

	if (now != s->seen || s->seen_us == 0) {
		s->seen = now;
		s->seen_us = umbra_now_us();
	}
	return umbra_now_us() - s->seen_us;
}

/* --- the second --- */

static bool let_go(void)
{
	const struct umbra_provider *const *p;
	bool waiting = false;
	size_t n, i;

	p = umbra_providers(&n);
	for (i = 0; i < n; i++) {
		struct umbra_error err = {0};

		if (p[i]->storage && p[i]->storage->let_go(LATE_MS, &err) > 0)
			waiting = true;
	}
	return waiting;
}

/* Kept for later it would end who has taken the first one's place by then. */
static bool is_told_to_end(void)
{
	static const struct timespec now;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	return sigtimedwait(&set, NULL, &now) > 0;
}

/* Was the first told, too, and has not come to hear it? */
static bool is_deaf(pid_t first)
{
	static const char key[] = "\nShdPnd:";
	_cleanup_free_ char *path = umbra_asprintf("/proc/%d/status", (int)first), *text = NULL;
	const char *pending = NULL;

	if (path && umbra_read_file(AT_FDCWD, path, STATUS_MAX, &text, NULL) == 0)
		pending = strstr(text, key);
	return pending && (strtoull(pending + strlen(key), NULL, 16) & 1ULL << (SIGTERM - 1));
}

/* Until the first is dead. Was it told to end, and writers have to be told by this process? */
static bool watch(struct umbra_standby *s, int first)
{
	struct pollfd p = {.fd = first, .events = POLLIN};
	bool waiting = false, told = false;
	const pid_t pid = getppid();
	int64_t silent;

	s->seen_us = 0;
	while (poll(&p, 1, waiting ? CLOSELY_MS : LOOK_MS) <= 0) {
		atomic_fetch_add(&s->page->second, 1);
		umbra_awake_step(&s->awake);
		waiting = let_go();
		silent = silence(s, &s->page->first);
		if (silent > ALONE_US)
			umbra_release_leftovers(); /* it may wait for what is held */
		if (told && !is_deaf(pid)) /* a moment later: who ends both tells one first */
			_exit(0);
		told = told || is_told_to_end();
		if (silent > (waiting ? STUCK_US : HUNG_US))
			syscall(SYS_pidfd_send_signal, first, SIGKILL, NULL, 0);
	}
	return told;
}

static void stand_by(struct umbra_standby *s, int first)
{
	char name[16] = "";

	prctl(PR_GET_NAME, name);
	prctl(PR_SET_NAME, SECOND_NAME);
	umbra_fault_init(); /* its own count */
	umbra_lock_memory();
	umbra_awake_begin(&s->awake);
	umbra_fault("standby.ready");
	if (watch(s, first))
		kill(getpid(), SIGTERM); /* heard as the first would have */
	prctl(PR_SET_NAME, name);
	s->pid = 0;
	s->seen_us = 0;
	umbra_log_warning("the umbrad that was at work is dead, or made no step and was killed: "
			  "another takes its place");
	umbra_fault("standby.taken-over");
}

/* --- the first --- */

static void look_after_second(struct umbra_standby *s)
{
	pid_t pid = s->pid;

	if (pid > 0 && waitpid(pid, NULL, WNOHANG) != 0)
		s->pid = 0;
	else if (pid > 0 && silence(s, &s->page->second) > STOPPED_US)
		end_second(s);
	if (pid > 0 && s->pid == 0)
		umbra_log_warning("umbrad's second was killed or stopped: there is a new one");
}

/* true in the new one, when it has taken our place. */
static bool begin_second(struct umbra_standby *s)
{
	_cleanup_close_ int self = (int)syscall(SYS_pidfd_open, getpid(), 0);

	if (self < 0) {
		umbra_log_debug("cannot be watched over: %s", strerror(errno));
		return false;
	}
	s->seen_us = 0;
	s->pid = fork();
	if (s->pid < 0)
		umbra_log_warning("cannot start a second umbrad: %s", strerror(errno));
	if (s->pid != 0)
		return false;
	stand_by(s, self);
	return true;
}

/* Who has taken the first one's place has a second before anything else. */
void umbra_standby_keep(struct umbra_standby *s)
{
	do {
		umbra_standby_step(s);
		look_after_second(s);
	} while (s->pid <= 0 && begin_second(s));
}
