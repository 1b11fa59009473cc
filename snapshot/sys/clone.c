/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/sys/clone.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/util.h"

#define BUFFER       (64 * 1024)
#define KERNEL_MIN   (256 * 1024) /* below, read and write are cheaper than asking the kernel */
#define KERNEL_CHUNK (8 * 1024 * 1024)
#define TICK_BYTES   (4 * 1024 * 1024)

struct copy {
	int from, to;
	struct umbra_clone_pair *pair;
	struct umbra_clone_watch *watch;
	uint64_t untold; /* bytes that the watch does not know of */
};

static int tick(struct copy *c, uint64_t bytes, uint64_t every)
{
	uint64_t n = c->untold + bytes;

	c->untold = n;
	if (!c->watch || n < every)
		return 0;
	c->untold = 0;
	return c->watch->tick(c->watch, n);
}

/* An answer about the filesystems, not about these two files. */
static bool never_works(int errnum)
{
	return errnum == EOPNOTSUPP || errnum == ENOTTY || errnum == EXDEV || errnum == ENOSYS;
}

static bool is_full(int errnum)
{
	return errnum == ENOSPC || errnum == EDQUOT;
}

/* 1 cloned, 0 cannot be cloned, or -errno. */
static int try_clone(struct copy *c)
{
	if (c->pair->no_clone)
		return 0;
	if (ioctl(c->to, FICLONE, c->from) == 0)
		return 1;
	if (is_full(errno))
		return -errno;
	if (never_works(errno))
		c->pair->no_clone = true;
	return 0;
}

/* 1 end of from was reached, 0, or -errno. */
static int copy_by_hand(struct copy *c, off_t at, off_t end)
{
	char buf[BUFFER];
	ssize_t n, done, w;
	size_t want;
	int r;

	while (at < end) {
		want = end - at < (off_t)sizeof(buf) ? (size_t)(end - at) : sizeof(buf);
		n = pread(c->from, buf, want, at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : 1;
		for (done = 0; done<n; done += w> 0 ? w : 0) {
			w = pwrite(c->to, buf + done, (size_t)(n - done), at + done);
			if (w < 0 && errno != EINTR)
				return -errno;
		}
		at += n;
		r = tick(c, (uint64_t)n, TICK_BYTES);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Copies as far as the kernel will do it. *at: where that ended. 0 or -errno. */
static int copy_in_kernel(struct copy *c, off_t *at, off_t end)
{
	off_t in = *at, out = *at;
	size_t want;
	ssize_t n;
	int r;

	while (in < end) {
		want = end - in < KERNEL_CHUNK ? (size_t)(end - in) : KERNEL_CHUNK;
		n = copy_file_range(c->from, &in, c->to, &out, want, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && is_full(errno))
			return -errno;
		if (n < 0 && never_works(errno))
			c->pair->no_kernel_copy = true;
		if (n <= 0) /* some kernels say 0 where they cannot: reading tells the truth */
			return 0;
		*at = in;
		r = tick(c, (uint64_t)n, TICK_BYTES);
		if (r < 0)
			return r;
	}
	return 0;
}

static int copy_extent(struct copy *c, off_t at, off_t end)
{
	int r = 0;

	if (end - at >= KERNEL_MIN && !c->pair->no_kernel_copy)
		r = copy_in_kernel(c, &at, end);
	return r < 0 ? r : copy_by_hand(c, at, end);
}

/* The next data at or after *at, up to *end. 1 there is some, 0 only a hole is left, -errno. */
static int next_extent(int fd, off_t *at, off_t *end, off_t size)
{
	off_t data = lseek(fd, *at, SEEK_DATA), hole;

	if (data < 0 && errno == ENXIO)
		return 0;
	if (data < 0 && errno != EINVAL && errno != EOPNOTSUPP)
		return -errno;
	if (data >= size)
		return 0;
	hole = data < 0 ? -1 : lseek(fd, data, SEEK_HOLE);
	if (data >= 0)
		*at = data;
	*end = hole < 0 || hole > size ? size : hole;
	return 1;
}

static int copy_extents(struct copy *c, off_t size)
{
	off_t at = 0, end = 0;
	int r = 0;

	while (r == 0 && at < size) {
		r = next_extent(c->from, &at, &end, size);
		if (r <= 0)
			break;
		r = copy_extent(c, at, end);
		at = end;
	}
	if (r < 0 || (r == 0 && at == size))
		return r;
	/* It ends in a hole, or from has become shorter. */
	return ftruncate(c->to, size) < 0 ? -errno : 0;
}

int umbra_clone_data(int from, int to, struct umbra_clone_pair *pair,
		     struct umbra_clone_watch *watch)
{
	struct umbra_clone_pair once = {0};
	struct copy c = {.from = from, .to = to, .pair = pair ? pair : &once, .watch = watch};
	struct stat st;
	int r, told;

	if (fstat(from, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	if (st.st_size == 0)
		return 0;
	r = try_clone(&c);
	if (r != 0)
		return r < 0 ? r : UMBRA_CLONE_SHARED;
	r = copy_extents(&c, st.st_size);
	told = r == 0 && c.untold ? tick(&c, 0, 0) : 0;
	return r < 0 ? r : told < 0 ? told : 0;
}

static int open_quietly(int dirfd, const char *name, int flags)
{
	int fd;

	flags |= O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
	fd = openat(dirfd, name, flags | O_NOATIME);
	if (fd < 0 && errno == EPERM) /* not our file */
		fd = openat(dirfd, name, flags);
	return fd < 0 ? -errno : fd;
}

/* What is held with O_PATH cannot become something else any more. */
static int open_regular(int dirfd, const char *name)
{
	_cleanup_close_ int held = openat(dirfd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	char path[sizeof("/proc/self/fd/") + 12];
	struct stat st;

	if (held < 0 || fstat(held, &st) < 0)
		return -errno;
	if (S_ISLNK(st.st_mode))
		return -ELOOP;
	if (!S_ISREG(st.st_mode))
		return -ENXIO;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", held);
	return open_quietly(AT_FDCWD, path, 0);
}

int umbra_clone_open(int dirfd, const char *name, int flags)
{
	int r;

	if (flags & O_DIRECTORY)
		return open_quietly(dirfd, name, flags | O_NOFOLLOW);
	r = open_regular(dirfd, name);
	if (r == -ENOENT) /* or there is no /proc */
		r = open_quietly(dirfd, name, O_NOFOLLOW);
	return r;
}
