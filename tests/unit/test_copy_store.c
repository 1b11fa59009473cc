/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The provider "copy": its store, full, cut short, damaged, and emptied. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "copy_rig.h"

TestSuite(copy_store, .init = rig_begin, .fini = rig_end, .timeout = 120);
TestSuite(copy_many_store, .init = rig_begin_in_memory, .fini = rig_end, .timeout = 120);

struct stopper {
	struct umbra_watch watch;
	int ticks;
};

static int stop_at_once(struct umbra_watch *watch, const struct umbra_progress *progress)
{
	struct stopper *s = (struct stopper *)watch;

	(void)progress;
	s->ticks++;
	return -ECANCELED;
}

Test(copy_many_store, can_be_stopped)
{
	struct stopper s = {.watch = {.tick = stop_at_once}};
	struct umbra_error err = {0};

	lab_run("cd origin && for i in $(seq 300); do mkdir d$i; (cd d$i; seq 100 | xargs touch); "
		"done;"
		" dd if=/dev/zero of=zeros bs=1M count=200 status=none");
	cr_assert_eq(rig_try(NULL, &s.watch, NULL, &err), -ECANCELED);
	cr_assert_eq(err.code, UMBRA_E_INTERRUPTED, "%s", err.text);
	cr_assert_eq(s.ticks, 1);
	rig_assert_store_empty();
}

static pid_t copy_in_child(struct umbra_shadow *shadow)
{
	_cleanup_free_ char *path = umbra_asprintf("%s/origin", place);
	_cleanup_free_ char *state = umbra_asprintf("%s/state", place);
	const struct umbra_provider *p = umbra_provider_find("copy");
	struct umbra_volume volume = {.path = path};
	_cleanup_close_ int origin = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct umbra_member m = {.provider = p,
				 .origin_fd = origin,
				 .volume = &volume,
				 .shadow = shadow,
				 .state_fd = rig_state_fd(),
				 .state_dir = state};
	pid_t pid = fork();

	if (pid == 0)
		_exit(p->prepare(&m, NULL) < 0 || p->commit(&m, NULL) < 0);
	return pid;
}

Test(copy_many_store, killed_at_any_time_leaves_nothing_after_abort)
{
	const struct umbra_provider *p = umbra_provider_find("copy");
	int i, status;

	lab_run("cd origin && for i in $(seq 50); do mkdir -p d$i/x; (cd d$i/x; seq 50 | xargs "
		"touch); "
		"done");
	for (i = 0; i < 12; i++) {
		struct umbra_shadow *shadow = umbra_shadow_new("/x", "copy");
		struct umbra_member m = {
			.provider = p, .shadow = shadow, .state_fd = rig_state_fd()};
		pid_t pid = copy_in_child(shadow);

		usleep((useconds_t)(i * i * 700));
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		cr_assert_eq(p->abort(&m, NULL), 0);
		cr_assert_eq(p->abort(&m, NULL), 0);
		umbra_shadow_free(shadow);
	}
	lab_run("mkdir -p state/copies");
	rig_assert_store_empty();
}

Test(copy_store, a_full_store_says_what_to_do)
{
	struct umbra_error err = {0};

	place_need_root("to mount a small store");
	rig_need("mkdir small && mount -t tmpfs -o size=3m none small");
	lab_run("dd if=/dev/urandom of=origin/big bs=1M count=5 status=none");
	rig_use("origin", "small");
	cr_assert_eq(rig_try(NULL, NULL, NULL, &err), -ENOSPC);
	cr_assert_eq(err.code, UMBRA_E_NO_SPACE);
	cr_assert(strstr(err.text, "/small/copies") && strstr(err.text, "umbra delete"), "%s",
		  err.text);
	cr_assert(lab_true("[ -z \"$(ls small/copies)\" ]"));
}

Test(copy_store, a_read_only_store_is_refused)
{
	struct umbra_error err = {0};

	place_need_root("to mount a read-only store");
	rig_need("mkdir ro && mount -t tmpfs -o ro none ro");
	rig_use("origin", "ro");
	cr_assert_eq(rig_try(NULL, NULL, NULL, &err), -EROFS);
	cr_assert_eq(err.code, UMBRA_E_READ_ONLY);
}

Test(copy_store, a_volume_in_the_store_is_refused)
{
	struct umbra_error err = {0};

	lab_run("mkdir state/sub");
	rig_use("state/sub", "state");
	cr_assert_lt(rig_try(NULL, NULL, NULL, &err), 0);
	cr_assert(strstr(err.text, "inside umbra's own state directory"), "%s", err.text);
}

Test(copy_store, deleting_leaves_the_other_copies_alone)
{
	const struct umbra_provider *p = umbra_provider_find("copy");
	struct umbra_shadow *first, *second;
	struct umbra_error err = {0};
	struct umbra_root *root;

	lab_run("cd origin && mkdir -p a/b/c && echo x >a/b/c/x && ln a/b/c/x y");
	rig_settle();
	first = rig_copy(NULL);
	second = rig_copy(first);
	cr_assert_eq(p->remove(rig_state_fd(), first, NULL, NULL), 0);
	cr_assert_eq(p->remove(rig_state_fd(), first, NULL, NULL), 0);
	cr_assert_eq(p->open(rig_state_fd(), first, &root, &err), -ENOENT);
	rig_same(second);
}

Test(copy_many_store, deleting_goes_on_where_it_was_stopped)
{
	struct stopper s = {.watch = {.tick = stop_at_once}};
	const struct umbra_provider *p = umbra_provider_find("copy");
	struct umbra_shadow *shadow;
	struct umbra_error err = {0};
	struct umbra_root *root;
	int r;

	lab_run("cd origin && for i in $(seq 400); do mkdir d$i; (cd d$i; seq 100 | xargs touch); "
		"done");
	shadow = rig_copy(NULL);
	r = p->remove(rig_state_fd(), shadow, &s.watch, &err);
	cr_assert(r == -ECANCELED || r == 0);
	cr_assert_eq(p->open(rig_state_fd(), shadow, &root, &err), -ENOENT);
	cr_assert_eq(p->remove(rig_state_fd(), shadow, NULL, NULL), 0);
	rig_assert_store_empty();
}

struct kinds {
	int n[UMBRA_FOUND_STRANGE + 1];
};

static int count(void *arg, const struct umbra_found *found)
{
	((struct kinds *)arg)->n[found->kind]++;
	cr_assert(found->kind == UMBRA_FOUND_COPY || !found->record || found->why[0]);
	return 0;
}

Test(copy_store, only_finished_copies_of_this_state_are_found)
{
	const struct umbra_provider *p = umbra_provider_find("copy");
	_cleanup_free_ char *state = umbra_asprintf("%s/state", place);
	struct umbra_shadow *shadow = rig_copy(NULL);
	struct kinds is = {0}, other = {0};

	rig_copy(shadow);
	lab_run("mkdir -p state/copies/00000000-0000-4000-8000-000000000000/tree state/copies/junk "
		"&& "
		"mkdir state/copies/00000000-0000-4000-8000-000000000001 && "
		"echo '{' >state/copies/00000000-0000-4000-8000-000000000001/shadow.json");
	cr_assert_eq(p->scan(rig_state_fd(), state, count, &is, NULL), 0);
	cr_assert_eq(is.n[UMBRA_FOUND_COPY], 2);
	cr_assert_eq(is.n[UMBRA_FOUND_LEFTOVER], 1);
	cr_assert_eq(is.n[UMBRA_FOUND_STRANGE], 1);
	cr_assert_eq(p->scan(rig_state_fd(), "/other", count, &other, NULL), 0);
	cr_assert_eq(other.n[UMBRA_FOUND_COPY], 0);
	cr_assert_eq(other.n[UMBRA_FOUND_FOREIGN], 2);
}

/* A record that somebody copied along with a directory is no licence to show it as another one. */
Test(copy_store, a_record_of_another_copy_is_strange)
{
	const struct umbra_provider *p = umbra_provider_find("copy");
	_cleanup_free_ char *state = umbra_asprintf("%s/state", place);
	struct umbra_shadow *shadow = rig_copy(NULL);
	struct kinds is = {0};

	lab_run("cp -a state/copies/%s state/copies/00000000-0000-4000-8000-000000000000",
		shadow->id.s);
	cr_assert_eq(p->scan(rig_state_fd(), state, count, &is, NULL), 0);
	cr_assert_eq(is.n[UMBRA_FOUND_COPY], 1);
	cr_assert_eq(is.n[UMBRA_FOUND_STRANGE], 1);
}

Test(copy_store, only_a_leftover_can_be_discarded)
{
	const struct umbra_provider *p = umbra_provider_find("copy");
	static const char id[] = "00000000-0000-4000-8000-000000000000";
	struct umbra_shadow *shadow = rig_copy(NULL);
	struct umbra_error err = {0};

	lab_run("mkdir -p state/copies/%s/tree/sub", id);
	cr_assert_eq(p->discard(rig_state_fd(), "/", shadow->id.s, NULL, &err), -EBUSY);
	lab_run("[ -e state/copies/%s/shadow.json ]", shadow->id.s);
	/* Somebody else is at work in it. */
	lab_run("exec 9<state/copies/%s && flock -s 9 && (exec sleep 2) & sleep 0.3", id);
	cr_assert_eq(p->discard(rig_state_fd(), "/", id, NULL, &err), -EBUSY);
	lab_run("[ -e state/copies/%s/tree/sub ] && flock state/copies/%s true", id, id);
	cr_assert_eq(p->discard(rig_state_fd(), "/", id, NULL, &err), 0, "%s", err.text);
	lab_run("[ ! -e state/copies/%s ]", id);
	cr_assert_eq(p->discard(rig_state_fd(), "/", id, NULL, &err), 0);
}

Test(copy_store, a_hostile_id_is_no_copy)
{
	const struct umbra_provider *p = umbra_provider_find("copy");
	struct umbra_shadow *shadow = umbra_shadow_new("/x", "copy");
	struct umbra_root *root;

	strcpy(shadow->id.s, "../../origin");
	cr_assert_eq(p->open(rig_state_fd(), shadow, &root, NULL), -ENOENT);
	cr_assert_eq(p->remove(rig_state_fd(), shadow, NULL, NULL), 0);
	umbra_shadow_free(shadow);
	cr_assert(lab_true("[ -d origin ]"));
}

/* --- damage --- */

static void flip(const char *path, off_t at)
{
	_cleanup_close_ int fd = open(path, O_RDWR | O_CLOEXEC);
	char c;

	cr_assert_eq(pread(fd, &c, 1, at), 1);
	c = (char)(c ^ 0x10);
	cr_assert_eq(pwrite(fd, &c, 1, at), 1);
}

static off_t size_of(const char *path)
{
	struct stat st;

	cr_assert_eq(stat(path, &st), 0);
	return st.st_size;
}

Test(copy_store, a_damaged_table_is_refused)
{
	const struct umbra_provider *p = umbra_provider_find("copy");
	_cleanup_free_ char *path = NULL;
	struct umbra_shadow *shadow;
	struct umbra_root *root;
	struct umbra_error err;
	off_t at, size;

	lab_run("cd origin && echo x >a && ln a b && echo y >c && ln c d");
	rig_settle();
	shadow = rig_copy(NULL);
	path = umbra_asprintf("%s/state/copies/%s/shown", place, shadow->id.s);
	size = size_of(path);
	cr_assert_eq(size, 80 + 2 * 40);
	for (at = 0; at < size; at++) {
		flip(path, at);
		err = (struct umbra_error){0};
		cr_assert_eq(p->open(rig_state_fd(), shadow, &root, &err), -EIO, "byte %jd",
			     (intmax_t)at);
		cr_assert_eq(err.code, UMBRA_E_DAMAGED);
		flip(path, at);
	}
	umbra_root_close(rig_open(shadow));
	while (size-- > 0) {
		cr_assert_eq(truncate(path, size), 0);
		cr_assert_eq(p->open(rig_state_fd(), shadow, &root, &err), -EIO);
	}
	cr_assert_eq(unlink(path), 0);
	cr_assert_eq(p->open(rig_state_fd(), shadow, &root, &err), -EIO);
	cr_assert_eq(err.code, UMBRA_E_DAMAGED);
}

static void damage_inventory(const char *name)
{
	_cleanup_free_ char *path = NULL;
	struct umbra_shadow *shadow, *next;
	off_t at, size;

	lab_run("cd origin && mkdir d && echo x >d/a && echo y >b");
	rig_settle();
	shadow = rig_copy(NULL);
	path = umbra_asprintf("%s/state/copies/%s/%s", place, shadow->id.s, name);
	size = size_of(path);
	for (at = 0; at < size; at += 7) {
		flip(path, at);
		next = rig_copy(shadow);
		rig_same(next);
		cr_assert_lt(rig_data(next, "linked"), 2);
		cr_assert_eq(umbra_provider_find("copy")->remove(rig_state_fd(), next, NULL, NULL),
			     0);
		flip(path, at);
	}
	next = rig_copy(shadow);
	cr_assert_eq(rig_data(next, "linked"), 2);
	cr_assert_eq(truncate(path, size / 2), 0);
	next = rig_copy(shadow);
	rig_same(next);
	cr_assert_eq(rig_data(next, "linked"), 0);
	cr_assert_eq(unlink(path), 0);
	next = rig_copy(shadow);
	rig_same(next);
}

Test(copy_store, a_damaged_inventory_means_that_all_is_copied)
{
	damage_inventory("inventory");
}

Test(copy_store, a_damaged_list_of_directories_means_that_all_is_copied)
{
	damage_inventory("inventory.dirs");
}
