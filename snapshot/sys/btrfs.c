/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/sys/btrfs.h"

#include <btrfsutil.h>
#include <errno.h>
#include <linux/btrfs.h>
#include <linux/btrfs_tree.h>
#include <linux/fs.h> /* FS_IOC_GETFSLABEL */
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <uuid/uuid.h>

#include "common/util.h"

/* libbtrfsutil leaves the reason in errno. */
static int result(enum btrfs_util_error e)
{
	if (e == BTRFS_UTIL_OK)
		return 0;
	return errno > 0 ? -errno : -EIO;
}

bool umbra_btrfs_is(int fd)
{
	struct statfs sfs;

	return fstatfs(fd, &sfs) == 0 && sfs.f_type == BTRFS_SUPER_MAGIC;
}

bool umbra_btrfs_is_subvolume(int fd)
{
	struct stat st;

	return umbra_btrfs_is(fd) && fstat(fd, &st) == 0 && st.st_ino == BTRFS_FIRST_FREE_OBJECTID;
}

int umbra_btrfs_privileged(int fd)
{
	uint64_t id;

	/* Searches a tree, which is what needs the privilege. */
	return result(btrfs_util_get_default_subvolume_fd(fd, &id));
}

int umbra_btrfs_filesystem(int fd, struct umbra_btrfs_filesystem *out)
{
	struct btrfs_ioctl_fs_info_args info = {0};
	char label[BTRFS_LABEL_SIZE] = "";

	if (ioctl(fd, BTRFS_IOC_FS_INFO, &info) < 0 || ioctl(fd, BTRFS_IOC_GET_FSLABEL, label) < 0)
		return -errno;
	*out = (struct umbra_btrfs_filesystem){.last_device = info.max_id};
	uuid_unparse_lower(info.fsid, out->uuid.s);
	memcpy(out->label, label, sizeof(out->label) - 1);
	return 0;
}

int umbra_btrfs_device(int fd, const struct umbra_btrfs_filesystem *fs, uint64_t *id,
		       char path[UMBRA_BTRFS_PATH_MAX])
{
	struct btrfs_ioctl_dev_info_args info;
	uint64_t i;

	for (i = *id; i <= fs->last_device; i++) {
		info = (struct btrfs_ioctl_dev_info_args){.devid = i};
		if (ioctl(fd, BTRFS_IOC_DEV_INFO, &info) < 0) {
			if (errno == ENODEV)
				continue;
			return -errno;
		}
		if (info.path[0] != '/')
			continue;
		snprintf(path, UMBRA_BTRFS_PATH_MAX, "%.*s", (int)sizeof(info.path) - 1,
			 (const char *)info.path);
		*id = i;
		return 0;
	}
	return -ENODEV;
}

static void convert(const struct btrfs_util_subvolume_info *info, struct umbra_btrfs_subvolume *out)
{
	*out = (struct umbra_btrfs_subvolume){
		.id = info->id,
		.born = info->otransid,
		.is_snapshot = !uuid_is_null(info->parent_uuid),
		.read_only = info->flags & BTRFS_ROOT_SUBVOL_RDONLY,
	};
	uuid_unparse_lower(info->uuid, out->uuid.s);
}

int umbra_btrfs_subvolume(int fd, struct umbra_btrfs_subvolume *out)
{
	struct btrfs_util_subvolume_info info;
	int r = result(btrfs_util_subvolume_info_fd(fd, 0, &info));

	if (r == 0)
		convert(&info, out);
	return r;
}

int umbra_btrfs_subvolume_path(int fd, char **out)
{
	return result(btrfs_util_subvolume_path_fd(fd, 0, out));
}

/* As strcmp(), but what is below "a" comes before "a b". */
static int by_path(const void *a, const void *b)
{
	const struct umbra_btrfs_nested *na = a, *nb = b;
	const unsigned char *x = (const unsigned char *)na->path;
	const unsigned char *y = (const unsigned char *)nb->path;

	while (*x && *x == *y) {
		x++;
		y++;
	}
	if (*x == *y)
		return 0;
	if (!*x || (*y && *x == '/'))
		return -1;
	if (!*y || *y == '/')
		return 1;
	return *x < *y ? -1 : 1;
}

static int append(struct umbra_btrfs_nested_list *list,
		  const struct btrfs_util_subvolume_info *info, char *path)
{
	struct umbra_btrfs_nested *more;

	if ((list->n & (list->n - 1)) == 0) { /* grows by doubling */
		more = reallocarray(list->v, list->n ? list->n * 2 : 1, sizeof(*more));
		if (!more)
			return -ENOMEM;
		list->v = more;
	}
	list->v[list->n].path = path;
	convert(info, &list->v[list->n].subvolume);
	list->n++;
	return 0;
}

static int iterate(struct btrfs_util_subvolume_iterator *it, struct umbra_btrfs_nested_list *list)
{
	struct btrfs_util_subvolume_info info;
	enum btrfs_util_error e;

	for (;;) {
		_cleanup_free_ char *path = NULL;

		e = btrfs_util_subvolume_iterator_next_info(it, &path, &info);
		if (e == BTRFS_UTIL_ERROR_STOP_ITERATION)
			return 0;
		if (e == BTRFS_UTIL_ERROR_SUBVOLUME_NOT_FOUND)
			continue; /* deleted since it was listed */
		if (e != BTRFS_UTIL_OK)
			return result(e);
		if (append(list, &info, path) < 0)
			return -ENOMEM;
		path = NULL;
	}
}

static int list_once(int fd, struct umbra_btrfs_nested_list *out)
{
	_cleanup_btrfs_nested_ struct umbra_btrfs_nested_list list = {0};
	struct btrfs_util_subvolume_iterator *it;
	uint64_t id;
	int r = result(btrfs_util_subvolume_id_fd(fd, &id));

	/* A top of 0 would be the unprivileged way, which leaves out what it cannot enter. */
	if (r == 0)
		r = result(btrfs_util_create_subvolume_iterator_fd(fd, id, 0, &it));
	if (r < 0)
		return r;
	r = iterate(it, &list);
	btrfs_util_destroy_subvolume_iterator(it);
	if (r < 0)
		return r;
	*out = list;
	list = (struct umbra_btrfs_nested_list){0};
	return 0;
}

int umbra_btrfs_nested(int fd, struct umbra_btrfs_nested_list *out)
{
	int r, tries = 0;

	do /* a directory that is deleted while its name is looked up ends the listing */
		r = list_once(fd, out);
	while (r == -ENOENT && ++tries < 5);
	if (r == 0 && out->n > 1)
		qsort(out->v, out->n, sizeof(*out->v), by_path);
	return r;
}

void umbra_btrfs_nested_finish(struct umbra_btrfs_nested_list *list)
{
	size_t i;

	for (i = 0; i < list->n; i++)
		free(list->v[i].path);
	free(list->v);
	*list = (struct umbra_btrfs_nested_list){0};
}

int umbra_btrfs_snapshot(int source, int dir, const char *name)
{
	return result(btrfs_util_create_snapshot_fd2(
		source, dir, name, BTRFS_UTIL_CREATE_SNAPSHOT_READ_ONLY, NULL, NULL));
}

int umbra_btrfs_delete(int dir, const char *name)
{
	return result(btrfs_util_delete_subvolume_fd(dir, name, 0));
}

int umbra_btrfs_commit(int fd)
{
	uint64_t transaction;
	int r = result(btrfs_util_start_sync_fd(fd, &transaction));

	return r < 0 ? r : result(btrfs_util_wait_sync_fd(fd, transaction));
}
