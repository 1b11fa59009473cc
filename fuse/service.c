/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fuse/service.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "common/log.h"

#define IDLE_US  (30 * 1000000LL)
#define LOOK_MS  10000
#define DRAIN_MS 5000

struct umbra_service {
	struct umbra_tree *tree;
	struct fuse_session *se;
	int state_fd;  /* borrowed */
	int listen_fd; /* -1: a state directory that cannot change */
	char *name;
	int signal_fd;
	int end_fd;
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

/* An announcer that gets no answer knows that something of what it deletes may be in use. */
static void answer(struct umbra_service *s)
{
	struct umbra_error err = {0};
	int client = umbra_mounts_accept(s->listen_fd);

	if (client < 0)
		return;
	if (umbra_tree_update(s->tree, umbra_ops_notify, s->se, DRAIN_MS, &err) == 0) {
		umbra_mounts_ack(client);
		return;
	}
	umbra_log_error("%s", err.text);
	close(client);
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
			     {.fd = s->listen_fd, .events = POLLIN}};

	for (;;) {
		if (poll(p, UMBRA_ARRAY_SIZE(p), LOOK_MS) < 0 && errno != EINTR)
			break;
		if (p[0].revents)
			break;
		if (p[1].revents) {
			end_session(s);
			break;
		}
		if (p[2].revents)
			answer(s);
		umbra_tree_close_idle(s->tree, IDLE_US);
	}
	return NULL;
}

int umbra_service_start(struct umbra_service *s, struct umbra_tree *tree, struct fuse_session *se,
			struct umbra_error *err)
{
	int r;

	s->tree = tree;
	s->se = se;
	s->loop = pthread_self();
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
	umbra_close(s->signal_fd);
	umbra_close(s->end_fd);
	free(s);
	return NULL;
}
