/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The lock of a volume, and the marks of those who are at work without it. */
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/token.h"
#include "snapshot/provider/dm/volume/protected_parts.h"
#include "snapshot/sys/suspended.h"

#define RUN_DIR "/run/umbra/dm"
#define POLL_US 5000

static int open_run_dir(struct umbra_error *err)
{
	struct stat st;
	int fd, r = umbra_mkdir_all(RUN_DIR, 0700);

	fd = r < 0 ? r : open(RUN_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return umbra_fail_errno(err, r < 0 ? r : errno, "cannot open '" RUN_DIR "'");
	if (fstat(fd, &st) < 0 || st.st_uid != geteuid()) {
		umbra_close(fd);
		return umbra_fail(err, UMBRA_E_PERMISSION, EPERM,
				  "'" RUN_DIR "' belongs to somebody else");
	}
	return fd;
}

static int open_lock(int run_dir, const char *area, const char *kind, struct umbra_error *err)
{
	char name[UMBRA_ID_LEN + 16];
	int fd;

	snprintf(name, sizeof(name), "%.*s.%s", UMBRA_ID_LEN, area, kind);
	fd = openat(run_dir, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	return fd < 0 ? umbra_fail_errno(err, errno, "cannot open '" RUN_DIR "/%s'", name) : fd;
}

static int take_lock(struct umbra_protected *p, const char *area, int wait_ms,
		     struct umbra_error *err)
{
	int64_t until = umbra_now_us() + (int64_t)wait_ms * 1000;

	p->lock_fd = open_lock(p->run_dir, area, "lock", err);
	if (p->lock_fd < 0)
		return p->lock_fd;
	while (flock(p->lock_fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return umbra_fail_errno(err, errno, "cannot lock '" RUN_DIR "/%.*s.lock'",
						UMBRA_ID_LEN, area);
		if (umbra_now_us() >= until)
			return umbra_fail(err, UMBRA_E_BUSY, EBUSY,
					  "another umbra has been at work on diff area %s for %d s",
					  area, wait_ms / 1000);
		usleep(POLL_US);
	}
	return 0;
}

/* With what others have marked, and without the lock. */
static int open_unlocked(const char *area, struct umbra_protected **out, struct umbra_error *err)
{
	_cleanup_protected_ struct umbra_protected *p = calloc(1, sizeof(*p));

	if (!p)
		return umbra_oom(err);
	p->lock_fd = -1;
	memcpy(p->kernel.area.s, area, UMBRA_ID_LEN);
	p->layer.area = p->kernel.area;
	p->layer.run_dir = p->run_dir = open_run_dir(err);
	if (p->run_dir < 0)
		return p->run_dir;
	*out = TAKE_PTR(p);
	return 0;
}

int umbra_protected_lock(const char *area, int wait_ms, struct umbra_protected **out,
			 struct umbra_error *err)
{
	_cleanup_protected_ struct umbra_protected *p = NULL;
	int r = open_unlocked(area, &p, err);

	if (r == 0)
		r = take_lock(p, area, wait_ms, err);
	if (r == 0)
		*out = TAKE_PTR(p);
	return r;
}

static int mark(const struct umbra_protected *p, const char *kind, const char *doing, int *fd,
		struct umbra_error *err)
{
	_cleanup_close_ int mark = open_lock(p->run_dir, p->kernel.area.s, kind, err);

	if (mark < 0)
		return mark;
	if (flock(mark, LOCK_EX | LOCK_NB) < 0)
		return umbra_fail(err, UMBRA_E_BUSY, EBUSY, "another umbra %s '%s' at this time",
				  doing, p->path);
	*fd = TAKE_FD(mark);
	return 0;
}

int umbra_protected_mark(const struct umbra_protected *p, int *fd, struct umbra_error *err)
{
	return mark(p, "creation", "makes a shadow copy of", fd, err);
}

int umbra_protected_mark_resize(const struct umbra_protected *p, int *fd, struct umbra_error *err)
{
	return mark(p, "resize", "resizes the diff area of", fd, err);
}

bool umbra_protected_being_resized(const struct umbra_protected *p, const struct umbra_dm_state *s)
{
	_cleanup_close_ int fd = -1;

	return umbra_area_resizing(s->place) && umbra_protected_mark_resize(p, &fd, NULL) == -EBUSY;
}

bool umbra_protected_is_marked(const struct umbra_protected *p)
{
	_cleanup_close_ int mark = open_lock(p->run_dir, p->kernel.area.s, "creation", NULL);

	return mark >= 0 && flock(mark, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK;
}

/* Who makes a copy has it suspended rightly, and marked as long. */
int umbra_protected_flows(const struct umbra_protected *p, int wait_ms, struct umbra_error *err)
{
	if (umbra_refuse_suspended(p->layer.origin, 0, NULL) == 0 || umbra_protected_is_marked(p))
		return 0;
	return umbra_refuse_suspended(p->layer.origin, wait_ms, err);
}

int umbra_protected_refuse_suspended(const struct umbra_dm_state *s, int wait_ms,
				     struct umbra_error *err)
{
	_cleanup_protected_ struct umbra_protected *p = NULL;

	/* Whoever opens it says why, and resumes what we left. */
	if (open_unlocked(s->area.s, &p, NULL) < 0 ||
	    umbra_protected_find(s, &p->layer.origin, NULL) < 0 || umbra_layer_under_way(&p->layer))
		return 0;
	return umbra_protected_flows(p, wait_ms, err);
}
