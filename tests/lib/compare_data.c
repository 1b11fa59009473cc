/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "common/util.h"
#include "compare.h"

#define PIECE  (1U << 20)
#define SAMPLE 4096

struct range {
	off_t begin, end;
};

/*
 * The first data at or after `from`, cut outwards to whole blocks: where a filesystem puts the
 * edge of a hole within a block is its own affair. begin == size: there is none.
 */
static int next_data(int fd, off_t from, off_t size, off_t block, struct range *out)
{
	off_t begin, end;

	*out = (struct range){size, size};
	if (from >= size)
		return 0;
	begin = lseek(fd, from, SEEK_DATA);
	if (begin < 0)
		return errno == ENXIO ? 0 : -errno;
	end = lseek(fd, begin, SEEK_HOLE);
	if (end < 0)
		return -errno;
	begin -= begin % block;
	end += (block - end % block) % block;
	*out = (struct range){begin, end < size ? end : size};
	return 0;
}

/* As next_data(), adjoining ranges as one. */
static int next_range(int fd, off_t from, off_t size, off_t block, struct range *out)
{
	struct range more;
	int r;

	r = next_data(fd, from, size, block, out);
	while (r == 0 && out->end < size) {
		r = next_data(fd, out->end, size, block, &more);
		if (r < 0 || more.begin > out->end || more.begin == size)
			break;
		out->end = more.end;
	}
	return r;
}

static ssize_t read_all(int fd, char *buf, size_t len, off_t at)
{
	size_t done = 0;
	ssize_t n;

	while (done < len) {
		n = pread(fd, buf + done, len - done, at + (off_t)done);
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

/* Returns false when something differed. */
static bool compare_bytes(struct comparison *c, const struct pair *p, const int fd[2], off_t begin,
			  off_t end)
{
	static char buf[2][PIECE];
	size_t len, i;
	ssize_t n[2];

	for (; begin < end; begin += (off_t)len) {
		len = end - begin < (off_t)PIECE ? (size_t)(end - begin) : PIECE;
		for (i = 0; i < 2; i++) {
			n[i] = read_all(fd[i], buf[i], len, begin);
			if (n[i] < 0) {
				differ(c, p->path, "cannot be read at %lld: %s", (long long)begin,
				       strerror((int)-n[i]));
				return false;
			}
		}
		if (n[0] == n[1] && memcmp(buf[0], buf[1], (size_t)n[0]) == 0)
			continue;
		for (i = 0; i < (size_t)n[0] && i < (size_t)n[1] && buf[0][i] == buf[1][i]; i++)
			;
		differ(c, p->path, "content differs at byte %lld", (long long)begin + (long long)i);
		return false;
	}
	return true;
}

/* Both maps say hole: look at its ends whether it reads as one. */
static bool compare_hole(struct comparison *c, const struct pair *p, const int fd[2], off_t begin,
			 off_t end)
{
	if (end - begin <= 2 * SAMPLE)
		return compare_bytes(c, p, fd, begin, end);
	return compare_bytes(c, p, fd, begin, begin + SAMPLE) &&
	       compare_bytes(c, p, fd, end - SAMPLE, end);
}

static void walk(struct comparison *c, const struct pair *p, const int fd[2])
{
	off_t size = p->st[0].st_size, at = 0;
	off_t block = 4096;
	struct range r[2];
	int i, e;

	for (i = 0; i < 2; i++)
		if (p->st[i].st_blksize > block && p->st[i].st_blksize <= 65536)
			block = p->st[i].st_blksize;
	while (at < size) {
		for (i = 0; i < 2; i++) {
			e = next_range(fd[i], at, size, block, &r[i]);
			if (e < 0) {
				differ(c, p->path, "SEEK_DATA: %s", strerror(-e));
				return;
			}
		}
		if (r[0].begin != r[1].begin || r[0].end != r[1].end) {
			differ(c, p->path, "data at %lld-%lld, not %lld-%lld: holes differ",
			       (long long)r[0].begin, (long long)r[0].end, (long long)r[1].begin,
			       (long long)r[1].end);
			compare_bytes(c, p, fd, at, size);
			return;
		}
		if (!compare_hole(c, p, fd, at, r[0].begin) ||
		    !compare_bytes(c, p, fd, r[0].begin, r[0].end))
			return;
		at = r[0].end;
	}
}

static int open_quietly(int dir, const char *name)
{
	int flags = O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
	int fd = openat(dir, name, flags | O_NOATIME);

	return fd < 0 && errno == EPERM ? openat(dir, name, flags) : fd;
}

void compare_data(struct comparison *c, const struct pair *p)
{
	_cleanup_close_ int a = open_quietly(p->dir[0], p->name);
	int why = a < 0 ? errno : 0;
	_cleanup_close_ int b = open_quietly(p->dir[1], p->name);

	if (b < 0 && !why)
		why = errno;
	if (why) {
		differ(c, p->path, "cannot be opened: %s", strerror(why));
		return;
	}
	walk(c, p, (const int[]){a, b});
}
