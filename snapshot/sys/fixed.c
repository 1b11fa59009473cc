/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/sys/fixed.h"

#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/fault.h"
#include "common/util.h"

#define FLAGS (FS_IMMUTABLE_FL | FS_NODUMP_FL)
#define BATCH 256
#define MAX   65536
/* Blocks that could be moved, or are not there. Unwritten ones are what is wanted; that another
 * file shares some (cp --reflink) moves none. */
#define BAD                                                                                        \
	(FIEMAP_EXTENT_UNKNOWN | FIEMAP_EXTENT_DELALLOC | FIEMAP_EXTENT_ENCODED |                  \
	 FIEMAP_EXTENT_DATA_ENCRYPTED | FIEMAP_EXTENT_NOT_ALIGNED | FIEMAP_EXTENT_DATA_INLINE |    \
	 FIEMAP_EXTENT_DATA_TAIL)

int umbra_fixed_make(int dirfd, uint64_t bytes, struct umbra_error *err)
{
	_cleanup_close_ int fd = openat(dirfd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	int r;

	if (fd < 0)
		return umbra_fail_errno(err, errno, "cannot make a file for a diff area");
	r = umbra_fixed_reserve(fd, bytes, err);
	return r < 0 ? r : TAKE_FD(fd);
}

int umbra_fixed_reserve(int fd, uint64_t bytes, struct umbra_error *err)
{
	struct stat st;

	/* Not from the beginning: XFS wants to have room for what is there already once more. */
	if (fstat(fd, &st) < 0 || fallocate(fd, 0, st.st_size, (off_t)bytes - st.st_size) < 0) {
		if (errno == ENOSPC || errno == EDQUOT)
			return umbra_fail(err, UMBRA_E_NO_SPACE, errno,
					  "there is no room for a diff area of %llu MiB: delete "
					  "something first",
					  (unsigned long long)bytes >> 20);
		return umbra_fail_errno(err, errno, "cannot reserve %llu MiB for a diff area",
					(unsigned long long)bytes >> 20);
	}
	/* The filesystem must not give these blocks to anybody else after a power cut. */
	if (fsync(fd) < 0 || syncfs(fd) < 0)
		return umbra_fail_errno(err, errno, "cannot write out the file of a diff area");
	return 0;
}

static int set_flags(int fd, int set, int clear)
{
	int flags;

	if (ioctl(fd, FS_IOC_GETFLAGS, &flags) < 0)
		return -errno;
	flags = (flags | set) & ~clear;
	return ioctl(fd, FS_IOC_SETFLAGS, &flags) < 0 ? -errno : 0;
}

/* The directory first: an immutable file lies in an immutable one. */
static int protect(int fd, int dirfd, struct umbra_error *err)
{
	int r = umbra_fault_fail("dm.area-named", err);

	if (r == 0)
		r = umbra_fixed_hold(dirfd, true, err);
	return r < 0 ? r : umbra_fixed_hold(fd, true, err);
}

int umbra_fixed_publish(int fd, int dirfd, const char *name, bool immutable,
			struct umbra_error *err)
{
	char self[32];
	int r = 0;

	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	if (linkat(AT_FDCWD, self, dirfd, name, AT_SYMLINK_FOLLOW) < 0)
		return umbra_fail_errno(err, errno, "cannot name the file '%s' of a diff area",
					name);
	if (immutable)
		r = protect(fd, dirfd, err);
	if (r == 0 && (fsync(fd) < 0 || fsync(dirfd) < 0))
		r = umbra_fail_errno(err, errno, "cannot make the file '%s' durable", name);
	if (r < 0)
		umbra_fixed_remove(dirfd, name, NULL);
	return r;
}

int umbra_fixed_hold(int fd, bool immutable, struct umbra_error *err)
{
	int r = immutable ? set_flags(fd, FLAGS, 0) : set_flags(fd, 0, FS_IMMUTABLE_FL);

	if (r == 0 && fsync(fd) < 0)
		r = -errno;
	return r < 0 ? umbra_fail_errno(err, r, "cannot make the place of a diff area %s",
					immutable ? "immutable" : "changeable")
		     : 0;
}

int umbra_fixed_trim(int fd, uint64_t bytes, struct umbra_error *err)
{
	/* Also when it has that length: blocks behind it go. */
	if (ftruncate(fd, (off_t)bytes) < 0 || fsync(fd) < 0)
		return umbra_fail_errno(err, errno, "cannot make the file of a diff area shorter");
	return 0;
}

int umbra_fixed_is(int fd)
{
	int flags;

	if (ioctl(fd, FS_IOC_GETFLAGS, &flags) < 0)
		return -errno;
	return (flags & FS_IMMUTABLE_FL) != 0;
}

struct map {
	struct fiemap head;
	struct fiemap_extent extents[BATCH];
};

struct list {
	struct umbra_fixed_extent *v;
	size_t n;
};

/* Joins what lies one behind the other. */
static int add(struct list *list, const struct fiemap_extent *e)
{
	struct umbra_fixed_extent *last = list->n ? &list->v[list->n - 1] : NULL, *v;

	if (e->fe_flags & BAD || (last ? last->logical + last->length : 0) != e->fe_logical)
		return -EOPNOTSUPP;
	if (last && last->physical + last->length == e->fe_physical) {
		last->length += e->fe_length;
		return 0;
	}
	if (list->n == MAX)
		return -E2BIG;
	v = reallocarray(list->v, list->n + 1, sizeof(*v));
	if (!v)
		return -ENOMEM;
	list->v = v;
	v[list->n++] = (struct umbra_fixed_extent){
		.logical = e->fe_logical, .physical = e->fe_physical, .length = e->fe_length};
	return 0;
}

static int collect(int fd, struct list *list)
{
	_cleanup_free_ struct map *map = calloc(1, sizeof(*map));
	uint64_t at = 0;
	uint32_t i;
	bool last = false;
	int r = 0;

	if (!map)
		return -ENOMEM;
	while (!last) {
		memset(&map->head, 0, sizeof(map->head));
		map->head.fm_start = at;
		map->head.fm_length = ~0ULL - at;
		map->head.fm_flags = FIEMAP_FLAG_SYNC;
		map->head.fm_extent_count = BATCH;
		if (ioctl(fd, FS_IOC_FIEMAP, &map->head) < 0)
			return -errno;
		last = map->head.fm_mapped_extents == 0;
		for (i = 0; r == 0 && i < map->head.fm_mapped_extents; i++) {
			r = add(list, &map->extents[i]);
			at = map->extents[i].fe_logical + map->extents[i].fe_length;
			last = map->extents[i].fe_flags & FIEMAP_EXTENT_LAST;
		}
		if (r < 0)
			return r;
	}
	return 0;
}

int umbra_fixed_extents(int fd, struct umbra_fixed_extent **out, size_t *n, struct umbra_error *err)
{
	struct list list = {0};
	int r = collect(fd, &list);

	if (r < 0) {
		free(list.v);
		return umbra_fail(
			err, UMBRA_E_UNSUPPORTED, -r,
			"the filesystem does not say where the diff area's blocks are, or "
			"has cut it into too many pieces (%s)",
			strerror(-r));
	}
	*out = list.v;
	*n = list.n;
	return 0;
}

int umbra_fixed_remove(int dirfd, const char *name, struct umbra_error *err)
{
	_cleanup_close_ int fd =
		openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		return errno == ENOENT ? 0 : umbra_fail_errno(err, errno, "cannot open '%s'", name);
	set_flags(dirfd, 0, FLAGS);
	set_flags(fd, 0, FLAGS);
	if (unlinkat(dirfd, name, 0) < 0)
		return umbra_fail_errno(err, errno, "cannot remove '%s'", name);
	return 0;
}
