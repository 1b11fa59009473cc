/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/volume.h"

#include <blkid/blkid.h>
#include <fcntl.h>
#include <libmount/libmount.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/id.h"
#include "snapshot/sys/suspended.h"

/* How long a volume may be held whose UUID is asked for. */
#define HELD_MS 1000

/* Libmount calls these pseudo filesystems; they hold files of people all the same. */
static const char *const real_all_the_same[] = {"tmpfs", "ramfs", "overlay", "rootfs", "virtiofs"};

static bool is_fuse(const char *fstype)
{
	return strcmp(fstype, "fuse") == 0 || strcmp(fstype, "fuseblk") == 0 ||
	       strncmp(fstype, "fuse.", 5) == 0;
}

static bool is_pseudo(const char *fstype)
{
	size_t i;

	for (i = 0; i < UMBRA_ARRAY_SIZE(real_all_the_same); i++)
		if (strcmp(fstype, real_all_the_same[i]) == 0)
			return false;
	return mnt_fstype_is_pseudofs(fstype);
}

static bool usable(const char *fstype)
{
	/* fuseblk is a real disk (ntfs-3g, exfat), kept by a daemon that can be waited for. */
	return strcmp(fstype, "fuseblk") == 0 || (!is_fuse(fstype) && !is_pseudo(fstype));
}

struct umbra_volume *umbra_volume_free(struct umbra_volume *v)
{
	if (!v)
		return NULL;
	free(v->path);
	free(v->mount);
	free(v->fstype);
	free(v->source);
	free(v->root);
	free(v->uuid);
	free(v);
	return NULL;
}

static int dup_to(char **out, const char *s)
{
	if (!s)
		return 0;
	*out = strdup(s);
	return *out ? 0 : -ENOMEM;
}

struct umbra_volume *umbra_volume_dup(const struct umbra_volume *v, const char *path)
{
	struct umbra_volume *copy = calloc(1, sizeof(*copy));

	if (!copy)
		return NULL;
	copy->dev = v->dev;
	copy->read_only = v->read_only;
	if (dup_to(&copy->path, path) < 0 || dup_to(&copy->mount, v->mount) < 0 ||
	    dup_to(&copy->fstype, v->fstype) < 0 || dup_to(&copy->source, v->source) < 0 ||
	    dup_to(&copy->root, v->root) < 0 || dup_to(&copy->uuid, v->uuid) < 0)
		return umbra_volume_free(copy);
	return copy;
}

void umbra_volume_list_finish(struct umbra_volume_list *list)
{
	size_t i;

	for (i = 0; i < list->n; i++)
		umbra_volume_free(list->v[i]);
	free(list->v);
	*list = (struct umbra_volume_list){0};
}

int umbra_volume_list_add(struct umbra_volume_list *list, struct umbra_volume *v)
{
	struct umbra_volume **more = reallocarray(list->v, list->n + 1, sizeof(*more));

	if (!more) {
		umbra_volume_free(v);
		return -ENOMEM;
	}
	list->v = more;
	list->v[list->n++] = v;
	return 0;
}

static void unref_table(struct libmnt_table **tb)
{
	mnt_unref_table(*tb);
}

static void free_iter(struct libmnt_iter **it)
{
	mnt_free_iter(*it);
}

/* In a chroot that is no mount point the table has no "/", and most paths would lie on nothing. */
static int add_root(struct libmnt_table *tb)
{
	struct libmnt_fs *fs;
	int r;

	if (mnt_table_find_target(tb, "/", MNT_ITER_FORWARD))
		return 0;
	fs = mnt_new_fs();
	r = !fs || mnt_fs_set_target(fs, "/") != 0 || mnt_fs_set_fstype(fs, "unknown") != 0 ||
			    mnt_table_add_fs(tb, fs) != 0
		    ? -ENOMEM
		    : 0;
	mnt_unref_fs(fs);
	return r;
}

static int mount_table(struct libmnt_table **out, struct umbra_error *err)
{
	struct libmnt_table *tb = mnt_new_table();
	int r;

	if (!tb)
		return umbra_oom(err);
	r = mnt_table_parse_file(tb, "/proc/self/mountinfo");
	if (r != 0) {
		mnt_unref_table(tb);
		return umbra_fail(err, UMBRA_E_INTERNAL, EIO,
				  "cannot read /proc/self/mountinfo: is /proc mounted?");
	}
	if (add_root(tb) < 0) {
		mnt_unref_table(tb);
		return umbra_oom(err);
	}
	*out = tb;
	return 0;
}

/*
 * The UUID in the superblock, read from the device: only root can. The high-level blkid calls are
 * not used because they search all devices and write a cache.
 */
static char *read_uuid(const char *device, const char *fstype)
{
	char *names[] = {(char *)(uintptr_t)fstype, NULL}, *uuid = NULL;
	blkid_probe probe = blkid_new_probe_from_filename(device);
	const char *value;

	if (!probe)
		return NULL;
	blkid_probe_enable_superblocks(probe, 1);
	blkid_probe_set_superblocks_flags(probe, BLKID_SUBLKS_UUID);
	blkid_probe_filter_superblocks_type(probe, BLKID_FLTR_ONLYIN, names);
	if (blkid_do_safeprobe(probe) == 0 &&
	    blkid_probe_lookup_value(probe, "UUID", &value, NULL) == 0)
		uuid = strdup(value);
	blkid_free_probe(probe);
	return uuid;
}

static int fill(struct umbra_volume *v, const char *path, struct libmnt_fs *fs)
{
	struct stat st;

	if (dup_to(&v->path, path) < 0 || dup_to(&v->mount, mnt_fs_get_target(fs)) < 0 ||
	    dup_to(&v->fstype, mnt_fs_get_fstype(fs)) < 0 ||
	    dup_to(&v->source, mnt_fs_get_srcpath(fs)) < 0 ||
	    dup_to(&v->root, mnt_fs_get_root(fs)) < 0)
		return -ENOMEM;
	if (stat(path, &st) < 0)
		return -errno;
	v->dev = st.st_dev;
	v->read_only = mnt_fs_match_options(fs, "ro") == 1;
	if (v->source && stat(v->source, &st) == 0 && S_ISBLK(st.st_mode) &&
	    umbra_refuse_suspended(st.st_rdev, HELD_MS, NULL) == 0)
		v->uuid = read_uuid(v->source, v->fstype);
	return 0;
}

/* The topmost mount at or above path is the last one in the table with the longest target. */
static struct libmnt_fs *mount_of(struct libmnt_table *tb, const char *path)
{
	_cleanup_(free_iter) struct libmnt_iter *it = mnt_new_iter(MNT_ITER_FORWARD);
	struct libmnt_fs *fs, *best = NULL;
	size_t len, longest = 0;
	const char *target;

	while (it && mnt_table_next_fs(tb, it, &fs) == 0) {
		target = mnt_fs_get_target(fs);
		if (!target || !umbra_path_below(path, target))
			continue;
		len = strlen(target);
		if (len >= longest) {
			longest = len;
			best = fs;
		}
	}
	return best;
}

static int refuse(const char *path, const char *fstype, struct umbra_error *err)
{
	if (is_fuse(fstype))
		return umbra_fail(err, UMBRA_E_UNSUPPORTED, EOPNOTSUPP,
				  "'%s' lies on a FUSE filesystem (%s), which cannot be copied "
				  "reliably: name the directory that it shows instead",
				  path, fstype);
	return umbra_fail(err, UMBRA_E_UNSUPPORTED, EOPNOTSUPP,
			  "'%s' lies on a pseudo filesystem (%s), which holds no files to copy",
			  path, fstype);
}

/* The path's filesystem type without touching what a dead FUSE daemon would block. */
int umbra_volume_resolve(const char *path, struct umbra_volume **out, struct umbra_error *err)
{
	_cleanup_volume_ struct umbra_volume *v = calloc(1, sizeof(*v));
	_cleanup_(unref_table) struct libmnt_table *tb = NULL;
	_cleanup_free_ char *real = NULL;
	struct libmnt_fs *fs;
	struct stat st;
	int r;

	if (!v)
		return umbra_oom(err);
	r = umbra_absolute_path(path, false, &real);
	if (r == -ENOENT)
		return umbra_fail(err, UMBRA_E_NOT_FOUND, ENOENT, "'%s' does not exist", path);
	if (r < 0)
		return umbra_fail_errno(err, r, "cannot reach '%s'", path);
	r = mount_table(&tb, err);
	if (r < 0)
		return r;
	fs = mount_of(tb, real);
	if (!fs)
		return umbra_fail(err, UMBRA_E_NOT_FOUND, ENOENT,
				  "'%s' lies on no filesystem that is mounted here", real);
	if (!usable(mnt_fs_get_fstype(fs)))
		return refuse(real, mnt_fs_get_fstype(fs), err);
	if (stat(real, &st) < 0)
		return umbra_fail_errno(err, errno, "cannot look at '%s'", real);
	if (!S_ISDIR(st.st_mode))
		return umbra_fail(err, UMBRA_E_NOT_FOUND, ENOTDIR,
				  "'%s' is not a directory: name the directory that holds it",
				  real);
	r = fill(v, real, fs);
	if (r < 0)
		return umbra_fail_errno(err, r, "cannot look at '%s'", real);
	*out = TAKE_PTR(v);
	return 0;
}

bool umbra_volume_whole_at(const char *path, dev_t *device)
{
	_cleanup_(unref_table) struct libmnt_table *tb = NULL;
	struct libmnt_fs *fs = mount_table(&tb, NULL) < 0 ? NULL : mount_of(tb, path);
	const char *root = fs ? mnt_fs_get_root(fs) : NULL;

	if (!root || strcmp(root, "/") != 0 || strcmp(mnt_fs_get_target(fs), path) != 0)
		return false;
	*device = mnt_fs_get_devno(fs);
	return true;
}

static bool hidden_by_later(struct libmnt_table *tb, struct libmnt_fs *fs)
{
	return mount_of(tb, mnt_fs_get_target(fs)) != fs;
}

int umbra_volume_list_mounted(struct umbra_volume_list *out, struct umbra_error *err)
{
	_cleanup_(free_iter) struct libmnt_iter *it = mnt_new_iter(MNT_ITER_FORWARD);
	_cleanup_(unref_table) struct libmnt_table *tb = NULL;
	_cleanup_volume_list_ struct umbra_volume_list list = {0};
	struct umbra_volume *v;
	struct libmnt_fs *fs;
	struct stat st;
	int r = mount_table(&tb, err);

	if (r < 0)
		return r;
	while (it && mnt_table_next_fs(tb, it, &fs) == 0) {
		if (!usable(mnt_fs_get_fstype(fs)) || hidden_by_later(tb, fs) ||
		    stat(mnt_fs_get_target(fs), &st) < 0 || !S_ISDIR(st.st_mode))
			continue;
		v = calloc(1, sizeof(*v));
		if (!v)
			return umbra_oom(err);
		r = fill(v, mnt_fs_get_target(fs), fs);
		if (r < 0) {
			umbra_volume_free(v);
			if (r == -ENOMEM)
				return umbra_oom(err);
			continue; /* not for this user, or gone meanwhile */
		}
		if (umbra_volume_list_add(&list, v) < 0)
			return umbra_oom(err);
	}
	*out = list;
	list = (struct umbra_volume_list){0};
	return 0;
}

static int by_path(const void *a, const void *b)
{
	const struct umbra_mount_below *x = a, *y = b;

	return strcmp(x->path, y->path);
}

void umbra_mounts_below_free(struct umbra_mount_below *m, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++) {
		free(m[i].path);
		free(m[i].fstype);
		free(m[i].source);
	}
	free(m);
}

int umbra_volume_mounts_below(const char *path, struct umbra_mount_below **out, size_t *n,
			      struct umbra_error *err)
{
	_cleanup_(free_iter) struct libmnt_iter *it = mnt_new_iter(MNT_ITER_FORWARD);
	_cleanup_(unref_table) struct libmnt_table *tb = NULL;
	struct umbra_mount_below *list = NULL, *more, *m;
	struct libmnt_fs *fs;
	const char *below;
	size_t count = 0;
	int r = mount_table(&tb, err);

	if (r < 0)
		return r;
	while (it && mnt_table_next_fs(tb, it, &fs) == 0) {
		below = umbra_path_below(mnt_fs_get_target(fs), path);
		if (!below || !*below || hidden_by_later(tb, fs))
			continue;
		more = reallocarray(list, count + 1, sizeof(*more));
		if (!more)
			goto oom;
		list = more;
		m = &list[count++];
		*m = (struct umbra_mount_below){.usable = usable(mnt_fs_get_fstype(fs))};
		if (dup_to(&m->path, mnt_fs_get_target(fs)) < 0 ||
		    dup_to(&m->fstype, mnt_fs_get_fstype(fs)) < 0 ||
		    dup_to(&m->source, mnt_fs_get_source(fs)) < 0)
			goto oom;
	}
	if (count > 1)
		qsort(list, count, sizeof(*list), by_path);
	*out = list;
	*n = count;
	return 0;
oom:
	umbra_mounts_below_free(list, count);
	return umbra_oom(err);
}

#define VOLUME_NAME_MAX 200

/* FNV-1a: only has to tell long paths apart. */
static uint64_t hash(const char *s)
{
	uint64_t h = 0xcbf29ce484222325ULL;

	for (; *s; s++)
		h = (h ^ (unsigned char)*s) * 0x100000001b3ULL;
	return h;
}

static bool plain(char c, bool first)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == ':' || c == '_' || (c == '.' && !first);
}

char *umbra_volume_name(const char *path)
{
	size_t len = strlen(path), used = 0;
	char *out = malloc(len * 4 + 32);
	const char *p;

	if (!out)
		return NULL;
	while (*path == '/')
		path++;
	for (p = path; *p; p++) {
		if (*p == '/')
			out[used++] = '-';
		else if (plain(*p, p == path))
			out[used++] = *p;
		else
			used += (size_t)sprintf(out + used, "\\x%02x", (unsigned char)*p);
	}
	if (used == 0)
		out[used++] = '-';
	out[used] = '\0';
	if (used > VOLUME_NAME_MAX)
		sprintf(out + VOLUME_NAME_MAX - 20, "...%016llx", (unsigned long long)hash(path));
	return out;
}
