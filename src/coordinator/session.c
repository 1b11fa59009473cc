/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "coordinator/session.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "common/log.h"
#include "snapshot/mounts.h"
#include "snapshot/reserve.h"

#define LOCK_NAME    "lock"
#define LOCK_POLL_MS 50
#define LEAST_US     1000000 /* whoever does not want to wait waits for umbrad, which tidies up */
#define PROGRESS_US  100000

static volatile sig_atomic_t terminated;

static void on_term(int sig)
{
	(void)sig;
	terminated = 1;
}

/* Cancel is all that a requester can say while its request runs; whatever else comes is a
 * requester out of its mind, and is treated the same. */
static void listen_to_requester(struct umbra_session *s)
{
	_cleanup_json_ json_t *message = NULL;

	if (terminated || umbra_wire_receive(s->fd, &message, NULL) != -EAGAIN)
		s->stopped = true;
}

static void tell_progress(struct umbra_session *s, const struct umbra_progress *p)
{
	_cleanup_json_ json_t *message = NULL;

	message =
		json_pack("{s:s,s:s,s:I,s:I,s:I,s:I}", "type", "progress", "phase", s->phase,
			  "files", (json_int_t)p->files, "files_total", (json_int_t)p->files_total,
			  "bytes", (json_int_t)p->bytes, "bytes_total", (json_int_t)p->bytes_total);
	if (message)
		umbra_wire_send(s->fd, message, false);
}

static int tick(struct umbra_watch *watch, const struct umbra_progress *progress)
{
	struct umbra_session *s = (struct umbra_session *)watch;
	int64_t now = umbra_now_us();

	if (!s->stopped)
		listen_to_requester(s);
	if (now - s->told_us >= PROGRESS_US) {
		s->told_us = now;
		tell_progress(s, progress);
	}
	return s->stopped && !s->undoing ? -ECANCELED : 0;
}

void umbra_session_init(struct umbra_session *s, int fd)
{
	struct sigaction sa = {.sa_handler = on_term};

	sigaction(SIGTERM, &sa, NULL);
	*s = (struct umbra_session){
		.watch.tick = tick, .fd = fd, .lock_fd = -1, .phase = "starting"};
}

void umbra_session_finish(struct umbra_session *s)
{
	umbra_engine_close(s->engine);
	s->lock_fd = umbra_close(s->lock_fd);
	json_decref(s->warnings);
}

int umbra_session_warn(struct umbra_session *s, const char *fmt, ...)
{
	struct umbra_error text; /* makes it printable */
	char raw[UMBRA_ERROR_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(raw, sizeof(raw), fmt, ap);
	va_end(ap);
	umbra_fail(&text, UMBRA_E_INTERNAL, 0, "%s", raw);
	return json_array_append_new(s->warnings, json_string(text.text)) < 0 ? -ENOMEM : 0;
}

static void owner_of_lock(int fd, char *out, size_t size)
{
	ssize_t n = pread(fd, out, size - 1, 0);

	out[n > 0 ? n : 0] = '\0';
	out[strspn(out, "0123456789")] = '\0';
}

static int busy(struct umbra_session *s, struct umbra_error *err)
{
	char pid[16];

	owner_of_lock(s->lock_fd, pid, sizeof(pid));
	return umbra_fail(
		err, UMBRA_E_BUSY, EBUSY,
		"another umbra%s%s%s changes sets or diff areas in '%s': try again later, or "
		"wait for it with --wait SECONDS",
		*pid ? " (process " : "", pid, *pid ? ")" : "", umbra_engine_state_dir(s->engine));
}

static int take_lock(struct umbra_session *s, int wait_s, struct umbra_error *err)
{
	int64_t until = umbra_now_us() + (wait_s > 0 ? (int64_t)wait_s * 1000000 : LEAST_US);
	char pid[16];
	int n, r;

	s->lock_fd = openat(umbra_engine_state_fd(s->engine), LOCK_NAME,
			    O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (s->lock_fd < 0 && errno == EROFS)
		return umbra_fail(err, UMBRA_E_READ_ONLY, EROFS,
				  "umbra's state directory '%s' is on a read-only filesystem: "
				  "remount it writable, or choose another with --state DIR",
				  umbra_engine_state_dir(s->engine));
	if (s->lock_fd < 0)
		return umbra_fail_errno(err, errno, "cannot open the lock of '%s'",
					umbra_engine_state_dir(s->engine));
	s->phase = "waiting";
	while (flock(s->lock_fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return umbra_fail_errno(err, errno, "cannot lock '%s'",
						umbra_engine_state_dir(s->engine));
		if (umbra_now_us() >= until)
			return busy(s, err);
		r = umbra_watch_tick(&s->watch, NULL, err);
		if (r < 0)
			return r;
		usleep(LOCK_POLL_MS * 1000);
	}
	/* Only for the message above: nothing depends on it. Of one length, so that nothing of an
	 * older one is left to be cut off, which costs a tenth of a btrfs snapshot. */
	n = snprintf(pid, sizeof(pid), "%-11d\n", getpid());
	if (pwrite(s->lock_fd, pid, (size_t)n, 0) < 0)
		umbra_log_debug("cannot note the lock's owner");
	return 0;
}

int umbra_session_look(struct umbra_session *s, const char *state_dir, struct umbra_error *err)
{
	s->warnings = json_array();
	if (!s->warnings)
		return umbra_oom(err);
	return umbra_engine_open(state_dir, UMBRA_CATALOG_NONE, &s->engine, err);
}

int umbra_session_begin(struct umbra_session *s, const char *state_dir,
			enum umbra_catalog_mode mode, int wait_s, struct umbra_error *err)
{
	int r;

	s->warnings = json_array();
	if (!s->warnings)
		return umbra_oom(err);
	/* The catalog after the lock: one that was opened before could be made anew meanwhile by
	 * whoever had the lock, and what is not in it any more would be read and undone. */
	r = umbra_engine_open(state_dir, UMBRA_CATALOG_NONE, &s->engine, err);
	if (r == 0)
		r = take_lock(s, wait_s, err);
	if (r == 0)
		r = umbra_engine_open_catalog(s->engine, mode, err);
	if (r == 0)
		umbra_reserve_make(umbra_engine_state_fd(s->engine));
	return r;
}

int umbra_session_announce(struct umbra_session *s)
{
	struct umbra_mounts_answers answers =
		umbra_mounts_announce(umbra_engine_state_fd(s->engine), UMBRA_MOUNTS_ANSWER_MS);

	if (answers.silent > 0)
		umbra_session_warn(s,
				   "%d mounted tree(s) did not answer and may show an old list of "
				   "sets: unmount and mount again",
				   answers.silent);
	return answers.busy;
}
