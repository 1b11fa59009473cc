/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/sys/held.h"

#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/doc.h"

#define VERSION  1
#define FILE_MAX (1U << 20)

int64_t umbra_boottime_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static const char *dir_path(void)
{
	const char *path = secure_getenv("UMBRA_TEST_HELD");

	return path && path[0] == '/' ? path : UMBRA_HELD_DIR;
}

static bool mine(const struct stat *st)
{
	return st->st_uid == geteuid() && (st->st_mode & 022) == 0;
}

int umbra_held_dir(bool make, int *dirfd, struct umbra_error *err)
{
	_cleanup_close_ int fd = -1;
	const char *path = dir_path();
	struct stat st;
	int r = make ? umbra_mkdir_all(path, 0755) : 0;

	if (r == 0)
		fd = umbra_open_real(path, O_RDONLY | O_DIRECTORY);
	if (r == 0 && fd < 0)
		r = fd;
	if (r == 0 && fstat(fd, &st) < 0)
		r = -errno;
	if (r < 0)
		return umbra_fail_errno(err, r, "cannot open '%s'", path);
	if (!mine(&st))
		return umbra_fail(
			err, UMBRA_E_PERMISSION, EPERM,
			"'%s' belongs to user %u, or others can write there: what it says "
			"is not believed; remove it",
			path, st.st_uid);
	*dirfd = TAKE_FD(fd);
	return 0;
}

static json_t *device_doc(const struct umbra_dm_device *d)
{
	json_t *doc = json_pack("{s:i,s:i}", "major", (int)d->major, "minor", (int)d->minor);

	if (!doc || umbra_doc_set_path(doc, "name", d->name) < 0 ||
	    (d->uuid[0] && umbra_doc_set_path(doc, "uuid", d->uuid) < 0)) {
		json_decref(doc);
		return NULL;
	}
	return doc;
}

static char *text_of(const struct umbra_held *held)
{
	json_t *devices = json_array();
	_cleanup_json_ json_t *doc =
		json_pack("{s:i,s:i,s:I,s:o}", "v", VERSION, "owner", (int)held->owner, "until_us",
			  (json_int_t)held->until_us, "devices", devices);
	uint32_t i;

	for (i = 0; doc && i < held->n; i++)
		if (json_array_append_new(devices, device_doc(&held->devices[i])) < 0)
			return NULL;
	return doc ? json_dumps(doc, JSON_COMPACT) : NULL;
}

int umbra_held_write(int dirfd, const struct umbra_held *held, char name[UMBRA_HELD_NAME_MAX],
		     int *fd_out, struct umbra_error *err)
{
	_cleanup_free_ char *text = text_of(held);
	char tmp[UMBRA_HELD_NAME_MAX + 1] = "";
	_cleanup_close_ int fd = -1;
	int r = 0;

	if (!text)
		return umbra_oom(err);
	snprintf(tmp, sizeof(tmp), ".%d.%lld", (int)held->owner, (long long)held->until_us);
	fd = openat(dirfd, tmp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 || flock(fd, LOCK_SH | LOCK_NB) < 0)
		r = -errno;
	if (r == 0)
		r = umbra_write_all(fd, text, strlen(text));
	if (r == 0 && renameat(dirfd, tmp, dirfd, tmp + 1) < 0)
		r = -errno;
	if (r < 0) {
		if (fd >= 0)
			unlinkat(dirfd, tmp, 0);
		return umbra_fail_errno(err, r, "cannot note in '%s' what is going to be held",
					dir_path());
	}
	memcpy(name, tmp + 1, UMBRA_HELD_NAME_MAX);
	*fd_out = TAKE_FD(fd);
	return 0;
}

int umbra_held_join(int dirfd, const char *name, int *fd_out)
{
	_cleanup_close_ int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0 || flock(fd, LOCK_SH | LOCK_NB) < 0)
		return -errno;
	*fd_out = TAKE_FD(fd);
	return 0;
}

static int get_text(const json_t *doc, const char *key, char *out, size_t size)
{
	_cleanup_free_ char *text = NULL;
	int r = umbra_doc_get_path(doc, key, &text);

	if (r < 0)
		return r;
	if (strlen(text) >= size)
		return -EBADMSG;
	memcpy(out, text, strlen(text) + 1);
	return 0;
}

static int get_device(const json_t *doc, struct umbra_dm_device *d)
{
	int64_t major = umbra_doc_int(doc, "major", -1), minor = umbra_doc_int(doc, "minor", -1);
	int r;

	if (major < 0 || major > 0xfff || minor < 0 || minor > 0xfffff)
		return -EBADMSG;
	*d = (struct umbra_dm_device){.major = (uint32_t)major, .minor = (uint32_t)minor};
	r = get_text(doc, "name", d->name, sizeof(d->name));
	if (r == 0)
		r = get_text(doc, "uuid", d->uuid, sizeof(d->uuid));
	if (r == -ENOENT && d->name[0])
		r = 0;
	return r == 0 && !umbra_dm_device_valid(d) ? -EBADMSG : r;
}

static int decode(const json_t *doc, struct umbra_held *held)
{
	int64_t owner = umbra_doc_int(doc, "owner", 0),
		until_us = umbra_doc_int(doc, "until_us", 0);
	const json_t *devices = json_object_get(doc, "devices"), *one;
	size_t i;

	if (umbra_doc_int(doc, "v", 0) != VERSION || owner < 1 || owner > INT32_MAX ||
	    until_us < 1 || json_array_size(devices) < 1 ||
	    json_array_size(devices) > UMBRA_HELD_MAX)
		return -EBADMSG;
	held->owner = (pid_t)owner;
	held->until_us = until_us;
	held->n = (uint32_t)json_array_size(devices);
	json_array_foreach (devices, i, one)
		if (get_device(one, &held->devices[i]) < 0)
			return -EBADMSG;
	return 0;
}

static int not_ours(const char *name, const char *why, struct umbra_error *err)
{
	return umbra_fail(err, UMBRA_E_DAMAGED, EBADMSG,
			  "'%s/%s' is not what umbra wrote and is not believed (%s): remove it",
			  dir_path(), name, why);
}

int umbra_held_read(int dirfd, const char *name, struct umbra_held *held, int *fd_out,
		    struct umbra_error *err)
{
	_cleanup_close_ int fd =
		openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	_cleanup_free_ char *text = NULL;
	_cleanup_json_ json_t *doc = NULL;
	struct stat st;
	ssize_t len;

	if (fd < 0 && errno == ENOENT)
		return umbra_fail(err, UMBRA_E_NOT_FOUND, ENOENT, "'%s/%s' is gone", dir_path(),
				  name);
	if (fd < 0 || fstat(fd, &st) < 0)
		return not_ours(name, strerror(errno), err);
	if (!S_ISREG(st.st_mode) || !mine(&st) || st.st_nlink > 1)
		return not_ours(name, "no file of its own, or others can write to it", err);
	if (st.st_size > FILE_MAX)
		return not_ours(name, "too long", err);
	text = malloc((size_t)st.st_size + 1);
	if (!text)
		return umbra_oom(err);
	len = pread(fd, text, (size_t)st.st_size, 0);
	if (len < 0 || umbra_doc_parse(text, (size_t)len, name, &doc, NULL) < 0 ||
	    decode(doc, held) < 0)
		return not_ours(name, "its content", err);
	*fd_out = TAKE_FD(fd);
	return 0;
}
