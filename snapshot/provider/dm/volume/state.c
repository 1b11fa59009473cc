/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/provider/dm/volume/state.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log.h"
#include "snapshot/sys/frozen.h"

#define DIR_NAME "dm"
#define SUFFIX   ".json"
#define SEEN     ".seen"
#define SEEN_LEN 21 /* 20 digits and a line feed */
#define MAX      (1U << 20)
#define VERSION  1

#define FROZEN_MS 500

void umbra_dm_state_finish(struct umbra_dm_state *s)
{
	free(s->name);
	free(s->uuid);
	free(s->path);
	free(s->lost);
	json_decref(s->place);
	json_decref(s->deleted);
	*s = (struct umbra_dm_state){0};
}

static void file_name(const char *area, char out[UMBRA_ID_LEN + sizeof(SUFFIX)])
{
	snprintf(out, UMBRA_ID_LEN + sizeof(SUFFIX), "%.*s" SUFFIX, UMBRA_ID_LEN, area);
}

static void seen_name(const char *area, char out[UMBRA_ID_LEN + sizeof(SEEN)])
{
	snprintf(out, UMBRA_ID_LEN + sizeof(SEEN), "%.*s" SEEN, UMBRA_ID_LEN, area);
}

static int open_dir(int state_fd)
{
	int fd = openat(state_fd, DIR_NAME, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

	return fd < 0 ? -errno : fd;
}

static int parse_deleted(json_t *ids, struct umbra_dm_state *s)
{
	const json_t *id;
	size_t i;

	json_array_foreach (ids, i, id)
		if (!json_is_string(id) || !umbra_id_valid(json_string_value(id)))
			return -EBADMSG;
	s->deleted = json_is_array(ids) ? json_incref(ids) : NULL;
	return ids && !s->deleted ? -EBADMSG : 0;
}

static int parse(const json_t *doc, struct umbra_dm_state *s)
{
	const json_t *volume = json_object_get(doc, "volume"), *place;
	int r;

	place = json_object_get(doc, "area");
	if (umbra_doc_int(doc, "version", 0) != VERSION || !json_is_object(place))
		return -EBADMSG;
	r = umbra_doc_get_path(volume, "name", &s->name);
	if (r == 0)
		r = umbra_doc_get_path(volume, "uuid", &s->uuid);
	if (r == 0)
		r = umbra_doc_get_path(doc, "path", &s->path);
	s->place = json_incref((json_t *)place);
	if (r == 0 && umbra_doc_get_path(doc, "lost", &s->lost) == -ENOMEM)
		r = -ENOMEM;
	if (r == 0)
		r = parse_deleted(json_object_get(doc, "deleted"), s);
	return r == -ENOENT ? -EBADMSG : r;
}

int umbra_dm_state_read(int state_fd, const char *area, struct umbra_dm_state *out,
			struct umbra_error *err)
{
	_cleanup_dm_state_ struct umbra_dm_state s = {0};
	_cleanup_json_ json_t *doc = NULL;
	_cleanup_free_ char *text = NULL;
	_cleanup_close_ int dir = open_dir(state_fd);
	char name[UMBRA_ID_LEN + sizeof(SUFFIX)];
	size_t len;
	int r;

	if (!umbra_id_valid(area))
		return umbra_fail(err, UMBRA_E_DAMAGED, EBADMSG, "'%s' is no diff area's id", area);
	file_name(area, name);
	r = dir < 0 ? dir : umbra_read_file(dir, name, MAX, &text, &len);
	if (r == -ENOENT)
		return umbra_fail(err, UMBRA_E_NOT_FOUND, ENOENT,
				  "this state directory has no diff area %s", area);
	if (r < 0)
		return umbra_fail_errno(err, r, "reading " DIR_NAME "/%s", name);
	r = umbra_doc_parse(text, len, name, &doc, err);
	if (r < 0)
		return r;
	memcpy(s.area.s, area, UMBRA_ID_LEN);
	r = parse(doc, &s);
	if (r < 0)
		return r == -ENOMEM ? umbra_oom(err)
				    : umbra_fail(err, UMBRA_E_DAMAGED, EBADMSG,
						 DIR_NAME "/%s is not what umbra wrote", name);
	*out = s;
	s = (struct umbra_dm_state){0};
	return 0;
}

int umbra_dm_state_write(int state_fd, const struct umbra_dm_state *s, struct umbra_error *err)
{
	_cleanup_json_ json_t *doc =
		json_pack("{s:i,s:O,s:{}}", "version", VERSION, "area", s->place, "volume");
	json_t *volume = json_object_get(doc, "volume");
	_cleanup_close_ int dir = -1;
	_cleanup_free_ char *text = NULL;
	char name[UMBRA_ID_LEN + sizeof(SUFFIX)];
	int r;

	if (!doc || (s->lost && umbra_doc_set_path(doc, "lost", s->lost) < 0) ||
	    (s->deleted && json_object_set(doc, "deleted", s->deleted) < 0) ||
	    umbra_doc_set_path(volume, "name", s->name) < 0 ||
	    umbra_doc_set_path(volume, "uuid", s->uuid) < 0 ||
	    umbra_doc_set_path(doc, "path", s->path) < 0)
		return umbra_oom(err);
	text = json_dumps(doc, JSON_INDENT(1));
	if (!text)
		return umbra_oom(err);
	if (strlen(text) > MAX)
		return umbra_fail(err, UMBRA_E_UNSUPPORTED, E2BIG,
				  "the file of diff area %s would be in too many pieces to be "
				  "recorded: make room in one piece, or ask for a smaller one",
				  s->area.s);
	if (umbra_thawed(state_fd, FROZEN_MS) < 0)
		return umbra_fail(err, UMBRA_E_BUSY, EBUSY,
				  "umbra's state directory is frozen, so that nothing can be noted "
				  "of diff area %s",
				  s->area.s);
	file_name(s->area.s, name);
	dir = umbra_open_dir_make(state_fd, DIR_NAME, 0700);
	r = dir < 0 ? dir : umbra_replace_file(dir, name, 0600, text, strlen(text));
	if (r == 0)
		r = umbra_fsync_dir(state_fd);
	return r < 0 ? umbra_fail_errno(err, r, "writing " DIR_NAME "/%s", name) : 0;
}

int umbra_dm_state_remove(int state_fd, const char *area, struct umbra_error *err)
{
	_cleanup_close_ int dir = open_dir(state_fd);
	char name[UMBRA_ID_LEN + sizeof(SUFFIX)], seen[UMBRA_ID_LEN + sizeof(SEEN)];

	if (dir == -ENOENT)
		return 0;
	file_name(area, name);
	seen_name(area, seen);
	if (dir >= 0)
		unlinkat(dir, seen, 0);
	if (dir < 0 || (unlinkat(dir, name, 0) < 0 && errno != ENOENT) || fsync(dir) < 0)
		return umbra_fail_errno(err, dir < 0 ? dir : errno, "removing " DIR_NAME "/%s",
					name);
	return 0;
}

uint64_t umbra_dm_state_seen(int state_fd, const char *area)
{
	_cleanup_close_ int dir = open_dir(state_fd);
	_cleanup_free_ char *text = NULL;
	char name[UMBRA_ID_LEN + sizeof(SEEN)], *end;
	unsigned long long generation;
	size_t len;

	seen_name(area, name);
	if (dir < 0 || umbra_read_file(dir, name, SEEN_LEN, &text, &len) < 0 || len != SEEN_LEN)
		return 0;
	generation = strtoull(text, &end, 10);
	return *end == '\n' ? generation : 0;
}

int umbra_dm_state_saw(int state_fd, const char *area, uint64_t generation, struct umbra_error *err)
{
	_cleanup_close_ int dir = open_dir(state_fd), fd = -1;
	char name[UMBRA_ID_LEN + sizeof(SEEN)], text[SEEN_LEN + 1];

	if (generation <= umbra_dm_state_seen(state_fd, area))
		return 0;
	seen_name(area, name);
	snprintf(text, sizeof(text), "%0*llu\n", SEEN_LEN - 1, (unsigned long long)generation);
	fd = dir < 0 ? dir : openat(dir, name, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 || pwrite(fd, text, SEEN_LEN, 0) != SEEN_LEN || fsync(fd) < 0)
		return umbra_fail_errno(err, dir < 0 ? dir : errno, "writing " DIR_NAME "/%s",
					name);
	return 0;
}

int umbra_dm_state_stat(int state_fd, struct stat *out)
{
	return fstatat(state_fd, DIR_NAME, out, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

int umbra_dm_state_each(int state_fd, int (*fn)(const struct umbra_dm_state *s, void *arg),
			void *arg, struct umbra_error *err)
{
	int fd = open_dir(state_fd), r = 0;
	_cleanup_dir_ DIR *d = fd < 0 ? NULL : fdopendir(fd);
	char area[UMBRA_ID_LEN + 1];
	struct dirent *e;

	if (fd == -ENOENT)
		return 0;
	if (!d)
		return umbra_fail_errno(err, fd < 0 ? fd : errno, "reading " DIR_NAME);
	while (r == 0 && (e = readdir(d))) {
		_cleanup_dm_state_ struct umbra_dm_state s = {0};
		struct umbra_error why = {0};

		if (strlen(e->d_name) != UMBRA_ID_LEN + strlen(SUFFIX) ||
		    strcmp(e->d_name + UMBRA_ID_LEN, SUFFIX) != 0)
			continue;
		memcpy(area, e->d_name, UMBRA_ID_LEN);
		area[UMBRA_ID_LEN] = '\0';
		if (umbra_dm_state_read(state_fd, area, &s, &why) < 0)
			umbra_log_warning("%s", why.text);
		else
			r = fn(&s, arg);
	}
	return r;
}
