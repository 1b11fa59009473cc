/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/sys/thaw.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/util.h"
#include "snapshot/sys/held.h"

#define LATE_US     500000 /* after its time: its guards come first */
#define UNWRITTEN_S 60
#define TURN_MS     200  /* for one device, before the next */
#define PATIENCE_MS 1000 /* with all that take their time */

struct thaw {
	int dirfd, control;
	umbra_thaw_fn tell;
	void *arg;
	struct umbra_held held;
	int resumed;
	int patience_ms; /* left */
};

static void say(struct thaw *t, bool problem, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static void say(struct thaw *t, bool problem, const char *fmt, ...)
{
	struct umbra_error text; /* makes it printable */
	char raw[UMBRA_ERROR_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(raw, sizeof(raw), fmt, ap);
	va_end(ap);
	umbra_fail(&text, UMBRA_E_INTERNAL, 0, "%s", raw);
	t->tell(t->arg, problem, text.text);
}

/* Nobody waits for it, and it keeps nothing that somebody waits for. */
static _Noreturn void resume_alone(int control, int answer, const struct umbra_dm_device *d)
{
	int r;

	prctl(PR_SET_NAME, "umbra-thaw");
	if (fork() != 0 || dup2(control, STDIN_FILENO) < 0 || dup2(answer, STDOUT_FILENO) < 0 ||
	    dup2(answer, STDERR_FILENO) < 0)
		_exit(0);
	closefrom(STDERR_FILENO + 1);
	r = umbra_dm_hold_resume(STDIN_FILENO, d);
	_exit(write(STDOUT_FILENO, &r, sizeof(r)) < 0);
}

static int hear(struct thaw *t, int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	int ms = t->patience_ms < TURN_MS ? t->patience_ms : TURN_MS, r;

	while ((r = poll(&p, 1, ms)) < 0 && errno == EINTR)
		;
	if (r == 0)
		t->patience_ms -= ms;
	if (r <= 0)
		return -EINPROGRESS;
	return read(fd, &r, sizeof(r)) == sizeof(r) ? r : -ECHILD;
}

/* As umbra_dm_hold_resume(), by a process of its own: one that waits for a disk cannot be ended.
 * -EINPROGRESS: it is at it. */
static int resume(struct thaw *t, const struct umbra_dm_device *d)
{
	_cleanup_close_ int mine = -1, its = -1;
	int ends[2], r = umbra_dm_suspended(t->control, d);
	pid_t child;

	if (r <= 0)
		return r < 0 ? r : 1;
	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	mine = ends[0];
	its = ends[1];
	child = fork();
	if (child < 0)
		return -errno;
	if (child == 0)
		resume_alone(t->control, its, d);
	while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
		;
	its = umbra_close(its);
	return hear(t, mine);
}

static const char *reason(int r)
{
	return r == -EINPROGRESS ? "it waits for a disk" : strerror(-r);
}

/* 0, or how many could not be resumed. */
static int resume_all(struct thaw *t)
{
	const struct umbra_dm_device *d;
	int failed = 0, r;
	uint32_t i;

	for (i = 0; i < t->held.n; i++) {
		d = &t->held.devices[i];
		r = resume(t, d);
		if (r == 0) {
			t->resumed++;
			say(t, false, "released '%s' (%u:%u), which process %d held", d->name,
			    d->major, d->minor, (int)t->held.owner);
		} else if (r < 0 && r != -ENODEV) {
			failed++;
			say(t, true, "cannot release '%s' (%u:%u): %s; 'dmsetup resume' may",
			    d->name, d->major, d->minor, reason(r));
		}
	}
	return failed;
}

/* One that everybody is gone from is ours to remove; it is locked meanwhile. One that is late has
 * somebody who was stopped: that one will find it done. One that was removed meanwhile is over, and
 * who suspends its devices now is somebody else. */
static void release(struct thaw *t, const char *name, int fd)
{
	bool gone = flock(fd, LOCK_EX | LOCK_NB) == 0;
	bool late = umbra_boottime_us() > t->held.until_us + LATE_US;
	int before = t->resumed;
	struct stat st;

	if (fstat(fd, &st) < 0 || st.st_nlink == 0 || (!gone && !late))
		return;
	if (resume_all(t) == 0 && gone)
		unlinkat(t->dirfd, name, 0);
	if (!gone && t->resumed > before)
		say(t, true, "process %d has held volumes for too long and does not end: end it",
		    (int)t->held.owner);
}

static void look(struct thaw *t, const char *name)
{
	struct umbra_error why = {0};
	_cleanup_close_ int fd = -1;
	int r = umbra_held_read(t->dirfd, name, &t->held, &fd, &why);

	if (r == 0)
		release(t, name, fd);
	else if (r != -ENOENT)
		say(t, true, "%s", why.text);
}

/* Of a process that was killed before it held anything, not of one that is about to. */
static void remove_unwritten(struct thaw *t, const char *name)
{
	struct stat st;

	if (fstatat(t->dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    st.st_mtime + UNWRITTEN_S < time(NULL))
		unlinkat(t->dirfd, name, 0);
}

static int look_at_all(struct thaw *t, DIR *dir, struct umbra_error *err)
{
	const struct dirent *e;

	while ((e = readdir(dir))) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		if (e->d_name[0] == '.') {
			remove_unwritten(t, e->d_name);
			continue;
		}
		if (t->control < 0 && umbra_dm_control_open(&t->control, err) < 0)
			return -ENODEV;
		look(t, e->d_name);
	}
	return 0;
}

int umbra_thaw(umbra_thaw_fn tell, void *arg, struct umbra_error *err)
{
	_cleanup_free_ struct thaw *t = calloc(1, sizeof(*t));
	_cleanup_close_ int control = -1;
	_cleanup_dir_ DIR *dir = NULL;
	int fd, r;

	if (!t)
		return umbra_oom(err);
	if (geteuid() != 0)
		return umbra_fail(err, UMBRA_E_PERMISSION, EPERM,
				  "only root can release what is held");
	r = umbra_held_dir(false, &fd, err);
	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return r;
	dir = fdopendir(fd);
	if (!dir) {
		umbra_close(fd);
		return umbra_oom(err);
	}
	*t = (struct thaw){
		.dirfd = fd, .control = -1, .tell = tell, .arg = arg, .patience_ms = PATIENCE_MS};
	r = look_at_all(t, dir, err);
	control = t->control;
	return r < 0 ? r : t->resumed;
}
