/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "guard/watch.h"

#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "common/fault.h"
#include "common/log.h"
#include "common/text.h"
#include "common/util.h"

#define ROUND_MS    20      /* between looks at what must not be suspended any more */
#define GRACE_US    500000  /* for a holder to see that it is late, before it is killed */
#define GIVE_UP_US  5000000 /* of trying to resume what does not let itself be resumed */
#define TURN_US     20000   /* for one device, before the next */
#define PATIENCE_US 200000  /* of a round with all that take their time */

#define point(w, step) ((w)->delay_us ? umbra_fault("second." step) : umbra_fault("guard." step))

/* --- orders --------------------------------------------------------------------------------- */

static void answer(enum umbra_guard_word word, const char *why)
{
	struct umbra_guard_answer a = {.word = word};

	if (why)
		strncpy(a.why, why, sizeof(a.why) - 1);
	send(UMBRA_GUARD_SOCKET, &a, sizeof(a), MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void set_timer(struct umbra_watch_state *w, int64_t at_us)
{
	struct itimerspec when = {
		.it_value = {.tv_sec = at_us / 1000000, .tv_nsec = at_us % 1000000 * 1000}};

	timerfd_settime(w->timer, TFD_TIMER_ABSTIME, &when, NULL);
}

static bool sane(const struct umbra_guard_order *o, size_t len)
{
	const size_t head = offsetof(struct umbra_guard_order, held.devices);
	uint32_t i;

	if (len < head || o->held.n < 1 || o->held.n > UMBRA_HELD_MAX ||
	    len != head + o->held.n * sizeof(o->held.devices[0]) ||
	    !memchr(o->file, '\0', sizeof(o->file)))
		return false;
	for (i = 0; i < o->held.n; i++)
		if (!umbra_dm_device_valid(&o->held.devices[i]))
			return false;
	return true;
}

/* The timer first: what comes after it is only how we learn of things sooner. */
static void arm(struct umbra_watch_state *w, size_t len)
{
	int64_t latest = umbra_boottime_us() + UMBRA_HELD_LIMIT_US;

	if (!sane(&w->order, len)) {
		answer(UMBRA_GUARD_FAILED, "was told to watch what cannot be held");
		return;
	}
	if (w->order.held.until_us > latest)
		w->order.held.until_us = latest;
	set_timer(w, w->order.held.until_us + w->delay_us);
	if (umbra_resumers_need(&w->resumers, w->order.held.n, w->control) < 0) {
		set_timer(w, 0);
		answer(UMBRA_GUARD_FAILED, "cannot have a thread for each device to be held");
		return;
	}
	if (umbra_held_join(UMBRA_GUARD_DIR, w->order.file, &w->file_fd) < 0) {
		set_timer(w, 0);
		answer(UMBRA_GUARD_FAILED, "cannot read what is going to be held");
		return;
	}
	point(w, "armed");
	answer(UMBRA_GUARD_ARMED, NULL);
	point(w, "watching");
}

static void disarm(struct umbra_watch_state *w)
{
	set_timer(w, 0);
	w->file_fd = umbra_close(w->file_fd);
	point(w, "disarmed");
	answer(UMBRA_GUARD_DISARMED, NULL);
}

/* One order. false: the holder has closed its end, or talks nonsense. */
static bool obey(struct umbra_watch_state *w)
{
	struct umbra_guard_order *o = &w->order;
	ssize_t n = recv(UMBRA_GUARD_SOCKET, o, sizeof(*o), MSG_DONTWAIT);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	if ((size_t)n < offsetof(struct umbra_guard_order, held))
		return false;
	if (o->word == UMBRA_GUARD_ARM && w->file_fd < 0)
		arm(w, (size_t)n);
	else if (o->word == UMBRA_GUARD_DISARM)
		disarm(w);
	else
		return false;
	return true;
}

/* --- releasing ------------------------------------------------------------------------------- */

/* In their order, as long as none takes its time: then the next are not kept by it. 0: nothing of
 * the list is suspended, or it is not there any more. */
static unsigned int resume_all(struct umbra_watch_state *w)
{
	int64_t patience_us = PATIENCE_US;
	unsigned int failed = 0;
	uint32_t i;
	int r;

	for (i = 0; i < w->order.held.n; i++) {
		r = umbra_resumers_resume(&w->resumers, i, &w->order.held.devices[i],
					  patience_us < TURN_US ? patience_us : TURN_US);
		if (r == -EINPROGRESS)
			patience_us -= patience_us < TURN_US ? patience_us : TURN_US;
		if (r == 0) {
			w->resumed++;
			point(w, "resumed");
		}
		failed += r < 0 && r != -ENODEV;
	}
	return failed;
}

static bool is_dead(void)
{
	struct pollfd p = {.fd = UMBRA_GUARD_HOLDER, .events = POLLIN};

	return poll(&p, 1, 0) > 0;
}

static void kill_holder(struct umbra_watch_state *w)
{
	syscall(SYS_pidfd_send_signal, UMBRA_GUARD_HOLDER, SIGKILL, NULL, 0);
	w->killed = true;
}

/* The other guard has seen the holder dead and all released, and has removed the list: who suspends
 * its devices from now on is somebody else. */
static bool is_over(const struct umbra_watch_state *w)
{
	struct stat st;

	return fstat(w->file_fd, &st) == 0 && st.st_nlink == 0;
}

/* Until the holder says that it is over, or is dead and cannot suspend anything more, however long
 * that takes: one that was only stopped could go on with it, one that hangs in a held filesystem
 * cannot be killed before it is released, and one that waits for a slow disk to freeze a filesystem
 * cannot be killed before it has. */
static void release(struct umbra_watch_state *w, const char *why)
{
	int64_t begun = umbra_boottime_us(), now = begun, alive = begun;
	struct pollfd p = {.fd = UMBRA_GUARD_SOCKET, .events = POLLIN};
	bool dead;

	atomic_store(&w->page->fired, true);
	point(w, "fired");
	w->why = why;
	while (w->file_fd >= 0) {
		if (is_over(w)) {
			w->failed = 0;
			break;
		}
		dead = is_dead(); /* before the round that is to be the last */
		if (!dead)
			alive = now;
		w->failed = resume_all(w);
		if (dead && (w->failed == 0 || now - alive > GIVE_UP_US))
			break;
		if (!dead && !w->killed && now - begun > GRACE_US)
			kill_holder(w);
		if (poll(&p, 1, ROUND_MS) > 0 && !obey(w))
			usleep(ROUND_MS * 1000);
		now = umbra_boottime_us();
	}
	point(w, "released");
}

/* --- afterwards ------------------------------------------------------------------------------- */

/* A terminal that was stopped must not keep us. */
static bool stderr_is_ready(void)
{
	struct pollfd p = {.fd = STDERR_FILENO, .events = POLLOUT};

	return poll(&p, 1, 0) > 0 && (p.revents & POLLOUT) != 0;
}

static void report(const struct umbra_watch_state *w)
{
	int holder = (int)w->order.held.owner;

	if (w->resumed > 0 || w->killed)
		umbra_log_warning("process %d %s while it held volumes: %s resumed%s", holder,
				  w->why, UMBRA_COUNT(w->resumed, "device", "devices"),
				  w->killed ? ", the process killed" : "");
	if (w->failed > 0)
		umbra_log_error("%s that process %d held could not be resumed: see 'dmsetup info', "
				"and 'umbra check --thaw' tries again",
				UMBRA_COUNT(w->failed, "device", "devices"), holder);
}

static void conclude(struct umbra_watch_state *w)
{
	if (w->file_fd >= 0 && w->failed == 0 && is_dead())
		unlinkat(UMBRA_GUARD_DIR, w->order.file, 0);
	if (stderr_is_ready())
		report(w);
	umbra_log_to_syslog();
	report(w);
}

int umbra_watch_serve(struct umbra_watch_state *w)
{
	enum { SOCKET, TIMER, HOLDER };
	struct pollfd p[] = {
		[SOCKET] = {.fd = UMBRA_GUARD_SOCKET, .events = POLLIN},
		[TIMER] = {.fd = w->timer, .events = POLLIN},
		[HOLDER] = {.fd = UMBRA_GUARD_HOLDER, .events = POLLIN},
	};
	const char *why = NULL;

	answer(UMBRA_GUARD_READY, NULL);
	while (!why) {
		if (poll(p, UMBRA_ARRAY_SIZE(p), -1) < 0)
			continue;
		if (p[TIMER].revents)
			why = "took too long, or was stopped,";
		else if (p[HOLDER].revents)
			why = "died";
		else if (p[SOCKET].revents && !obey(w))
			why = "let go of its guard";
	}
	if (w->file_fd < 0)
		return 0;
	if (!p[TIMER].revents)
		usleep((useconds_t)w->delay_us);
	release(w, why);
	conclude(w);
	return w->failed > 0;
}
