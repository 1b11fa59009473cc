/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/sys/mounted.h"

#include <libmount/libmount.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "common/util.h"

static void unref_table(struct libmnt_table **tb)
{
	mnt_unref_table(*tb);
}

static void free_iter(struct libmnt_iter **it)
{
	mnt_free_iter(*it);
}

/* The newest mount of it; *out is NULL when there is none. *tb keeps it. */
static int find_mount(dev_t dev, struct libmnt_table *tb, struct libmnt_fs **out,
		      struct umbra_error *err)
{
	_cleanup_(free_iter) struct libmnt_iter *it = mnt_new_iter(MNT_ITER_BACKWARD);
	struct libmnt_fs *fs;

	if (!it || !tb)
		return umbra_oom(err);
	if (mnt_table_parse_file(tb, "/proc/self/mountinfo") != 0)
		return umbra_fail(err, UMBRA_E_INTERNAL, EIO,
				  "cannot read /proc/self/mountinfo: is /proc mounted?");
	*out = NULL;
	while (!*out && mnt_table_next_fs(tb, it, &fs) == 0)
		if (mnt_fs_get_devno(fs) == dev)
			*out = fs;
	return 0;
}

int umbra_mounted_at(dev_t dev, char **out, struct umbra_error *err)
{
	_cleanup_(unref_table) struct libmnt_table *tb = mnt_new_table();
	struct libmnt_fs *fs = NULL;
	int r = find_mount(dev, tb, &fs, err);

	if (r < 0)
		return r;
	*out = fs ? strdup(mnt_fs_get_target(fs)) : NULL;
	return fs && !*out ? umbra_oom(err) : 0;
}

static bool has_option(struct libmnt_fs *fs, const char *name)
{
	/* The filesystem's own, which are the same at all of its mounts. */
	const char *all = mnt_fs_get_fs_options(fs);

	return all && mnt_optstr_get_option(all, name, NULL, NULL) == 0;
}

int umbra_mounted_untouched(dev_t dev, struct umbra_error *err)
{
	_cleanup_(unref_table) struct libmnt_table *tb = mnt_new_table();
	struct libmnt_fs *fs = NULL;
	int r = find_mount(dev, tb, &fs, err);

	return r < 0 || !fs ? r : has_option(fs, "ro") && has_option(fs, "norecovery");
}

static int unmount_one(const char *place, dev_t dev, struct umbra_error *err)
{
	struct stat st;

	if (stat(place, &st) < 0 || st.st_dev != dev)
		return umbra_fail(err, UMBRA_E_BUSY, EBUSY,
				  "something else is mounted over '%s': unmount that first", place);
	if (umount2(place, UMOUNT_NOFOLLOW) == 0)
		return 0;
	if (errno == EBUSY)
		return umbra_fail(
			err, UMBRA_E_BUSY, EBUSY,
			"'%s' is in use and cannot be unmounted ('fuser -vm' shows by whom)",
			place);
	return umbra_fail_errno(err, errno, "cannot unmount '%s'", place);
}

int umbra_unmount(dev_t dev, struct umbra_error *err)
{
	int r;

	for (;;) {
		_cleanup_free_ char *place = NULL;

		r = umbra_mounted_at(dev, &place, err);
		if (r < 0 || !place)
			return r;
		r = unmount_one(place, dev, err);
		if (r < 0)
			return r;
	}
}
