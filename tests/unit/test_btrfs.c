/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The life of a copy on btrfs: made, read, deleted, and killed in between. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "btrfs_lab.h"
#include "snapshot/document.h"

TestSuite(btrfs, .init = lab_begin, .fini = lab_end, .timeout = 60);

static struct umbra_root *open_copy(const struct umbra_shadow *shadow)
{
	struct umbra_root *root = NULL;
	struct umbra_error err = {0};

	cr_assert_eq(umbra_provider_btrfs.open(-1, shadow, &root, &err), 0, "%s", err.text);
	return root;
}

static int open_fails(const struct umbra_shadow *shadow, struct umbra_error *err)
{
	struct umbra_root *root = NULL;
	int r = umbra_provider_btrfs.open(-1, shadow, &root, err);

	cr_assert_lt(r, 0);
	cr_assert_null(root);
	return r;
}

static void remove_copy(const struct umbra_shadow *shadow)
{
	struct umbra_error err = {0};

	cr_assert_eq(umbra_provider_btrfs.remove(-1, shadow, NULL, &err), 0, "%s", err.text);
}

static int abort_leftover(const struct umbra_shadow *shadow, struct umbra_error *err)
{
	struct umbra_member m = {
		.provider = &umbra_provider_btrfs,
		.shadow = (struct umbra_shadow *)shadow,
		.state_fd = -1,
		.state_dir = "/state",
	};

	return umbra_provider_btrfs.abort(&m, err);
}

/* A new process knows nothing but this. */
static struct umbra_shadow *forgotten(const struct umbra_shadow *shadow, const char *fs_uuid)
{
	struct umbra_shadow *copy = umbra_shadow_new(shadow->path, "btrfs");

	copy->id = shadow->id;
	cr_assert_eq(umbra_doc_set_string(copy->data, "origin_uuid", fs_uuid), 0);
	return copy;
}

static void check_content(const struct umbra_root *root, const char *name, const char *want)
{
	_cleanup_free_ char *text = NULL;

	cr_assert_eq(umbra_read_file(root->fd, name, 1000, &text, NULL), 0);
	cr_assert_str_eq(text, want);
}

static bool nothing_left(void)
{
	return lab_true("! [ -e top/.umbra ] && ! btrfs subvolume list top | grep -v ' path @$'");
}

Test(btrfs, a_copy_stays_as_it_was)
{
	struct umbra_root *root;
	struct lab_set *s;

	lab_run("printf old >at/f");
	s = lab_create(lab_path("at"));
	lab_run("printf new >at/f");
	root = open_copy(s->set->shadows[0]);
	check_content(root, "f", "old");
	cr_assert(root->handles);
	cr_assert_null(root->hidden);
	cr_assert_eq(openat(root->fd, "x", O_CREAT | O_WRONLY | O_CLOEXEC, 0600), -1);
	cr_assert_eq(errno, EROFS);
	umbra_root_close(root);
	cr_assert_eq(strncmp(s->set->shadows[0]->volume, "btrfs:", 6), 0);
	/* users see nothing of it, and no mount is left */
	lab_run("! [ -e at/.umbra ] && [ $(grep -c $PWD /proc/self/mountinfo) = 2 ]");
	lab_free(s);
}

Test(btrfs, the_top_level_hides_its_store_and_keeps_its_time)
{
	struct umbra_root *root;
	struct lab_set *s;

	lab_run("touch -d '2001-02-03 04:05:06.789' top && stat -c %%y top >before");
	s = lab_create(lab_path("top"));
	root = open_copy(lab_shadow(s, lab_path("top")));
	cr_assert_str_eq(root->hidden, ".umbra");
	umbra_root_close(root);
	lab_run("[ \"$(stat -c '%%a %%u' top/.umbra)\" = '700 0' ]");
	lab_run("stat -c %%y top | cmp - before");
	remove_copy(lab_shadow(s, lab_path("top")));
	remove_copy(lab_shadow(s, lab_path("top/@")));
	cr_assert(nothing_left());
	lab_run("stat -c %%y top | cmp - before");
	lab_free(s);
}

Test(btrfs, the_store_must_be_roots_alone)
{
	struct umbra_error err = {0};
	struct lab_set *s;

	lab_run("mkdir -m 755 top/.umbra && chown 12345 top/.umbra");
	s = calloc(1, sizeof(*s));
	lab_resolve(lab_path("at"), &s->volumes);
	s->set = umbra_set_new();
	s->members = calloc(1, sizeof(*s->members));
	cr_assert_eq(umbra_set_add_shadow(s->set, umbra_shadow_new("/x", "btrfs")), 0);
	*s->members = (struct umbra_member){
		.provider = &umbra_provider_btrfs,
		.volume = s->volumes.v[0],
		.origin_fd = umbra_open_real(s->volumes.v[0]->path, O_PATH | O_DIRECTORY),
		.set = s->set,
		.shadow = s->set->shadows[0],
		.state_fd = -1};
	cr_assert_eq(umbra_provider_btrfs.prepare(s->members, &err), -EACCES);
	cr_assert_not_null(strstr(err.text, "root's alone"), "%s", err.text);
	lab_free(s);
}

static void *open_often(void *arg)
{
	int i;

	for (i = 0; i < 50; i++) {
		struct umbra_root *root = open_copy(arg);

		check_content(root, "f", "old");
		umbra_root_close(root);
	}
	return NULL;
}

Test(btrfs, many_threads_open_at_once)
{
	pthread_t threads[8];
	struct lab_set *s;
	size_t i;

	lab_run("printf old >at/f && btrfs subvolume create at/in && printf old >at/in/f");
	s = lab_create(lab_path("at"));
	for (i = 0; i < UMBRA_ARRAY_SIZE(threads); i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, open_often, s->set->shadows[i % 2]),
			     0);
	for (i = 0; i < UMBRA_ARRAY_SIZE(threads); i++)
		pthread_join(threads[i], NULL);
	/* the shared mount is gone with its last user: nothing keeps the filesystem busy */
	lab_run("dev=$(findmnt -no SOURCE top) && umount at top && "
		"! grep -q \"^$dev \" /proc/mounts && for i in 1 2 3 4 5; do "
		"losetup $dev || exit 0; sleep 0.2; done; exit 1");
	lab_free(s);
}

Test(btrfs, another_snapshot_in_its_place_is_not_shown)
{
	struct lab_set *s = lab_create(lab_path("at"));
	struct umbra_shadow *shadow = s->set->shadows[0];
	struct umbra_error err = {0};

	lab_run("cd top/.umbra/%s && mv root away && btrfs subvolume snapshot -r ../../@ root",
		shadow->id.s);
	cr_assert_eq(open_fails(shadow, &err), -EUCLEAN);
	cr_assert_eq(err.code, UMBRA_E_DAMAGED);
	cr_assert_lt(umbra_provider_btrfs.remove(-1, shadow, NULL, &err), 0);
	lab_run("[ -e top/.umbra/%s/shadow.json ]", shadow->id.s);
	lab_free(s);
}

Test(btrfs, a_copy_made_writable_is_not_shown_but_deleted)
{
	struct lab_set *s = lab_create(lab_path("at"));
	struct umbra_shadow *shadow = s->set->shadows[0];
	struct umbra_error err = {0};

	lab_run("btrfs property set -f top/.umbra/%s/root ro false", shadow->id.s);
	cr_assert_eq(open_fails(shadow, &err), -EUCLEAN);
	cr_assert_not_null(strstr(err.text, "writable"), "%s", err.text);
	remove_copy(shadow);
	cr_assert(nothing_left());
	lab_free(s);
}

Test(btrfs, subvolumes_that_others_put_into_a_copy_are_not_deleted)
{
	struct lab_set *s = lab_create(lab_path("at"));
	struct umbra_shadow *shadow = s->set->shadows[0];
	struct umbra_error err = {0};

	lab_run("cd top/.umbra/%s && btrfs property set -f root ro false && "
		"btrfs subvolume create root/mine",
		shadow->id.s);
	cr_assert_eq(umbra_provider_btrfs.remove(-1, shadow, NULL, &err), -ENOTEMPTY);
	cr_assert_not_null(strstr(err.text, "'mine'"), "%s", err.text);
	lab_run("btrfs subvolume delete top/.umbra/%s/root/mine", shadow->id.s);
	remove_copy(shadow);
	cr_assert(nothing_left());
	lab_free(s);
}

Test(btrfs, a_snapshot_that_is_gone)
{
	struct lab_set *s = lab_create(lab_path("at"));
	struct umbra_shadow *shadow = s->set->shadows[0];
	struct umbra_error err = {0};

	lab_run("btrfs subvolume delete top/.umbra/%s/root", shadow->id.s);
	cr_assert_eq(open_fails(shadow, &err), -ENOENT);
	remove_copy(shadow);
	cr_assert(nothing_left());
	cr_assert_eq(open_fails(shadow, &err), -ENOENT);
	lab_free(s);
}

Test(btrfs, removing_goes_on_where_it_was_killed)
{
	struct lab_set *s = lab_create(lab_path("at"));
	struct umbra_shadow *shadow = s->set->shadows[0];

	lab_run("rm top/.umbra/%s/shadow.json && touch top/.umbra/%s/.shadow.json.tmp",
		shadow->id.s, shadow->id.s);
	remove_copy(shadow);
	cr_assert(nothing_left());
	remove_copy(shadow);
	lab_free(s);
}

Test(btrfs, a_filesystem_that_is_not_mounted)
{
	struct lab_set *s = lab_create(lab_path("at"));
	struct umbra_shadow *shadow = s->set->shadows[0];
	struct umbra_error err = {0};

	/* somebody keeps the device so that it can be mounted again */
	lab_run("findmnt -no SOURCE top >dev && losetup -f --show $(cat dev) >held && "
		"umount at top");
	cr_assert_eq(open_fails(shadow, &err), -ENODEV);
	cr_assert_not_null(strstr(err.text, "two words"), "%s", err.text);
	cr_assert_not_null(strstr(err.text, "not mounted"), "%s", err.text);
	cr_assert_eq(umbra_provider_btrfs.remove(-1, shadow, NULL, &err), -ENODEV);
	cr_assert_eq(abort_leftover(shadow, &err), -ENODEV);
	lab_run("mount $(cat held) top");
	umbra_root_close(open_copy(shadow));
	remove_copy(shadow);
	lab_run("umount top && losetup -d $(cat held)");
	lab_free(s);
}

Test(btrfs, abort_after_every_step)
{
	struct umbra_error err = {0};
	int commit;

	for (commit = 0; commit <= 1; commit++) {
		struct lab_set *s = lab_prepare(lab_path("at"), "/state");

		if (commit)
			lab_commit(s);
		cr_assert_eq(umbra_provider_btrfs.abort(s->members, &err), 0, "%s", err.text);
		cr_assert_null(s->members->priv);
		cr_assert(nothing_left());
		lab_free(s);
	}
}

/* The set is made by a process that is killed; *known: with the filesystem's uuid. */
static void killed(bool commit, bool known)
{
	struct umbra_shadow *left;
	struct umbra_error err = {0};
	struct lab_set *s;
	int status;
	pid_t pid;

	s = lab_prepare(lab_path("at"), "/state");
	left = forgotten(s->set->shadows[0], known ? s->volumes.v[0]->uuid : NULL);
	pid = lab_fork();
	if (pid == 0) {
		if (commit)
			umbra_provider_btrfs.commit(s->members, &err);
		kill(getpid(), SIGKILL);
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert(WIFSIGNALED(status));
	cr_assert_eq(lab_true("[ -e top/.umbra/%s/root ]", left->id.s), commit);
	cr_assert_eq(abort_leftover(left, &err), 0, "%s", err.text);
	cr_assert(nothing_left());
	cr_assert_eq(abort_leftover(left, &err), 0, "%s", err.text);
	cr_assert_eq(umbra_provider_btrfs.abort(s->members, &err), 0, "%s", err.text);
	umbra_shadow_free(left);
	lab_free(s);
}

Test(btrfs, killed_after_prepare)
{
	killed(false, true);
}

Test(btrfs, killed_between_commit_and_finish)
{
	killed(true, true);
}

Test(btrfs, a_leftover_is_found_wherever_it_lies)
{
	killed(true, false);
}

static int count(void *arg, const struct umbra_found *found)
{
	_cleanup_set_ struct umbra_set *set = NULL;
	_cleanup_free_ char *owner = NULL;
	struct umbra_error err = {0};
	size_t members;

	cr_assert_not_null(strstr(found->where, "/.umbra/"));
	if (found->kind != UMBRA_FOUND_COPY)
		return 0;
	cr_assert_eq(umbra_shadow_record_parse(found->record, &set, &owner, &members, &err), 0,
		     "%s", err.text);
	cr_assert_str_eq(owner, "/state");
	umbra_root_close(open_copy(set->shadows[0]));
	++*(size_t *)arg;
	return 0;
}

Test(btrfs, scan_finds_what_is_finished_and_ours)
{
	struct lab_set *two, *other, *unfinished, *damaged;
	struct umbra_error err = {0};
	size_t n = 0;

	lab_run("btrfs subvolume create at/in");
	two = lab_create(lab_path("at"));
	other = lab_prepare(lab_path("at"), "/another/state");
	lab_commit(other);
	lab_finish(other);
	unfinished = lab_prepare(lab_path("at"), "/state");
	lab_commit(unfinished);
	damaged = lab_create(lab_path("at/in"));
	lab_run("echo '{' >top/.umbra/%s/shadow.json; mkdir top/.umbra/junk; touch top/.umbra/file",
		damaged->set->shadows[0]->id.s);
	cr_assert_eq(umbra_provider_btrfs.scan(-1, "/state", count, &n, &err), 0, "%s", err.text);
	cr_assert_eq(n, 2);
	cr_assert_eq(umbra_provider_btrfs.abort(&unfinished->members[0], &err), 0);
	cr_assert_eq(umbra_provider_btrfs.abort(&unfinished->members[1], &err), 0);
	lab_free(two);
	lab_free(other);
	lab_free(unfinished);
	lab_free(damaged);
}

/* What kinds of things scan() finds for a state directory; -1: the place of id is not among them.
 */
struct sight {
	int n[UMBRA_FOUND_STRANGE + 1];
	const char *id;
	int kind;
};

static int see(void *arg, const struct umbra_found *found)
{
	struct sight *s = arg;

	s->n[found->kind]++;
	if (s->id && strcmp(s->id, found->id) == 0)
		s->kind = (int)found->kind;
	return 0;
}

static int kind_of(const struct umbra_id *id, const char *state)
{
	struct sight s = {.id = id->s, .kind = -1};
	struct umbra_error err = {0};

	cr_assert_eq(umbra_provider_btrfs.scan(-1, state, see, &s, &err), 0, "%s", err.text);
	return s.kind;
}

static int discard(const struct umbra_id *id, const char *state)
{
	struct umbra_error err = {0};

	return umbra_provider_btrfs.discard(-1, state, id->s, NULL, &err);
}

/* As a process that is killed: nothing of it is open any more. */
static struct umbra_id leave_half_made(const char *state, bool commit)
{
	struct umbra_id id;
	int fd[2];
	pid_t pid;

	cr_assert_eq(pipe(fd), 0);
	pid = lab_fork();
	if (pid == 0) {
		struct lab_set *s = lab_prepare(lab_path("at"), state);

		if (commit)
			lab_commit(s);
		_exit(write(fd[1], &s->set->shadows[0]->id, sizeof(id)) != sizeof(id));
	}
	cr_assert_eq(read(fd[0], &id, sizeof(id)), (ssize_t)sizeof(id));
	cr_assert_eq(waitpid(pid, NULL, 0), pid);
	close(fd[0]);
	close(fd[1]);
	return id;
}

Test(btrfs, a_leftover_is_its_own_state_directorys_alone)
{
	struct umbra_id id;

	for (int commit = 0; commit < 2; commit++) {
		id = leave_half_made("/state", commit);
		cr_assert_eq(kind_of(&id, "/other"), -1);
		cr_assert_eq(discard(&id, "/other"), -EBUSY);
		cr_assert_eq(kind_of(&id, "/state"), UMBRA_FOUND_LEFTOVER);
		cr_assert_eq(discard(&id, "/state"), 0);
		cr_assert(nothing_left());
		cr_assert_eq(discard(&id, "/state"), 0);
	}
}

/* By somebody who calls their state directory the same, in another root. */
Test(btrfs, what_is_being_made_is_no_leftover)
{
	struct lab_set *s = lab_prepare(lab_path("at"), "/state");
	const struct umbra_id *id = &s->set->shadows[0]->id;
	struct umbra_error err = {0};

	cr_assert_eq(kind_of(id, "/state"), -1);
	cr_assert_eq(discard(id, "/state"), -EBUSY);
	lab_commit(s);
	cr_assert_eq(kind_of(id, "/state"), -1);
	cr_assert_eq(discard(id, "/state"), -EBUSY);
	lab_finish(s);
	cr_assert_eq(kind_of(id, "/state"), UMBRA_FOUND_COPY);
	cr_assert_eq(discard(id, "/state"), -EBUSY);
	umbra_root_close(open_copy(s->set->shadows[0]));
	cr_assert_eq(umbra_provider_btrfs.remove(-1, s->set->shadows[0], NULL, &err), 0);
	lab_free(s);
}

Test(btrfs, what_does_not_say_whose_it_is_is_kept)
{
	struct umbra_id id = leave_half_made("/state", true);

	lab_run("setfattr -x trusted.umbra.state_dir top/.umbra/%s", id.s);
	cr_assert_eq(kind_of(&id, "/state"), UMBRA_FOUND_STRANGE);
	cr_assert_eq(discard(&id, "/state"), -EBUSY);
	cr_assert(lab_true("[ -e top/.umbra/%s/root ]", id.s));
	/* Killed before it could be marked, it has nothing to keep. */
	lab_run("btrfs subvolume delete top/.umbra/%s/root", id.s);
	cr_assert_eq(kind_of(&id, "/other"), UMBRA_FOUND_LEFTOVER);
	cr_assert_eq(discard(&id, "/other"), 0);
	cr_assert(nothing_left());
}

Test(btrfs, a_damaged_record_is_told_to_its_owner)
{
	struct lab_set *s = lab_create(lab_path("at"));
	const struct umbra_id *id = &s->set->shadows[0]->id;

	lab_run("truncate -s 20 top/.umbra/%s/shadow.json", id->s);
	cr_assert_eq(kind_of(id, "/state"), UMBRA_FOUND_STRANGE);
	cr_assert_eq(kind_of(id, "/other"), -1);
	lab_run(": >top/.umbra/%s/shadow.json", id->s);
	cr_assert_eq(kind_of(id, "/state"), UMBRA_FOUND_STRANGE);
	cr_assert_eq(discard(id, "/state"), -EBUSY);
	lab_free(s);
}

static int stop(void *arg, const struct umbra_found *found)
{
	(void)arg;
	(void)found;
	return -ECANCELED;
}

Test(btrfs, scan_can_be_stopped)
{
	struct lab_set *s = lab_create(lab_path("at"));
	struct umbra_error err = {0};

	cr_assert_eq(umbra_provider_btrfs.scan(-1, "/state", stop, NULL, &err), -ECANCELED);
	lab_free(s);
}

Test(btrfs, several_devices_and_any_of_them)
{
	struct umbra_root *root;
	struct lab_set *s;

	lab_run("truncate -s 128M i1 i2 && losetup -f --show i1 >d1 && losetup -f --show i2 >d2 && "
		"mkfs.btrfs -q -d raid1 -m raid1 $(cat d1 d2) && mkdir more && "
		"mount $(cat d2) more; r=$?; losetup -d $(cat d1 d2); rm i1 i2; "
		"printf old >more/f; exit $r");
	s = lab_create(lab_path("more"));
	root = open_copy(s->set->shadows[0]);
	check_content(root, "f", "old");
	umbra_root_close(root);
	remove_copy(s->set->shadows[0]);
	lab_free(s);
}
