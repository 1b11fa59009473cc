/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <blkid/blkid.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "snapshot/provider/dm/device/area_parts.h"
#include "snapshot/provider/dm/device/place.h"
#include "snapshot/provider/dm/pool/pool_disk.h"

#define SHARE 10 /* of the volume: one part in so many */
#define SPARE                                                                                      \
	2 /* of what is free an area that nobody asked for takes at most one part in so many */

static uint64_t round_down(uint64_t bytes)
{
	return bytes / UMBRA_AREA_BLOCK * UMBRA_AREA_BLOCK;
}

static int too_small(uint64_t bytes, const char *place, struct umbra_error *err)
{
	return umbra_fail(
		err, UMBRA_E_NO_SPACE, ENOSPC,
		"a diff area needs %llu MiB, and '%s' has room for %llu: make room, or put "
		"it elsewhere with 'umbra storage add --at'",
		UMBRA_AREA_MIN >> 20, place, (unsigned long long)bytes >> 20);
}

/* How large, when nothing was said: as VSS does, but no full disk for it. */
static int usual_size(int dir, const char *place, uint64_t *out, struct umbra_error *err)
{
	uint64_t bytes, free_bytes;
	struct statvfs fs;

	if (fstatvfs(dir, &fs) < 0)
		return umbra_fail_errno(err, errno, "cannot look at '%s'", place);
	bytes = (uint64_t)fs.f_blocks * fs.f_frsize / SHARE;
	free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize / SPARE;
	if (bytes < UMBRA_AREA_USUAL)
		bytes = UMBRA_AREA_USUAL;
	if (bytes > free_bytes)
		bytes = free_bytes;
	*out = bytes;
	return bytes < UMBRA_AREA_MIN ? too_small(bytes, place, err) : 0;
}

int umbra_area_room(int dir, const char *place, uint64_t *out, struct umbra_error *err)
{
	struct statvfs fs;

	if (fstatvfs(dir, &fs) < 0)
		return umbra_fail_errno(err, errno, "cannot look at '%s'", place);
	*out = (uint64_t)fs.f_bavail * fs.f_frsize;
	return 0;
}

static int asked_for_less(uint64_t bytes, struct umbra_error *err)
{
	return umbra_fail(err, UMBRA_E_USAGE, EINVAL,
			  "a diff area has at least %llu MiB, and not %llu KiB",
			  UMBRA_AREA_MIN >> 20, (unsigned long long)bytes >> 10);
}

/* As much as was asked for. */
static int wanted_size(uint64_t bytes, int dir, const char *place, struct umbra_error *err)
{
	uint64_t room;
	int r;

	if (bytes < UMBRA_AREA_MIN)
		return asked_for_less(bytes, err);
	r = umbra_area_room(dir, place, &room, err);
	if (r < 0 || bytes <= room)
		return r;
	if (room < UMBRA_AREA_MIN)
		return too_small(room, place, err);
	return umbra_fail(err, UMBRA_E_NO_SPACE, ENOSPC,
			  "there is no room for a diff area of %llu MiB in '%s', which has %llu: "
			  "delete something, or ask for a smaller one with 'umbra storage add "
			  "--size'",
			  (unsigned long long)bytes >> 20, place, (unsigned long long)room >> 20);
}

static int size_of(const struct umbra_area_request *request, int dir, const char *place,
		   uint64_t *out, struct umbra_error *err)
{
	int r;

	*out = request->bytes;
	r = *out ? wanted_size(*out, dir, place, err) : usual_size(dir, place, out, err);
	*out = round_down(*out);
	return r;
}

/* --- inside the volume --- */

/* The top of the filesystem, where nobody who has only a part of it mounted keeps files of his own;
 * where that is mounted nowhere, what is. */
static int open_top(const struct umbra_volume *volume, char **path)
{
	int fd = volume->root && strcmp(volume->root, "/") != 0
			 ? umbra_area_open_mounted(volume->dev, path)
			 : -ENOENT;

	if (fd >= 0)
		return fd;
	*path = strdup(volume->mount);
	return umbra_open_real(volume->mount, O_RDONLY | O_DIRECTORY);
}

/* What others could rename or replace is no place for what root relies on. */
static int take_directory(int dir, const char *place, struct umbra_error *err)
{
	struct stat st;
	int r;

	if (fstat(dir, &st) < 0)
		return umbra_fail_errno(err, errno, "cannot look at the directory of '%s'", place);
	if (st.st_uid != geteuid())
		return umbra_fail(err, UMBRA_E_PERMISSION, EPERM,
				  "the directory of '%s' belongs to user %u: remove it, or put the "
				  "diff area elsewhere with 'umbra storage add --at'",
				  place, st.st_uid);
	r = umbra_fixed_hold(dir, false, err);
	if (r == 0 && fchmod(dir, 0700) < 0)
		r = umbra_fail_errno(err, errno, "cannot close the directory of '%s' to others",
				     place);
	return r;
}

static int make_inside(const struct umbra_area_request *request, struct umbra_area *a,
		       struct umbra_error *err)
{
	_cleanup_free_ char *mount = NULL;
	_cleanup_close_ int top = open_top(request->volume, &mount);
	int r;

	if (!mount)
		return umbra_oom(err);
	a->place = umbra_asprintf("%s/" UMBRA_AREA_DIR "/" UMBRA_AREA_NAME,
				  strcmp(mount, "/") ? mount : "");
	if (!a->place)
		return umbra_oom(err);
	r = top < 0 ? 0 : umbra_place_filesystem(top, mount, err);
	if (r < 0)
		return r;
	a->dir = top < 0 ? top : umbra_open_dir_make(top, UMBRA_AREA_DIR, 0700);
	if (a->dir < 0)
		return umbra_fail_errno(err, a->dir, "cannot make '%s'", a->place);
	if (faccessat(a->dir, UMBRA_AREA_NAME, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return umbra_fail(
			err, UMBRA_E_EXISTS, EEXIST,
			"there is a diff area at '%s' that this state directory knows "
			"nothing of: use the state directory that it belongs to, or, if that "
			"is gone, remove its directory (chattr -R -i, rm -r)",
			a->place);
	r = take_directory(a->dir, a->place, err);
	a->own_dir = r == 0;
	if (r < 0)
		return r;
	r = size_of(request, a->dir, mount, &a->bytes, err);
	if (r < 0)
		return r;
	a->file = umbra_fixed_make(a->dir, a->bytes, err);
	r = a->file < 0 ? a->file : umbra_place_file(a->file, mount, err);
	return r < 0 ? r : umbra_fixed_extents(a->file, &a->extents, &a->n_extents, err);
}

void umbra_area_leave_dir(struct umbra_area *a)
{
	_cleanup_close_ int top = -1;

	if (!a->own_dir || a->dir < 0)
		return;
	top = openat(a->dir, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (top >= 0) /* empty, or it stays */
		unlinkat(top, UMBRA_AREA_DIR, AT_REMOVEDIR);
}

/* --- elsewhere --- */

int umbra_area_open_again(int fd, int flags)
{
	char self[32];

	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	fd = open(self, flags | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* dev: what the place is on. */
static int check_elsewhere(const struct umbra_area_request *request, dev_t dev,
			   struct umbra_error *err)
{
	int r = umbra_place_lies_on(dev, request->origin);

	if (r < 0)
		return umbra_fail_errno(err, r, "cannot tell what '%s' is on", request->place);
	if (r == 0)
		return umbra_place_blocks(dev, request->origin, request->place, err);
	return umbra_fail(err, UMBRA_E_UNSUPPORTED, EINVAL,
			  "'%s' is on the volume that it would protect: without --at umbra keeps "
			  "the diff area inside in a way that works",
			  request->place);
}

static bool can_be_exchanged(const struct stat *dir)
{
	const mode_t others = dir->st_gid == 0 ? S_IWOTH : S_IWOTH | S_IWGRP;

	return dir->st_uid != geteuid() || ((dir->st_mode & others) && !(dir->st_mode & S_ISVTX));
}

/* Who could put another file, or another directory, in its place could have anything shown as a
 * copy, and mounted for that. */
static int refuse_exchangeable(int dir, const char *place, struct umbra_error *err)
{
	_cleanup_close_ int at = openat(dir, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct stat st, below = {0};
	int above;

	while (at >= 0 && fstat(at, &st) == 0 &&
	       (st.st_ino != below.st_ino || st.st_dev != below.st_dev)) {
		if (can_be_exchanged(&st))
			return umbra_fail(
				err, UMBRA_E_PERMISSION, EPERM,
				"others than root could exchange '%s': a directory on the "
				"way to it belongs to user %u and has mode %04o; put it "
				"where only root can write",
				place, st.st_uid, st.st_mode & 07777);
		below = st;
		above = openat(at, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
		umbra_close(at);
		at = above;
	}
	return at < 0 ? umbra_fail_errno(err, errno, "cannot look at what '%s' is in", place) : 0;
}

static int make_file(const struct umbra_area_request *request, struct umbra_area *a,
		     struct umbra_error *err)
{
	_cleanup_free_ char *parent = umbra_area_parent_of(request->place);
	struct stat st;
	int r;

	if (!parent)
		return umbra_oom(err);
	if (lstat(request->place, &st) == 0)
		return umbra_fail(
			err, UMBRA_E_EXISTS, EEXIST,
			"there is something at '%s' already, and it is not a block device: "
			"name a file that is not there yet",
			request->place);
	a->dir = umbra_open_real(parent, O_RDONLY | O_DIRECTORY);
	if (a->dir < 0)
		return umbra_fail_errno(err, a->dir, "cannot open '%s'", parent);
	if (fstat(a->dir, &st) < 0)
		return umbra_fail_errno(err, errno, "cannot look at '%s'", parent);
	r = check_elsewhere(request, st.st_dev, err);
	if (r == 0)
		r = umbra_place_filesystem(a->dir, request->place, err);
	if (r == 0)
		r = refuse_exchangeable(a->dir, request->place, err);
	if (r < 0)
		return r;
	r = size_of(request, a->dir, parent, &a->bytes, err);
	if (r < 0)
		return r;
	a->file = umbra_fixed_make(a->dir, a->bytes, err);
	if (a->file < 0)
		return a->file;
	a->io = umbra_area_open_again(a->file, O_RDWR | O_DIRECT);
	return a->io < 0 ? umbra_fail_errno(err, a->io, "'%s' cannot be read past the page cache",
					    request->place)
			 : 0;
}

/* Is something on a device already? EXISTS with what blkid takes it for. */
static int check_signature(const char *path, struct umbra_error *err)
{
	blkid_probe probe = blkid_new_probe_from_filename(path);
	const char *type = "something";
	int r = 1; /* nothing */

	if (probe) {
		blkid_probe_enable_partitions(probe, 1);
		r = blkid_do_safeprobe(probe); /* negative: several things, or unreadable */
		if (r == 0 && blkid_probe_lookup_value(probe, "TYPE", &type, NULL) < 0)
			blkid_probe_lookup_value(probe, "PTTYPE", &type, NULL);
	}
	if (r != 1)
		umbra_fail(err, UMBRA_E_EXISTS, EEXIST,
			   "there is %s on '%s' already: --force gives it up for a diff area", type,
			   path);
	blkid_free_probe(probe);
	return r == 1 ? 0 : -EEXIST;
}

/* blkid does not know ours; it may be that of a volume that is not there at the moment. */
static int check_area(const struct umbra_area *a, struct umbra_error *err)
{
	static const uint64_t superblocks[] = {UMBRA_POOL_SLOT_A, UMBRA_POOL_SLOT_B};
	char block[UMBRA_POOL_BLOCK];
	size_t i;
	int r = 0;

	for (i = 0; r == 0 && i < UMBRA_ARRAY_SIZE(superblocks); i++) {
		r = umbra_area_read(a, superblocks[i], block, sizeof(block), err);
		if (r == 0 && umbra_pool_encoded_length(block) > 0)
			return umbra_fail(
				err, UMBRA_E_EXISTS, EEXIST,
				"there is a diff area of umbra on '%s' already, which may "
				"have the shadow copies of another volume: --force gives "
				"them up",
				a->place);
	}
	return r;
}

static int make_device(const struct umbra_area_request *request, dev_t dev, struct umbra_area *a,
		       struct umbra_error *err)
{
	_cleanup_close_ int alone = -1;
	uint64_t bytes;
	int r = check_elsewhere(request, dev, err);

	if (r == 0 && !request->force)
		r = check_signature(request->place, err);
	if (r < 0)
		return r;
	/* Nobody has it mounted or mapped. As long as we have it so, our own device could not. */
	alone = open(request->place, O_RDWR | O_EXCL | O_CLOEXEC);
	if (alone < 0 && errno == EBUSY)
		return umbra_fail(
			err, UMBRA_E_BUSY, EBUSY,
			"'%s' is in use, mounted or below another device ('lsblk %s' shows "
			"how): a diff area needs a device of its own",
			request->place, request->place);
	if (alone < 0)
		return umbra_fail_errno(err, errno, "cannot have '%s' for a diff area",
					request->place);
	a->io = umbra_area_open_again(alone, O_RDWR | O_DIRECT);
	if (a->io < 0)
		return umbra_fail_errno(err, a->io, "'%s' cannot be read past the page cache",
					request->place);
	if (ioctl(a->io, BLKGETSIZE64, &bytes) < 0)
		return umbra_fail_errno(err, errno, "cannot tell the size of '%s'", request->place);
	if (request->bytes > round_down(bytes))
		return umbra_fail(err, UMBRA_E_NO_SPACE, ENOSPC,
				  "'%s' has %llu MiB, less than the %llu MiB that were asked for: "
				  "without --size all of it is used",
				  request->place, (unsigned long long)bytes >> 20,
				  (unsigned long long)request->bytes >> 20);
	if (request->bytes && request->bytes < UMBRA_AREA_MIN)
		return asked_for_less(request->bytes, err);
	a->bytes = round_down(request->bytes ? request->bytes : bytes);
	if (a->bytes < UMBRA_AREA_MIN)
		return too_small(a->bytes, request->place, err);
	return request->force ? 0 : check_area(a, err);
}

int umbra_area_create(const struct umbra_area_request *request, struct umbra_area **out,
		      struct umbra_error *err)
{
	_cleanup_area_ struct umbra_area *a = umbra_area_alloc();
	struct stat st;
	int r;

	if (!a)
		return umbra_oom(err);
	umbra_id_new(&a->id);
	a->origin = a->base = request->origin;
	if (!request->place) {
		a->kind = UMBRA_AREA_INSIDE;
		r = make_inside(request, a, err);
	} else if (!(a->place = strdup(request->place))) {
		return umbra_oom(err);
	} else if (stat(request->place, &st) == 0 && S_ISBLK(st.st_mode)) {
		a->kind = UMBRA_AREA_DEVICE;
		r = make_device(request, st.st_rdev, a, err);
	} else if (strncmp(request->place, "/dev/", 5) == 0 && lstat(request->place, &st) < 0 &&
		   errno == ENOENT) {
		return umbra_fail(err, UMBRA_E_NOT_FOUND, ENOENT,
				  "the block device '%s' does not exist: activate it, or name "
				  "another",
				  request->place);
	} else {
		a->kind = UMBRA_AREA_FILE;
		r = make_file(request, a, err);
	}
	if (r == 0)
		*out = TAKE_PTR(a);
	return r;
}

int umbra_area_publish(struct umbra_area *a, struct umbra_error *err)
{
	const char *slash = strrchr(a->place, '/');

	int r;

	if (a->file < 0)
		return 0;
	r = umbra_fixed_publish(a->file, a->dir, slash + 1, a->kind == UMBRA_AREA_INSIDE, err);
	if (r < 0)
		return r;
	a->file = umbra_close(a->file);
	a->dir = umbra_close(a->dir);
	return 0;
}
