/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Where an area's file or device is, and whether it is what it was. */
#include <fcntl.h>
#include <libmount/libmount.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "snapshot/provider/dm/device/area_parts.h"
#include "snapshot/provider/dm/pool/pool_disk.h"

char *umbra_area_parent_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash == path ? strdup("/") : strndup(path, (size_t)(slash - path));
}

/* --- where it is mounted --- */

static void unref_table(struct libmnt_table **tb)
{
	mnt_unref_table(*tb);
}

static void unref_iter(struct libmnt_iter **it)
{
	mnt_free_iter(*it);
}

int umbra_area_open_mounted(dev_t dev, char **path)
{
	_cleanup_(unref_table) struct libmnt_table *tb = mnt_new_table();
	_cleanup_(unref_iter) struct libmnt_iter *it = mnt_new_iter(MNT_ITER_BACKWARD);
	struct libmnt_fs *fs;
	struct stat st;
	int fd;

	if (!tb || !it)
		return -ENOMEM;
	if (mnt_table_parse_file(tb, "/proc/self/mountinfo") != 0)
		return -ENOENT;
	while (mnt_table_next_fs(tb, it, &fs) == 0) {
		if (mnt_fs_get_devno(fs) != dev || strcmp(mnt_fs_get_root(fs), "/") != 0)
			continue;
		fd = umbra_open_real(mnt_fs_get_target(fs), O_RDONLY | O_DIRECTORY);
		if (fd >= 0 && fstat(fd, &st) == 0 && st.st_dev == dev) {
			if (path)
				*path = strdup(mnt_fs_get_target(fs));
			return fd;
		}
		umbra_close(fd);
	}
	return -ENOENT;
}

char *umbra_area_mounted_at(dev_t dev, const char *was)
{
	const int flags = AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC;
	char *path = NULL;
	struct statx sx;

	if (statx(AT_FDCWD, was, flags, 0, &sx) == 0 &&
	    makedev(sx.stx_dev_major, sx.stx_dev_minor) == dev)
		return strdup(was);
	umbra_close(umbra_area_open_mounted(dev, &path));
	return path;
}

/* --- finding --- */

static int moved(const struct umbra_area *a, struct umbra_error *err)
{
	return umbra_fail(
		err, UMBRA_E_DAMAGED, EBADMSG,
		"the diff area '%s' is not where it was: somebody has changed the file, and "
		"the copies in it are lost",
		a->place);
}

bool umbra_area_begins(const struct umbra_area *a, const struct umbra_fixed_extent *now, size_t n)
{
	const struct umbra_fixed_extent *e;
	uint64_t length, left = a->bytes;
	size_t i;

	for (i = 0; left > 0 && i < n && i < a->n_extents; i++) {
		e = &a->extents[i];
		length = e->length < left ? e->length : left;
		left -= length;
		if (now[i].physical != e->physical || now[i].length < length ||
		    (left > 0 && now[i].length != length))
			return false;
	}
	return left == 0;
}

/* A filesystem that was shut down or is damaged cannot say where the file is, which is not to say
 * that it is elsewhere. */
static int unknown(const struct umbra_area *a, int errnum, struct umbra_error *err)
{
	return umbra_fail_errno(err, errnum == EUCLEAN || errnum == EBADMSG ? EIO : errnum,
				"cannot look at the diff area '%s'", a->place);
}

static int compare_extents(const struct umbra_area *a, int fd, struct umbra_error *err)
{
	_cleanup_free_ struct umbra_fixed_extent *now = NULL;
	int fixed = umbra_fixed_is(fd);
	bool same;
	size_t n;
	int r = fixed < 0 ? fixed : umbra_fixed_extents(fd, &now, &n, err);

	if (r == -EOPNOTSUPP || r == -E2BIG) /* it has holes, say */
		return moved(a, err);
	if (r < 0)
		return unknown(a, -r, err);
	if (a->resizing)
		same = umbra_area_begins(a, now, n);
	else
		same = fixed && n == a->n_extents && memcmp(now, a->extents, n * sizeof(*now)) == 0;
	return same ? 0 : moved(a, err);
}

/* Only where there is nothing, or something else, it is gone. */
static int cannot_open(const struct umbra_area *a, int errnum, struct umbra_error *err)
{
	if (errnum == ENOTDIR || errnum == ELOOP)
		return moved(a, err);
	if (errnum != ENOENT)
		return unknown(a, errnum, err);
	return umbra_fail(err, UMBRA_E_DAMAGED, ENOENT, "the diff area '%s' is gone", a->place);
}

/* dir: UMBRA_AREA_DIR. */
static int compare_file(const struct umbra_area *a, int dir, struct umbra_error *err)
{
	_cleanup_close_ int fd =
		openat(dir, UMBRA_AREA_NAME, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

	return fd < 0 ? cannot_open(a, errno, err) : compare_extents(a, fd, err);
}

int umbra_area_is_in(const struct umbra_area *a, int dir, struct umbra_error *err)
{
	_cleanup_close_ int own = -1;

	if (a->kind != UMBRA_AREA_INSIDE)
		return 0;
	own = openat(dir, UMBRA_AREA_DIR, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return own < 0 ? cannot_open(a, errno, err) : compare_file(a, own, err);
}

int umbra_area_open_dir(const struct umbra_area *a)
{
	_cleanup_free_ char *parent = umbra_area_parent_of(a->place);
	_cleanup_close_ int dir = -1;
	struct stat st;

	if (!parent)
		return -ENOMEM;
	dir = umbra_open_real(parent, O_RDONLY | O_DIRECTORY);
	if (dir < 0 ||
	    (a->kind == UMBRA_AREA_INSIDE && (fstat(dir, &st) < 0 || st.st_dev != a->origin)))
		return dir == -ENOMEM ? dir : -ENOENT;
	return TAKE_FD(dir);
}

/* Where the volume is mounted the file can be looked at; else its blocks are what was recorded. */
static int look_inside(struct umbra_area *a, bool at_it, struct umbra_error *err)
{
	_cleanup_close_ int dir = umbra_area_open_dir(a), top = -1;
	_cleanup_free_ char *mount = NULL, *path = NULL;
	struct umbra_area_look before;
	bool looked;
	int r = 0;

	if (dir == -ENOENT)
		top = umbra_area_open_mounted(a->origin, &mount);
	if (dir == -ENOMEM || top == -ENOMEM)
		return umbra_oom(err);
	if (dir < 0 && top < 0)
		return 0;
	if (dir >= 0)
		path = strdup(a->place);
	else if (mount)
		path = umbra_asprintf("%s/" UMBRA_AREA_DIR "/" UMBRA_AREA_NAME, mount);
	looked = path && umbra_area_look_at(path, &before);
	if (!at_it)
		r = dir < 0 ? umbra_area_is_in(a, top, err) : compare_file(a, dir, err);
	a->compared = r == 0;
	if (r == 0 && looked && !at_it)
		umbra_area_seen(a, path, &before);
	return r == -EIO ? 0 : r; /* as if it were not mounted */
}

static int find_inside(struct umbra_area *a, bool at_it, struct umbra_error *err)
{
	enum umbra_area_glance glance = at_it ? UMBRA_AREA_UNKNOWN : umbra_area_glance(a);

	if (glance == UMBRA_AREA_UNKNOWN)
		return look_inside(a, at_it, err);
	a->compared = glance == UMBRA_AREA_KNOWN;
	a->too_soon = glance == UMBRA_AREA_TOO_SOON;
	return 0;
}

int umbra_area_find(struct umbra_area *a, bool at_it, struct umbra_error *err)
{
	uint64_t bytes = 0;
	struct stat st;

	if (a->kind == UMBRA_AREA_INSIDE)
		return find_inside(a, at_it, err);
	a->io = open(a->place, O_RDWR | O_DIRECT | O_CLOEXEC | O_NOFOLLOW);
	if (a->io < 0 && errno == ELOOP) /* devices are named by links */
		a->io = a->kind == UMBRA_AREA_DEVICE ? open(a->place, O_RDWR | O_DIRECT | O_CLOEXEC)
						     : -1;
	if (a->io < 0 || fstat(a->io, &st) < 0)
		return umbra_fail_errno(err, errno, "cannot open the diff area '%s'", a->place);
	if (a->kind == UMBRA_AREA_FILE)
		bytes = S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
	else if (!S_ISBLK(st.st_mode) || ioctl(a->io, BLKGETSIZE64, &bytes) < 0)
		bytes = 0;
	return bytes < a->bytes ? moved(a, err) : 0;
}

/* The directory of umbra's on the volume, wherever that is mounted. -ENOENT: it has none (any
 * more); -ENODEV: it is not mounted. */
static int open_own_dir(const struct umbra_area *a)
{
	_cleanup_close_ int top = -1;
	int dir = umbra_area_open_dir(a);

	if (dir != -ENOENT)
		return dir;
	top = umbra_area_open_mounted(a->origin, NULL);
	if (top < 0)
		return -ENODEV;
	dir = openat(top, UMBRA_AREA_DIR, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return dir < 0 ? -errno : dir;
}

static int destroy_inside(const struct umbra_area *a, struct umbra_error *err)
{
	_cleanup_close_ int dir = open_own_dir(a), top = -1;
	int r;

	if (dir == -ENOENT)
		return 0; /* somebody has removed it */
	if (dir < 0)
		return umbra_fail(err, UMBRA_E_NOT_FOUND, ENOENT,
				  "the file '%s' cannot be removed, as its volume is not mounted: "
				  "mount it, and remove the directory (chattr -R -i, rm -r)",
				  a->place);
	r = umbra_fixed_remove(dir, UMBRA_AREA_NAME, err);
	top = openat(dir, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (r == 0 && top >= 0)
		unlinkat(top, UMBRA_AREA_DIR, AT_REMOVEDIR);
	return r;
}

static const uint64_t superblocks[] = {UMBRA_POOL_SLOT_A, UMBRA_POOL_SLOT_B};

/* Is there a superblock of this area? 1, 0 or negative. */
static int has_superblock(const struct umbra_area *a, uint64_t at, struct umbra_error *err)
{
	char block[UMBRA_POOL_BLOCK];
	struct umbra_id id;
	int r = umbra_area_read(a, at, block, sizeof(block), err);

	if (r < 0)
		return r;
	umbra_pool_encoded_area(block, &id);
	return strcmp(id.s, a->id.s) == 0;
}

/* A device is nobody's any more, if it was ours. */
static int wipe(const struct umbra_area *a, struct umbra_error *err)
{
	size_t i;
	int r = 0;

	for (i = 0; r >= 0 && i < UMBRA_ARRAY_SIZE(superblocks); i++) {
		r = has_superblock(a, superblocks[i], err);
		if (r > 0)
			r = umbra_area_zero(a, superblocks[i], UMBRA_POOL_BLOCK, err);
	}
	return r < 0 ? r : umbra_area_flush(a, err);
}

/* One that cannot be read is taken for ours, as its name is. */
static bool is_anothers(const struct umbra_area *a)
{
	size_t i;

	for (i = 0; i < UMBRA_ARRAY_SIZE(superblocks); i++)
		if (has_superblock(a, superblocks[i], NULL) != 0)
			return false;
	return true;
}

static int destroy_file(const struct umbra_area *a, struct umbra_error *err)
{
	_cleanup_close_ int dir = umbra_area_open_dir(a);

	if (dir < 0)
		return umbra_fail(err, UMBRA_E_NOT_FOUND, ENOENT,
				  "the directory of the file '%s' is not there, so it cannot be "
				  "removed: remove it when it is",
				  a->place);
	if (is_anothers(a))
		return umbra_fail(err, UMBRA_E_DAMAGED, EBADMSG,
				  "the file '%s' is left alone: it does not begin as the diff area "
				  "did, so it is another one by now",
				  a->place);
	return umbra_fixed_remove(dir, strrchr(a->place, '/') + 1, err);
}

int umbra_area_destroy(struct umbra_area *a, struct umbra_error *err)
{
	if (a->kind == UMBRA_AREA_DEVICE)
		return wipe(a, err);
	return a->kind == UMBRA_AREA_INSIDE ? destroy_inside(a, err) : destroy_file(a, err);
}
