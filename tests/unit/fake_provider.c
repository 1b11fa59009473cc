/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fake_provider.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/util.h"
#include "snapshot/provider.h"

struct fake_plan fake_plan;

static const char *const names[FAKE_CALLS] = {
	[FAKE_PREPARE] = "prepare", [FAKE_HOLD] = "hold",     [FAKE_COMMIT] = "commit",
	[FAKE_RELEASE] = "release", [FAKE_FINISH] = "finish", [FAKE_ABORT] = "abort",
	[FAKE_REMOVE] = "remove",   [FAKE_OPEN] = "open",     [FAKE_DISCARD] = "discard",
};

static void note(int state_fd, enum fake_call call, const char *path)
{
	_cleanup_close_ int fd =
		openat(state_fd, "calls", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	const char *base = strrchr(path, '/');

	dprintf(fd, "%s %s\n", names[call], base ? base + 1 : path);
}

static bool ends_so(const char *path, const char *end)
{
	size_t len = strlen(path);

	return len >= strlen(end) && strcmp(path + len - strlen(end), end) == 0;
}

static bool meant(enum fake_call planned, enum fake_call call, const char *path)
{
	return planned == call && (!fake_plan.only || ends_so(path, fake_plan.only));
}

static int dawdle(struct umbra_watch *watch, struct umbra_error *err)
{
	int i, r = 0;

	for (i = 0; r == 0 && i < 300; i++) {
		usleep(10000);
		r = umbra_watch_tick(watch, NULL, err);
	}
	return r;
}

static int before(int state_fd, enum fake_call call, const char *path, struct umbra_watch *watch,
		  struct umbra_error *err)
{
	note(state_fd, call, path);
	if (meant(fake_plan.die, call, path))
		raise(SIGKILL);
	if (meant(fake_plan.fail, call, path))
		return umbra_fail(err, UMBRA_E_IO, fake_plan.errnum ? fake_plan.errnum : EIO,
				  "told to fail in %s", names[call]);
	return meant(fake_plan.dawdle, call, path) ? dawdle(watch, err) : 0;
}

static int after(enum fake_call call, const char *path)
{
	if (meant(fake_plan.die_after, call, path))
		raise(SIGKILL);
	return 0;
}

static int open_copy(int state_fd, const char *id)
{
	_cleanup_free_ char *path = umbra_asprintf("fake/%s", id);
	int fd = openat(state_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

static int probe(const struct umbra_volume *volume, struct umbra_error *err)
{
	(void)volume;
	(void)err;
	return 1;
}

/* Stays open: what is needed in a hold is opened before. */
static int control = -1;

static int name_device(struct umbra_member *m, struct umbra_error *err)
{
	const char *path = m->shadow->path;
	int r = control < 0 ? umbra_dm_control_open(&control, err) : 0;

	if (r == 0)
		r = umbra_dm_device_lookup(control, fake_plan.major,
					   fake_plan.minors[path[strlen(path) - 1] != 'a'],
					   &m->held[0], err);
	m->n_held = r == 0;
	return r;
}

static int prepare(struct umbra_member *m, struct umbra_error *err)
{
	_cleanup_close_ int dir = -1;
	int r = before(m->state_fd, FAKE_PREPARE, m->shadow->path, m->watch, err);

	if (r == 0 && fake_plan.major)
		r = name_device(m, err);
	if (r < 0)
		return r;
	dir = umbra_open_dir_make(m->state_fd, "fake", 0700);
	if (dir < 0 || mkdirat(dir, m->shadow->id.s, 0700) < 0)
		return umbra_fail_errno(err, errno, "mkdir");
	return after(FAKE_PREPARE, m->shadow->path);
}

static int lies_on(const struct umbra_member *m, const struct umbra_member *below,
		   struct umbra_error *err)
{
	(void)below;
	(void)err;
	return fake_plan.upper && ends_so(m->shadow->path, fake_plan.upper);
}

static int hold(struct umbra_member *m, struct umbra_error *err)
{
	int r = before(m->state_fd, FAKE_HOLD, m->shadow->path, m->watch, err);

	if (fake_plan.leaves_child && fork() == 0) {
		sleep(20);
		_exit(0);
	}
	if (r == 0 && m->n_held) {
		r = umbra_dm_hold_suspend(control, &m->held[0], 0);
		if (r < 0)
			umbra_fail_errno(err, r, "cannot suspend '%s'", m->held[0].name);
	}
	return r < 0 ? r : after(FAKE_HOLD, m->shadow->path);
}

static int commit(struct umbra_member *m, struct umbra_error *err)
{
	_cleanup_close_ int dir = open_copy(m->state_fd, m->shadow->id.s), fd = -1;
	int r = before(m->state_fd, FAKE_COMMIT, m->shadow->path, m->watch, err);

	if (r < 0)
		return r;
	fd = openat(dir, "data", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return umbra_fail_errno(err, errno, "data");
	return after(FAKE_COMMIT, m->shadow->path);
}

static int release(struct umbra_member *m, struct umbra_error *err)
{
	int r = before(m->state_fd, FAKE_RELEASE, m->shadow->path, m->watch, err);
	int one = m->n_held ? umbra_dm_hold_resume(control, &m->held[0]) : 0;

	if (one < 0 && r == 0)
		r = umbra_fail_errno(err, one, "cannot resume '%s'", m->held[0].name);
	if (r == 0)
		r = after(FAKE_RELEASE, m->shadow->path);
	return r < 0 ? r : one > 0;
}

static int finish(struct umbra_member *m, struct umbra_error *err)
{
	_cleanup_close_ int dir = open_copy(m->state_fd, m->shadow->id.s);
	int r = before(m->state_fd, FAKE_FINISH, m->shadow->path, m->watch, err);

	if (r == 0)
		r = umbra_member_record(m, dir, err);
	return r < 0 ? r : after(FAKE_FINISH, m->shadow->path);
}

static int wipe(int state_fd, const char *id, struct umbra_error *err)
{
	_cleanup_free_ char *path = umbra_asprintf("fake/%s", id);
	_cleanup_close_ int dir = open_copy(state_fd, id);

	if (dir == -ENOENT)
		return 0;
	unlinkat(dir, UMBRA_RECORD_NAME, 0);
	unlinkat(dir, "data", 0);
	unlinkat(dir, "lost", 0);
	return unlinkat(state_fd, path, AT_REMOVEDIR) < 0 ? umbra_fail_errno(err, errno, "rmdir")
							  : 0;
}

static int abort_copy(struct umbra_member *m, struct umbra_error *err)
{
	int r = before(m->state_fd, FAKE_ABORT, m->shadow->path, m->watch, err);

	if (r == 0)
		r = wipe(m->state_fd, m->shadow->id.s, err);
	return r < 0 ? r : after(FAKE_ABORT, m->shadow->path);
}

static int remove_copy(int state_fd, const struct umbra_shadow *shadow, struct umbra_watch *watch,
		       struct umbra_error *err)
{
	int r = before(state_fd, FAKE_REMOVE, shadow->path, watch, err);

	if (r == 0)
		r = wipe(state_fd, shadow->id.s, err);
	return r < 0 ? r : after(FAKE_REMOVE, shadow->path);
}

static void close_root(struct umbra_root *root)
{
	close(root->fd);
	free(root);
}

static int open_root(int state_fd, const struct umbra_shadow *shadow, struct umbra_root **out,
		     struct umbra_error *err)
{
	int fd = open_copy(state_fd, shadow->id.s);
	struct umbra_root *root;
	int r = before(state_fd, FAKE_OPEN, shadow->path, NULL, err);

	if (r < 0) {
		umbra_close(fd);
		return r;
	}
	if (fd < 0)
		return umbra_fail(err, UMBRA_E_DAMAGED, EIO, "the fake copy is gone");
	root = calloc(1, sizeof(*root));
	root->fd = root->mount_fd = fd;
	root->close = close_root;
	*out = root;
	return 0;
}

static int scan(int state_fd, const char *state_dir, umbra_scan_fn fn, void *arg,
		struct umbra_error *err)
{
	_cleanup_dir_ DIR *dir = NULL;
	struct dirent *d;
	int fd = openat(state_fd, "fake", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;

	(void)state_dir;
	(void)err;
	if (fd < 0)
		return 0;
	dir = fdopendir(fd);
	while (r == 0 && (d = readdir(dir))) {
		_cleanup_json_ json_t *doc = NULL;
		_cleanup_close_ int one = -1;

		if (d->d_name[0] == '.')
			continue;
		one = open_copy(state_fd, d->d_name);
		r = umbra_record_read(one, d->d_name, &doc, NULL);
		r = fn(arg, &(struct umbra_found){.kind = r == 0         ? UMBRA_FOUND_COPY
							  : r == -ENOENT ? UMBRA_FOUND_LEFTOVER
									 : UMBRA_FOUND_STRANGE,
						  .id = d->d_name,
						  .where = d->d_name,
						  .record = doc,
						  .why = "damaged"});
	}
	return r;
}

static int discard(int state_fd, const char *state_dir, const char *id, struct umbra_watch *watch,
		   struct umbra_error *err)
{
	int r = before(state_fd, FAKE_DISCARD, id, watch, err);

	(void)state_dir;
	return r < 0 ? r : wipe(state_fd, id, err);
}

static const struct umbra_provider fake = {
	.name = "fake",
	.summary = "for tests",
	.label = UMBRA_LABEL_CRASH,
	.probe = probe,
	.prepare = prepare,
	.lies_on = lies_on,
	.hold = hold,
	.commit = commit,
	.release = release,
	.finish = finish,
	.abort = abort_copy,
	.open = open_root,
	.remove = remove_copy,
	.scan = scan,
	.discard = discard,
};

/* Depends on being looked after while STATE/needed is there; notes by whom in STATE/looker. Takes
 * as long as STATE/stuck is there. */
static int look_after(const struct umbra_storage_watch *watch, int *again_ms,
		      struct umbra_error *err)
{
	_cleanup_close_ int fd =
		openat(watch->state_fd, "looker", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	(void)err;
	dprintf(fd, "%-11d\n", getpid());
	while (faccessat(watch->state_fd, "stuck", F_OK, 0) == 0)
		usleep(20000);
	*again_ms = faccessat(watch->state_fd, "needed", F_OK, 0) == 0 ? 50 : -1;
	return 0;
}

static int list_areas(int state_fd, const char *state_dir, json_t *out, struct umbra_error *err)
{
	(void)state_dir;
	(void)err;
	if (faccessat(state_fd, "needed", F_OK, 0) == 0)
		json_array_append_new(out, json_pack("{s:s}", "state", "active"));
	return 0;
}

/* Of several areas one that is broken may be the last. */
static int activate(const struct umbra_storage_watch *watch, int wait_ms, struct umbra_error *err)
{
	(void)wait_ms;
	return faccessat(watch->state_fd, "broken", F_OK, 0) == 0
		       ? umbra_fail(err, UMBRA_E_DAMAGED, EBADMSG, "told to be broken")
		       : 0;
}

static int let_go(int limit_ms, struct umbra_error *err)
{
	(void)limit_ms;
	(void)err;
	return 0;
}

/* Its directory is gone, or has a file "lost" that says why. */
static int fates(int state_fd, struct umbra_fate *fates, size_t n, struct umbra_error *err)
{
	_cleanup_close_ int asked =
		openat(state_fd, "asked", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	size_t i;

	dprintf(asked, "fates\n");
	for (i = 0; i < n; i++) {
		_cleanup_close_ int dir = open_copy(state_fd, fates[i].shadow->id.s);

		fates[i].kind = dir < 0 ? UMBRA_FATE_GONE : UMBRA_FATE_KEPT;
		if (dir < 0)
			fates[i].why = strdup("given up");
		else
			umbra_read_file(dir, "lost", 100, &fates[i].why, NULL);
		if (fates[i].why)
			fates[i].condition = UMBRA_CONDITION_LOST;
	}
	return faccessat(state_fd, "unsure", F_OK, 0) == 0
		       ? umbra_fail(err, UMBRA_E_BUSY, EBUSY, "told to be unsure")
		       : 0;
}

static const struct umbra_storage_ops storage = {
	.list = list_areas,
	.look_after = look_after,
	.let_go = let_go,
	.activate = activate,
	.fates = fates,
};

const struct umbra_provider *const *umbra_providers(size_t *n)
{
	static struct umbra_provider shown;
	static const struct umbra_provider *const table[] = {&shown};

	shown = fake;
	if (secure_getenv(FAKE_STORAGE))
		shown.storage = &storage;
	*n = 1;
	return table;
}
