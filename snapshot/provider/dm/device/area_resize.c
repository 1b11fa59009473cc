/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* An area's place gets longer and shorter. */
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "snapshot/provider/dm/device/area_parts.h"
#include "snapshot/sys/frozen.h"

#define PIECE (1U << 20)

static int check_device(const struct umbra_area *a, uint64_t bytes, struct umbra_error *err)
{
	uint64_t length;

	if (ioctl(a->io, BLKGETSIZE64, &length) < 0)
		return umbra_fail_errno(err, errno, "cannot tell the size of '%s'", a->place);
	if (bytes <= length)
		return 0;
	return umbra_fail(err, UMBRA_E_NO_SPACE, ENOSPC,
			  "the block device '%s' has %llu MiB: make it larger first, or ask for no "
			  "more",
			  a->place, (unsigned long long)length >> 20);
}

static int no_file(const struct umbra_area *a, struct umbra_error *err)
{
	return umbra_fail(err, UMBRA_E_NOT_FOUND, ENOENT,
			  "the file '%s' is not there to be resized: mount the volume where it was",
			  a->place);
}

int umbra_area_may_be(const struct umbra_area *a, uint64_t bytes, struct umbra_error *err)
{
	_cleanup_close_ int dir = -1;
	uint64_t room;
	int r;

	if (bytes < UMBRA_AREA_MIN)
		return umbra_fail(err, UMBRA_E_USAGE, EINVAL,
				  "a diff area has at least %llu MiB, and not %llu KiB",
				  UMBRA_AREA_MIN >> 20, (unsigned long long)bytes >> 10);
	if (a->kind == UMBRA_AREA_DEVICE)
		return check_device(a, bytes, err);
	dir = umbra_area_open_dir(a);
	if (dir < 0)
		return no_file(a, err);
	r = umbra_area_room(dir, a->place, &room, err);
	if (r < 0 || bytes <= a->bytes || bytes - a->bytes <= room)
		return r;
	return umbra_fail(err, UMBRA_E_NO_SPACE, ENOSPC,
			  "there is no room for %llu MiB more in '%s': the filesystem has %llu; "
			  "delete something, or ask for less",
			  (unsigned long long)(bytes - a->bytes) >> 20, a->place,
			  (unsigned long long)room >> 20);
}

void umbra_area_mark(struct umbra_area *a, bool resizing)
{
	a->resizing = resizing;
}

/* For reading; 1: the volume is not mounted. */
static int open_file(const struct umbra_area *a, int *out, struct umbra_error *err)
{
	_cleanup_close_ int dir = umbra_area_open_dir(a);
	int fd;

	if (dir < 0)
		return 1;
	fd = openat(dir, strrchr(a->place, '/') + 1,
		    O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return umbra_fail_errno(err, errno, "cannot open the diff area '%s'", a->place);
	*out = fd;
	return 0;
}

/* Opens it for writing, which an immutable file does not let happen. */
static int loosen(struct umbra_area *a, int fd, struct umbra_error *err)
{
	int r = umbra_fixed_hold(fd, false, err);

	if (r < 0)
		return r;
	umbra_close(a->file);
	a->file = umbra_area_open_again(fd, O_RDWR | O_DIRECT);
	return a->file < 0
		       ? umbra_fail_errno(err, a->file, "cannot write the diff area '%s'", a->place)
		       : 0;
}

int umbra_area_loosen(struct umbra_area *a, struct umbra_error *err)
{
	_cleanup_close_ int fd = -1;
	int r = a->kind == UMBRA_AREA_DEVICE ? 0 : open_file(a, &fd, err);

	if (r == 1)
		return no_file(a, err);
	return r < 0 || fd < 0 ? r : loosen(a, fd, err);
}

int umbra_area_reserve(struct umbra_area *a, uint64_t bytes, struct umbra_error *err)
{
	return a->kind == UMBRA_AREA_DEVICE ? 0 : umbra_fixed_reserve(a->file, bytes, err);
}

/* The extents are what the filesystem says by now. */
static int measure(struct umbra_area *a, int fd, struct umbra_error *err)
{
	_cleanup_free_ struct umbra_fixed_extent *now = NULL;
	size_t n;
	int r;

	if (a->kind != UMBRA_AREA_INSIDE)
		return 0;
	r = umbra_fixed_extents(fd, &now, &n, err);
	if (r < 0)
		return r;
	if (!umbra_area_begins(a, now, n))
		return umbra_fail(err, UMBRA_E_DAMAGED, EBADMSG,
				  "the diff area '%s' is not where it was", a->place);
	free(a->extents);
	a->extents = TAKE_PTR(now);
	a->n_extents = n;
	return 0;
}

int umbra_area_extend(struct umbra_area *a, uint64_t bytes, struct umbra_error *err)
{
	int r = measure(a, a->file, err);

	if (r == 0)
		a->bytes = bytes;
	return r;
}

void umbra_area_cut(struct umbra_area *a, uint64_t bytes)
{
	struct umbra_fixed_extent *e;

	a->bytes = bytes;
	while (a->n_extents > 0 && a->extents[a->n_extents - 1].logical >= bytes)
		a->n_extents--;
	e = a->n_extents ? &a->extents[a->n_extents - 1] : NULL;
	if (e && e->logical + e->length > bytes)
		e->length = bytes - e->logical;
}

int umbra_area_overwrite(const struct umbra_area *a, uint64_t offset, size_t len,
			 struct umbra_error *err)
{
	/* Direct I/O wants it aligned. */
	void *zeros = mmap(NULL, PIECE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ssize_t done = 0;

	if (zeros == MAP_FAILED)
		return umbra_oom(err);
	for (; done >= 0 && len > 0; len -= (size_t)done, offset += (uint64_t)done)
		do
			done = pwrite(a->file, zeros, len < PIECE ? len : PIECE, (off_t)offset);
		while (done < 0 && errno == EINTR);
	if (done < 0)
		umbra_fail_errno(err, errno, "cannot write the diff area '%s'", a->place);
	munmap(zeros, PIECE);
	return done < 0 ? -EIO : 0;
}

int umbra_area_fix(struct umbra_area *a, struct umbra_error *err)
{
	int r = 0;

	if (a->kind == UMBRA_AREA_INSIDE)
		r = umbra_fixed_hold(a->file, true, err);
	a->file = umbra_close(a->file);
	return r;
}

/* An immutable one was made what it is by whoever made it so, but for its length. */
static bool is_right(const struct umbra_area *a, int fd)
{
	struct stat st;

	return umbra_fixed_is(fd) == 1 && fstat(fd, &st) == 0 && (uint64_t)st.st_size == a->bytes;
}

int umbra_area_trim(struct umbra_area *a, struct umbra_error *err)
{
	_cleanup_close_ int fd = -1;
	int r = a->kind == UMBRA_AREA_DEVICE ? 0 : open_file(a, &fd, err);

	if (r != 0 || fd < 0 || is_right(a, fd))
		return r;
	if (umbra_thawed(fd, UMBRA_THAW_WAIT_MS) < 0)
		return 1;
	r = loosen(a, fd, err);
	if (r == 0)
		r = umbra_fixed_trim(a->file, a->bytes, err);
	if (r == 0)
		r = measure(a, a->file, err);
	return r < 0 ? r : umbra_area_fix(a, err);
}
