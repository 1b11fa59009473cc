/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* umbrad: looks after diff areas, for one state directory. umbrad(8) has the contract. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "common/fault.h"
#include "common/log.h"
#include "common/token.h"
#include "coordinator/client.h"
#include "daemon/leftovers.h"
#include "daemon/lost.h"
#include "daemon/memory.h"
#include "daemon/standby.h"
#include "daemon/wake.h"
#include "snapshot/engine.h"
#include "snapshot/provider.h"
#include "version.h"

#define LOCK_NAME  "umbrad.lock"
#define IDLE_US    10000000 /* so long nothing may depend on us before we end */
#define IDLE_MS    500
#define LOST_MS    500
#define LOCK_TRIES 10 /* who only wants to know whether it is locked has it for a moment */
#define LOCK_MS    10

struct daemon {
	struct umbra_engine *engine;
	struct umbra_lost *lost;
	struct umbra_standby *standby;
	struct umbra_wake *wake;
	int lock_fd, signals;
	int least_ms; /* between looks that nothing calls for; for tests */
	struct umbra_error said;
	bool stay;
	bool mounts; /* have changed since the last look */
};

static void on_lost(void *arg, const struct umbra_id *shadow, const char *why)
{
	struct daemon *d = arg;

	umbra_log_warning("shadow copy %s is gone: %s", shadow->s, why);
	umbra_lost_notice(d->lost);
}

static void on_changed(void *arg)
{
	struct daemon *d = arg;

	umbra_lost_notice(d->lost);
}

static void on_step(void *arg)
{
	struct daemon *d = arg;

	umbra_standby_step(d->standby);
}

/* What fails at every look, four times a second, is said once. */
static void say(struct daemon *d, const struct umbra_error *err)
{
	if (strcmp(d->said.text, err->text) != 0)
		umbra_log_error("%s", err->text);
	d->said = *err;
}

/* All providers once; when they want to be called again, -1: never. */
static int look(struct daemon *d)
{
	struct umbra_storage_watch watch = {.state_fd = umbra_engine_state_fd(d->engine),
					    .state_dir = umbra_engine_state_dir(d->engine),
					    .lost = on_lost,
					    .changed = on_changed,
					    .step = on_step,
					    .mounts = d->mounts,
					    .arg = d};
	const struct umbra_provider *const *p;
	int next = -1, again;
	bool failed = false;
	size_t n, i;

	d->mounts = false;
	p = umbra_providers(&n);
	for (i = 0; i < n; i++) {
		struct umbra_error err = {0};

		if (!p[i]->storage)
			continue;
		again = -1;
		if (p[i]->storage->look_after(&watch, &again, &err) < 0) {
			say(d, &err);
			failed = true;
		}
		if (again >= 0 && (next < 0 || again < next))
			next = again;
	}
	if (!failed)
		d->said = (struct umbra_error){0};
	return next;
}

/* 1: another one does it already. */
static int lock(const struct daemon *d)
{
	int i;

	for (i = 0; flock(d->lock_fd, LOCK_EX | LOCK_NB) < 0; i++) {
		if (errno != EWOULDBLOCK)
			return -errno;
		if (i == LOCK_TRIES)
			return 1;
		usleep(LOCK_MS * 1000);
	}
	return 0;
}

static int take_lock(struct daemon *d, struct umbra_error *err)
{
	int r;

	/* Not for writing: the filesystem may become read-only while we run, as at a shutdown. */
	d->lock_fd = openat(umbra_engine_state_fd(d->engine), LOCK_NAME,
			    O_RDONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (d->lock_fd < 0)
		return umbra_fail_errno(err, errno, "cannot open '%s/" LOCK_NAME "'",
					umbra_engine_state_dir(d->engine));
	r = lock(d);
	return r < 0 ? umbra_fail_errno(err, r, "cannot lock '%s/" LOCK_NAME "'",
					umbra_engine_state_dir(d->engine))
		     : r;
}

static int open_signals(struct umbra_error *err)
{
	sigset_t set;
	int fd;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	fd = signalfd(-1, &set, SFD_CLOEXEC);
	return fd < 0 ? umbra_fail_errno(err, errno, "cannot wait for signals") : fd;
}

static void keep(const struct daemon *d)
{
	const struct umbra_provider *const *p;
	size_t n, i;

	p = umbra_providers(&n);
	for (i = 0; i < n; i++) {
		struct umbra_error err = {0};

		if (p[i]->storage && p[i]->storage->keep &&
		    p[i]->storage->keep(umbra_engine_state_fd(d->engine), &err) < 0)
			umbra_log_error("%s", err.text);
	}
}

/* Was it told to end? */
static bool wait_for(struct daemon *d, int ms)
{
	struct signalfd_siginfo info;

	if (umbra_wake_wait(d->wake, ms, &d->mounts) != UMBRA_WAKE_SIGNAL ||
	    read(d->signals, &info, sizeof(info)) != sizeof(info))
		return false;
	if (info.ssi_signo != SIGUSR1)
		return true;
	keep(d);
	return false;
}

/* Until it is told to end (true), or nothing has depended on it for long. */
static bool watch(struct daemon *d)
{
	int64_t needed_us = umbra_now_us();
	int ms;

	do {
		umbra_standby_keep(d->standby);
		umbra_release_leftovers();
		ms = look(d);
		if (umbra_lost_settle(d->lost) && (ms < 0 || ms > LOST_MS))
			ms = LOST_MS;
		if (ms >= 0)
			needed_us = umbra_now_us();
		umbra_fault("umbrad.looked");
		if (ms < 0)
			ms = IDLE_MS;
		if (wait_for(d, ms > d->least_ms ? ms : d->least_ms))
			return true;
	} while (d->stay || umbra_now_us() - needed_us < IDLE_US);
	return false;
}

/* Who saw the lock relies on us, and has made visible before what is to be looked after. */
static bool is_needed_again(struct daemon *d)
{
	umbra_fault("umbrad.idle");
	flock(d->lock_fd, LOCK_UN);
	return look(d) >= 0 && lock(d) == 0;
}

/* Whoever stops us for good must not hang the volumes with that. Who saw the lock has made visible
 * before what is let go here; who comes later starts another one. */
static void leave(const struct daemon *d)
{
	const struct umbra_provider *const *p;
	size_t n, i;

	flock(d->lock_fd, LOCK_UN);
	umbra_fault("umbrad.leaving");
	p = umbra_providers(&n);
	for (i = 0; i < n; i++) {
		struct umbra_error err = {0};

		if (p[i]->storage && p[i]->storage->leave &&
		    p[i]->storage->leave(umbra_engine_state_fd(d->engine), &err) < 0)
			umbra_log_error("%s", err.text);
	}
}

static void loop(struct daemon *d)
{
	do {
		if (watch(d)) {
			leave(d);
			return;
		}
	} while (is_needed_again(d));
}

static int least_ms(void)
{
	const char *ms = secure_getenv("UMBRA_TEST_LOOK_MS");

	return ms ? atoi(ms) : 0;
}

static int run(const char *choice, bool stay, struct umbra_error *err)
{
	_cleanup_free_ char *state_dir = NULL;
	struct daemon d = {.lock_fd = -1, .signals = -1, .stay = stay, .least_ms = least_ms()};
	int r;

	umbra_release_leftovers(); /* the state may lie on what is held */
	r = umbra_state_dir(choice, &state_dir, err);
	if (r == 0)
		r = umbra_engine_open(state_dir, UMBRA_CATALOG_NONE, &d.engine, err);
	if (r == 0)
		r = umbra_fault_fail("umbrad.started", err);
	if (r == 0)
		r = take_lock(&d, err);
	if (r == 0)
		r = d.signals = open_signals(err);
	if (r > 0 && d.signals < 0) {
		umbra_log_debug("another umbrad looks after '%s'", state_dir);
	} else if (r >= 0) {
		umbra_lock_memory();
		d.lost = umbra_lost_new(state_dir);
		d.standby = umbra_standby_new();
		d.wake = umbra_wake_new(d.signals);
		if (d.lost && d.standby && d.wake)
			loop(&d);
		else
			r = umbra_oom(err);
	}
	umbra_wake_free(d.wake);
	umbra_standby_free(d.standby);
	umbra_lost_free(d.lost);
	umbra_close(d.signals);
	umbra_close(d.lock_fd);
	umbra_engine_close(d.engine);
	return r < 0 ? r : 0;
}

static int usage(FILE *f, int status)
{
	fputs("usage: umbrad [--state DIR] [--stay] [--syslog]\n\n"
	      "Looks after the diff areas of a state directory, as long as there are copies in "
	      "them.\n"
	      "Who makes such a copy starts it; umbrad(8) tells more.\n\n"
	      "      --state DIR   the state directory\n"
	      "      --stay        do not end when nothing is left to look after\n"
	      "      --syslog      say what there is to say there\n"
	      "  -h, --help        this\n"
	      "      --version     which version it is\n",
	      f);
	return status;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"state", required_argument, NULL, 's'}, {"stay", no_argument, NULL, 'k'},
		{"syslog", no_argument, NULL, 'l'},      {"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'v'},     {0}};
	struct umbra_error err = {0};
	const char *state = NULL;
	bool stay = false;
	int c;

	umbra_hold_standard_fds();
	umbra_log_init("umbrad", UMBRA_LOG_INFO);
	umbra_log_never_wait(); /* for who writes it to a volume that waits for us */
	umbra_fault_init();
	while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (c) {
		case 's':
			state = optarg;
			break;
		case 'k':
			stay = true;
			break;
		case 'l':
			umbra_log_to_syslog();
			break;
		case 'h':
			return usage(stdout, 0);
		case 'v':
			return puts("umbrad " UMBRA_VERSION) < 0;
		default:
			return usage(stderr, 2);
		}
	}
	if (optind < argc)
		return usage(stderr, 2);
	if (run(state, stay, &err) == 0)
		return 0;
	umbra_log_error("%s", err.text);
	return 1;
}
