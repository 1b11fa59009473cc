/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/sys/guard.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/urgent.h"
#include "snapshot/sys/guard_wire.h"
#include "snapshot/sys/limit.h"

#define LIMIT_MS  9000 /* of a hold; a second is left for its guards to do their work in */
#define START_MS  5000
#define ANSWER_MS 1000
#define END_MS    1000
#define LOOK_US   200
#define STACK     (128U << 10)

struct watcher {
	pid_t pid; /* 0: none */
	int fd;    /* our end of its socket */
};

struct umbra_guard {
	struct watcher two[2];
	struct umbra_guard_page *page;
	int page_fd;
	int dirfd; /* of held.h */
	int file_fd;
	bool ready, armed;
	struct umbra_guard_order order;
	int64_t late_us; /* CLOCK_BOOTTIME: we give up, and then the alarm comes; the guards later
			  */
	/* What arming changed. */
	struct umbra_limit alarm;
	bool timed;
	struct rlimit core;
	int dumpable;
	struct umbra_urgency before;
};

static int64_t limit_us(void)
{
	const char *ms = secure_getenv("UMBRA_TEST_HOLD_MS");
	int64_t us = ms ? atoll(ms) * 1000 : LIMIT_MS * 1000;

	return us > 0 && us < UMBRA_HELD_LIMIT_US ? us : UMBRA_HELD_LIMIT_US;
}

/* --- starting and ending -------------------------------------------------------------------- */

static int make_page(struct umbra_guard *g)
{
	g->page_fd = memfd_create("umbra-guard", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (g->page_fd < 0 || ftruncate(g->page_fd, sizeof(*g->page)) < 0 ||
	    fcntl(g->page_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		return -errno;
	g->page = mmap(NULL, sizeof(*g->page), PROT_READ | PROT_WRITE, MAP_SHARED, g->page_fd, 0);
	return g->page == MAP_FAILED ? -errno : 0;
}

/* Above the numbers that the child is to have, so that none is overwritten before its turn. */
static int move_up(int fd)
{
	int up = fcntl(fd, F_DUPFD_CLOEXEC, 16);

	umbra_close(fd);
	return up < 0 ? -errno : up;
}

static int spawn_with(const char *path, const char *which, const int fds[4], pid_t *pid)
{
	char *const argv[] = {(char *)"umbra-guard", (char *)"--watch", (char *)which, NULL};
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t none, all;
	int r, i;

	sigemptyset(&none);
	sigfillset(&all);
	posix_spawn_file_actions_init(&actions);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK |
						POSIX_SPAWN_SETSIGDEF);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &all);
	for (i = 0, r = 0; r == 0 && i < 4; i++)
		r = posix_spawn_file_actions_adddup2(&actions, fds[i], UMBRA_GUARD_SOCKET + i);
	if (r == 0)
		r = posix_spawn(pid, path, &actions, &attr, argv, environ);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&actions);
	return -r;
}

static int start_one(struct umbra_guard *g, const char *path, const char *which, struct watcher *w)
{
	_cleanup_close_ int theirs = -1, holder = -1;
	int ends[2], r = 0;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return -errno;
	w->fd = ends[0];
	theirs = move_up(ends[1]);
	holder = move_up((int)syscall(SYS_pidfd_open, getpid(), 0));
	if (theirs < 0 || holder < 0)
		return theirs < 0 ? theirs : holder;
	r = spawn_with(path, which, (const int[]){theirs, g->page_fd, holder, g->dirfd}, &w->pid);
	if (r < 0)
		w->pid = 0;
	return r;
}

static int start(struct umbra_guard *g, struct umbra_error *err)
{
	static const char *const places[] = {".", "../guard", "../../src/guard", "../sbin", NULL};
	_cleanup_free_ char *path = NULL;
	int r = umbra_held_dir(true, &g->dirfd, err);

	if (r == 0)
		r = umbra_find_program("umbra-guard", places, &path, err);
	if (r < 0)
		return r;
	g->dirfd = move_up(g->dirfd);
	r = g->dirfd < 0 ? g->dirfd : make_page(g);
	if (r == 0) {
		g->page_fd = move_up(g->page_fd);
		r = g->page_fd < 0 ? g->page_fd : 0;
	}
	if (r == 0)
		r = start_one(g, path, "first", &g->two[0]);
	if (r == 0)
		r = start_one(g, path, "second", &g->two[1]);
	return r < 0 ? umbra_fail_errno(err, r, "cannot start '%s'", path) : 0;
}

int umbra_guard_start(struct umbra_guard **out, struct umbra_error *err)
{
	_cleanup_guard_ struct umbra_guard *g = calloc(1, sizeof(*g));
	int r;

	if (!g)
		return umbra_oom(err);
	g->two[0].fd = g->two[1].fd = g->page_fd = g->dirfd = g->file_fd = -1;
	r = start(g, err);
	if (r < 0)
		return r;
	*out = TAKE_PTR(g);
	return 0;
}

/* Never waits for long: one that sleeps in the kernel is left to itself. */
static void reap(struct watcher *w)
{
	int us;

	for (us = 0; w->pid > 0 && us < END_MS * 1000; us += LOOK_US) {
		if (us == END_MS * 500)
			kill(w->pid, SIGKILL);
		if (waitpid(w->pid, NULL, WNOHANG) != 0)
			break;
		usleep(LOOK_US);
	}
	w->pid = 0;
}

static void end_at_once(struct watcher *w)
{
	w->fd = umbra_close(w->fd);
	if (w->pid > 0)
		kill(w->pid, SIGKILL);
	reap(w);
}

/* --- talking -------------------------------------------------------------------------------- */

static int say(const struct watcher *w, const struct umbra_guard_order *order)
{
	size_t len = offsetof(struct umbra_guard_order, held);

	if (order->word == UMBRA_GUARD_ARM)
		len += offsetof(struct umbra_held, devices) +
		       order->held.n * sizeof(order->held.devices[0]);
	return send(w->fd, order, len, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}

/* Waits for that word. -EPIPE: it ended; -ETIMEDOUT: it is stopped. */
static int hear(const struct watcher *w, enum umbra_guard_word word, int ms,
		struct umbra_guard_answer *answer)
{
	int64_t until = umbra_boottime_us() + (int64_t)ms * 1000, left;
	struct pollfd p = {.fd = w->fd, .events = POLLIN};
	ssize_t n;

	for (;;) {
		left = until - umbra_boottime_us();
		if (left <= 0)
			return -ETIMEDOUT;
		if (poll(&p, 1, (int)(left / 1000) + 1) <= 0)
			continue;
		n = recv(w->fd, answer, sizeof(*answer), MSG_DONTWAIT);
		if (n != sizeof(*answer))
			return -EPIPE;
		if (answer->word == word)
			return 0;
		if (answer->word == UMBRA_GUARD_FAILED)
			return -EPROTO;
	}
}

static int hear_both(struct umbra_guard *g, enum umbra_guard_word word, int ms,
		     struct umbra_error *err)
{
	struct umbra_guard_answer answer;
	size_t i;
	int r;

	for (i = 0; i < UMBRA_ARRAY_SIZE(g->two); i++) {
		r = hear(&g->two[i], word, ms, &answer);
		if (r == 0)
			continue;
		answer.why[sizeof(answer.why) - 1] = '\0';
		return umbra_fail(err, UMBRA_E_INTERNAL, r,
				  "umbra-guard, without which no volume is held, %s",
				  r == -EPROTO      ? answer.why
				  : r == -ETIMEDOUT ? "does not answer"
						    : "was killed, or could not be run");
	}
	return 0;
}

/* --- what arming changes in this process ------------------------------------------------------ */

/* The stack that the hold will need is there, and is locked with the rest. */
static __attribute__((noinline)) void touch_stack(void)
{
	volatile char room[STACK];
	size_t i;

	for (i = 0; i < sizeof(room); i += 512)
		room[i] = 0;
}

/* A core dump of who holds a filesystem could be written to that filesystem, for ever. */
static int harden(struct umbra_guard *g, struct umbra_error *err)
{
	struct rlimit none = {0};

	g->dumpable = prctl(PR_GET_DUMPABLE);
	getrlimit(RLIMIT_CORE, &g->core);
	none.rlim_max = g->core.rlim_max;
	prctl(PR_SET_DUMPABLE, 0);
	setrlimit(RLIMIT_CORE, &none);
	(void)strerror(
		EIO); /* the words of errors are read from a file when they are first needed */
	touch_stack();
	umbra_urgent_raise(&g->before);
	if (mlockall(MCL_CURRENT | MCL_FUTURE) < 0)
		return umbra_fail_errno(err, errno,
					"cannot lock memory, which holding volumes needs");
	return 0;
}

static void soften(struct umbra_guard *g)
{
	if (g->timed)
		umbra_limit_stop(&g->alarm);
	g->timed = false;
	munlockall();
	umbra_urgent_put_back(&g->before);
	setrlimit(RLIMIT_CORE, &g->core);
	prctl(PR_SET_DUMPABLE, g->dumpable);
}

/* --- armed ---------------------------------------------------------------------------------- */

static void forget_file(struct umbra_guard *g)
{
	if (g->file_fd >= 0)
		unlinkat(g->dirfd, g->order.file, 0);
	g->file_fd = umbra_close(g->file_fd);
}

static int order_both(struct umbra_guard *g, enum umbra_guard_word word, struct umbra_error *err)
{
	int r = 0, one;
	size_t i;

	g->order.word = word;
	for (i = 0; i < UMBRA_ARRAY_SIZE(g->two); i++) {
		one = say(&g->two[i], &g->order);
		r = one < 0 ? one : r;
	}
	return r < 0 ? umbra_fail_errno(err, r, "cannot reach umbra-guard") : 0;
}

/* The guards' timers run from here on. */
static int arm(struct umbra_guard *g, const struct umbra_dm_device *devices, size_t n,
	       struct umbra_error *err)
{
	int64_t now = umbra_boottime_us(), limit = limit_us();
	int r;

	g->late_us = now + limit / 8 * 7;
	g->order.held.until_us = now + limit;
	g->order.held.owner = getpid();
	g->order.held.n = (uint32_t)n;
	memcpy(g->order.held.devices, devices, n * sizeof(*devices));
	atomic_store(&g->page->fired, false);
	r = umbra_held_write(g->dirfd, &g->order.held, g->order.file, &g->file_fd, err);
	if (r == 0)
		r = order_both(g, UMBRA_GUARD_ARM, err);
	if (r == 0)
		r = hear_both(g, UMBRA_GUARD_ARMED, ANSWER_MS, err);
	if (r < 0)
		return r;
	r = umbra_limit_start(&g->alarm, (int)((g->late_us - umbra_boottime_us()) / 1000) + 1);
	g->timed = r == 0;
	return r < 0 ? umbra_fail_errno(err, r, "cannot set a timer for the hold") : 0;
}

int umbra_guard_arm(struct umbra_guard *g, const struct umbra_dm_device *devices, size_t n,
		    struct umbra_error *err)
{
	int r;

	if (n < 1 || n > UMBRA_HELD_MAX)
		return umbra_fail(err, UMBRA_E_INTERNAL, EINVAL,
				  "%zu devices cannot be held at once, only 1 to %d", n,
				  UMBRA_HELD_MAX);
	r = harden(g, err); /* which takes as long as they need to start */
	if (r == 0 && !g->ready)
		r = hear_both(g, UMBRA_GUARD_READY, START_MS, err);
	g->ready = g->ready || r == 0;
	if (r == 0)
		r = arm(g, devices, n, err);
	g->armed = true;
	if (r < 0)
		umbra_guard_disarm(g);
	return r;
}

int umbra_guard_check(struct umbra_guard *g, struct umbra_error *err)
{
	struct pollfd p[] = {{.fd = g->two[0].fd}, {.fd = g->two[1].fd}};
	int r;

	if (atomic_load(&g->page->fired) || umbra_boottime_us() >= g->late_us)
		return umbra_fail(err, UMBRA_E_BUSY, ETIME,
				  "the volumes could not be held and released in time: something "
				  "writes too much, or a device is too slow; try again");
	do {
		r = poll(p, UMBRA_ARRAY_SIZE(p), 0);
	} while (r < 0 && errno == EINTR);
	if (r != 0)
		return umbra_fail(err, UMBRA_E_INTERRUPTED, EPIPE,
				  "umbra-guard was killed while volumes were held; try again");
	return 0;
}

int umbra_guard_disarm(struct umbra_guard *g)
{
	struct umbra_guard_answer answer;
	size_t i;
	int lost = 0;

	if (!g->armed)
		return 0;
	g->armed = false;
	order_both(g, UMBRA_GUARD_DISARM, NULL);
	for (i = 0; i < UMBRA_ARRAY_SIZE(g->two); i++) {
		if (hear(&g->two[i], UMBRA_GUARD_DISARMED, END_MS, &answer) == 0)
			continue;
		end_at_once(&g->two[i]);
		lost = 1;
	}
	forget_file(g);
	soften(g);
	return lost;
}

struct umbra_guard *umbra_guard_stop(struct umbra_guard *g)
{
	size_t i;

	if (!g)
		return NULL;
	umbra_guard_disarm(g);
	for (i = 0; i < UMBRA_ARRAY_SIZE(g->two); i++)
		g->two[i].fd = umbra_close(g->two[i].fd);
	for (i = 0; i < UMBRA_ARRAY_SIZE(g->two); i++)
		reap(&g->two[i]);
	if (g->page && g->page != MAP_FAILED)
		munmap(g->page, sizeof(*g->page));
	umbra_close(g->page_fd);
	umbra_close(g->dirfd);
	free(g);
	return NULL;
}
