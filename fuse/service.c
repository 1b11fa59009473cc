/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fuse/service.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "common/log.h"
#include "fuse/notice.h"

#define IDLE_US     (30 * 1000000LL)
#define LOOK_US     (10 * 1000000LL)
#define SETTLE_US   100000 /* who changes the catalog also announces it, mostly */
#define WAITERS_MAX 16

struct umbra_service {
	struct umbra_tree *tree;
	struct fuse_session *se;
	int state_fd;  /* borrowed */
	int listen_fd; /* -1: a state directory that cannot change */
	char *name;
	int notice_fd; /* -1: cannot be had */
	int signal_fd;
	int end_fd;
	dev_t dev;                /* of the mount */
	int waiters[WAITERS_MAX]; /* closed by nothing but the end of the process */
	size_t n_waiters;
	int64_t due_us;  /* when to read the catalog unasked; 0: not at all */
	bool complained; /* that it could not be read */
	pthread_t thread, loop;
	bool started;
};

static void nothing(int sig)
{
	(void)sig;
}

static int take_signals(struct umbra_service *s)
{
	struct sigaction wake = {.sa_handler = nothing};
	struct sigaction ignore = {.sa_handler = SIG_IGN};
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	if (pthread_sigmask(SIG_BLOCK, &set, NULL) != 0 || sigaction(SIGUSR1, &wake, NULL) < 0 ||
	    sigaction(SIGPIPE, &ignore, NULL) < 0)
		return -errno;
	s->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	s->end_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return s->signal_fd < 0 || s->end_fd < 0 ? -errno : 0;
}

int umbra_service_new(int state_fd, struct umbra_service **out, struct umbra_error *err)
{
	struct umbra_service *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return umbra_oom(err);
	*s = (struct umbra_service){
		.state_fd = state_fd, .listen_fd = -1, .signal_fd = -1, .end_fd = -1};
	s->notice_fd = umbra_notice_open(state_fd);
	if (s->notice_fd < 0)
		umbra_log_info("changes of the catalog are not noticed by themselves (%s): it is "
			       "read every %d s",
			       strerror(-s->notice_fd), (int)(LOOK_US / 1000000));
	r = take_signals(s);
	if (r < 0)
		umbra_fail_errno(err, r, "cannot take signals");
	else
		r = umbra_mounts_listen(state_fd, &s->name, &s->listen_fd, err);
	if (r == -EROFS) /* then nobody can change it either */
		r = 0;
	if (r < 0) {
		umbra_service_free(s);
		return r;
	}
	*out = s;
	return 0;
}

/* What is noticed until now is read now, and needs not be noticed again. */
static int update(struct umbra_service *s, int timeout_ms, struct umbra_error *err)
{
	if (s->notice_fd >= 0)
		umbra_notice_take(s->notice_fd);
	s->due_us = s->notice_fd >= 0 ? 0 : umbra_now_us() + LOOK_US;
	return umbra_tree_update(s->tree, umbra_ops_notify, s->se, timeout_ms, err);
}

/* An announcer that gets no answer knows that this mount may show what is not any more. */
static void answer_change(struct umbra_service *s, int client)
{
	struct umbra_error err = {0};
	int r = update(s, UMBRA_MOUNTS_DRAIN_MS, &err);

	if (r == 0) {
		umbra_mounts_answer(client, UMBRA_MOUNTS_DONE);
		return;
	}
	umbra_log_error("%s", err.text);
	if (r == -ETIMEDOUT)
		umbra_mounts_answer(client, UMBRA_MOUNTS_BUSY);
	else
		umbra_close(client);
}

static void answer(struct umbra_service *s)
{
	enum umbra_mounts_word word;
	int client = umbra_mounts_accept(s->listen_fd, &word);

	if (client < 0)
		return;
	if (word == UMBRA_MOUNTS_CHANGED)
		answer_change(s, client);
	else if (s->n_waiters < WAITERS_MAX && umbra_mounts_tell_device(client, s->dev) == 0)
		s->waiters[s->n_waiters++] = client;
	else
		umbra_close(client);
}

/* Nobody waits for it: what is still read of deleted sets is let go of later. */
static void look(struct umbra_service *s)
{
	struct umbra_error err = {0};
	int r = update(s, 0, &err);

	if (r == 0 || r == -ETIMEDOUT) {
		s->complained = false;
		return;
	}
	s->due_us = umbra_now_us() + LOOK_US;
	if (!s->complained)
		umbra_log_error("%s", err.text);
	s->complained = true;
}

static int wait_ms(const struct umbra_service *s)
{
	int64_t left = s->due_us ? s->due_us - umbra_now_us() : LOOK_US;

	if (left > LOOK_US)
		left = LOOK_US;
	return left > 0 ? (int)(left / 1000) + 1 : 0;
}

/* The loop's thread sleeps in a semaphore that only a signal interrupts, and may just be about to
 * fall asleep: so again and again. */
static void end_session(struct umbra_service *s)
{
	struct pollfd p = {.fd = s->end_fd, .events = POLLIN};

	fuse_session_exit(s->se);
	do
		pthread_kill(s->loop, SIGUSR1);
	while (poll(&p, 1, 20) == 0);
}

static void *work(void *arg)
{
	struct umbra_service *s = arg;
	struct pollfd p[] = {{.fd = s->end_fd, .events = POLLIN},
			     {.fd = s->signal_fd, .events = POLLIN},
			     {.fd = s->listen_fd, .events = POLLIN},
			     {.fd = s->notice_fd, .events = POLLIN}};

	for (;;) {
		if (poll(p, UMBRA_ARRAY_SIZE(p), wait_ms(s)) < 0 && errno != EINTR)
			break;
		if (p[0].revents)
			break;
		if (p[1].revents) {
			end_session(s);
			break;
		}
		if (p[2].revents)
			answer(s);
		else if (p[3].revents && umbra_notice_take(s->notice_fd) && !s->due_us)
			s->due_us = umbra_now_us() + SETTLE_US;
		if (s->due_us && umbra_now_us() >= s->due_us)
			look(s);
		umbra_tree_close_idle(s->tree, IDLE_US);
	}
	return NULL;
}

int umbra_service_start(struct umbra_service *s, struct umbra_tree *tree, struct fuse_session *se,
			dev_t dev, struct umbra_error *err)
{
	int r;

	s->tree = tree;
	s->se = se;
	s->dev = dev;
	s->loop = pthread_self();
	if (s->notice_fd < 0)
		s->due_us = umbra_now_us() + LOOK_US;
	r = pthread_create(&s->thread, NULL, work, s);
	if (r != 0)
		return umbra_fail_errno(err, r, "cannot start a thread");
	s->started = true;
	return 0;
}

struct umbra_service *umbra_service_free(struct umbra_service *s)
{
	uint64_t one = 1;

	if (!s)
		return NULL;
	if (s->started && write(s->end_fd, &one, sizeof(one)) == sizeof(one))
		pthread_join(s->thread, NULL);
	if (s->name)
		umbra_mounts_close(s->state_fd, s->name, s->listen_fd);
	free(s->name);
	umbra_close(s->notice_fd);
	umbra_close(s->signal_fd);
	umbra_close(s->end_fd);
	free(s);
	return NULL;
}
