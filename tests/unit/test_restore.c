/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "fake_copies.h"
#include "snapshot/difference.h"
#include "snapshot/restore.h"
#include "sync_spy.h"

TestSuite(restore, .init = fake_begin, .fini = fake_end, .timeout = 60);

static int unexpected(struct umbra_difference *d, enum umbra_change change, const char *path,
		      const struct umbra_node *old, const struct umbra_node *new, int differs,
		      struct umbra_error *err)
{
	_cleanup_free_ char *what = umbra_differs_text(differs);

	(void)d;
	(void)old;
	(void)new;
	(void)err;
	cr_assert_fail("%s %s %s", umbra_change_name(change), path, what);
	return 0;
}

/* name is live exactly as in the first set. */
static void is_as_before(const char *name)
{
	_cleanup_free_ char *path = fake_path(name);
	_cleanup_view_ struct umbra_view *from = NULL, *to = NULL;
	struct umbra_difference d = {.how = UMBRA_COMPARE_EXACT, .change = unexpected};

	from = umbra_view_of_set(fake_opener(), fake_sets()->sets[0]);
	to = umbra_view_live(fake_opener());
	d.from = from;
	d.to = to;
	cr_assert_eq(umbra_difference_walk(&d, path, NULL), 1);
}

static int run(struct umbra_restore *r, const char *name, const char *dest)
{
	_cleanup_view_ struct umbra_view *view = NULL;
	_cleanup_free_ char *path = fake_path(name), *to = fake_path(dest);
	struct umbra_error err = {0};
	int ret;

	view = umbra_view_of_set(fake_opener(), fake_sets()->sets[0]);
	r->view = view;
	ret = umbra_restore_path(r, path, to, &err);
	umbra_restore_finish(r);
	return ret;
}

static void no_leftovers(void)
{
	fake_run("test -z \"$(find . -name '" UMBRA_RESTORE_TEMP "*')\"");
}

Test(restore, a_deleted_file)
{
	struct umbra_restore r = {0};

	fake_run("echo one >f; chmod 640 f; touch -d '1960-01-01 00:00:00.123456789' f; "
		 "setfattr -n user.x -v y f 2>/dev/null || true");
	fake_set(1);
	fake_run("rm f");
	cr_assert_eq(run(&r, "f", "f"), 0);
	cr_assert_eq(r.made, 1);
	is_as_before("f");
	no_leftovers();
}

Test(restore, a_changed_file_is_replaced_and_the_same_one_left)
{
	struct umbra_restore r = {0};

	fake_run("echo one >f; touch -d @5 f");
	fake_set(1);
	fake_run("echo two >f; touch -d @5 f; ln f other");
	cr_assert_eq(run(&r, "f", "f"), 0);
	cr_assert_eq(r.replaced, 1);
	is_as_before("f");
	fake_run("test \"$(cat other)\" = two");
	cr_assert_eq(run(&r, "f", "f"), 0);
	cr_assert_eq(r.same, 1);
	cr_assert_eq(r.replaced, 1);
}

Test(restore, every_type_and_merging)
{
	struct umbra_restore r = {0};

	fake_run("mkdir -p d/sub/empty; echo 1 >d/f; ln -s nowhere d/l; mkfifo d/p; "
		 "truncate -s 5M d/hole; chmod 2750 d/sub; touch -h -d @7 d/l d/sub/empty d/sub d");
	fake_set(1);
	fake_run("rm -r d/*; echo new >d/later; ln -s /etc d/l; chmod 700 d");
	cr_assert_eq(run(&r, "d", "d"), 0);
	cr_assert_eq(r.kept, 1);
	cr_assert_eq(r.replaced, 1);
	cr_assert_eq(r.failed, 0);
	fake_run("test \"$(cat d/later)\" = new; rm d/later; touch -d @7 d");
	is_as_before("d");
	fake_run("test $(stat -c %%b d/hole) -lt 100");
}

Test(restore, exactly_the_same_entries_get_the_directory_its_time_back)
{
	struct umbra_restore r = {0};

	fake_run("mkdir d; echo 1 >d/f; touch -d @7 d");
	fake_set(1);
	fake_run("rm d/f");
	cr_assert_eq(run(&r, "d", "d"), 0);
	fake_run("test $(stat -c %%Y d) = 7");
}

Test(restore, hard_links_stay_together)
{
	struct umbra_restore r = {0};

	fake_run("mkdir d e; echo 1 >d/a; ln d/a d/b; ln d/a e/c");
	fake_set(1);
	fake_run("rm d/b; cp -p d/a x; mv x d/b; rm e/c");
	cr_assert_eq(run(&r, "d", "d"), 0);
	fake_run("test d/a -ef d/b");
	fake_run("rm -r d e");
	{
		struct umbra_restore all = {0};
		_cleanup_view_ struct umbra_view *view = NULL;

		view = umbra_view_of_set(fake_opener(), fake_sets()->sets[0]);
		all.view = view;
		cr_assert_eq(umbra_restore_path(&all, fake_live(), fake_live(), NULL), 0);
		umbra_restore_finish(&all);
	}
	fake_run("test d/a -ef d/b && test d/a -ef e/c");
}

Test(restore, missing_parents_come_back_as_they_were)
{
	struct umbra_restore r = {0};

	fake_run("mkdir -p a/b/c; chmod 751 a; chmod 1711 a/b; echo x >a/b/c/f; echo y >a/g");
	fake_set(1);
	fake_run("rm -r a");
	cr_assert_eq(run(&r, "a/b/c/f", "a/b/c/f"), 0);
	fake_run("test $(stat -c %%a a) = 751; test $(stat -c %%a a/b) = 1711; test ! -e a/g");
	is_as_before("a/b/c/f");
}

Test(restore, to_another_place)
{
	struct umbra_restore r = {0};

	fake_run("echo one >f");
	fake_set(1);
	fake_run("echo two >f; mkdir to");
	cr_assert_eq(run(&r, "f", "to/old"), 0);
	fake_run("test $(cat to/old) = one; test $(cat f) = two");
	cr_assert_eq(run(&r, "f", "no/old"), -ENOENT);
	fake_run("test ! -e no");
}

Test(restore, no_link_is_followed)
{
	struct umbra_restore r = {0};

	fake_run("mkdir -p d/e out; echo one >d/e/f");
	fake_set(1);
	fake_run("rm -r d/e; ln -s ../out d/e");
	cr_assert_lt(run(&r, "d/e/f", "d/e/f"), 0);
	cr_assert_eq(run(&r, "d", "d"), 0);
	cr_assert_eq(r.failed, 1);
	fake_run("test -L d/e; test -z \"$(ls out)\"");
}

Test(restore, a_file_does_not_take_the_place_of_a_directory)
{
	struct umbra_restore r = {0};

	fake_run("mkdir d; echo one >d/f; echo two >d/g");
	fake_set(1);
	fake_run("rm d/f d/g; mkdir d/f; echo precious >d/f/x");
	cr_assert_eq(run(&r, "d", "d"), 0);
	cr_assert_eq(r.failed, 1);
	fake_run("test $(cat d/f/x) = precious; test $(cat d/g) = two");
}

Test(restore, dry_run_changes_nothing)
{
	struct umbra_restore r = {.dry_run = true};

	fake_run("mkdir -p d/e; echo one >d/e/f; echo two >d/g; chmod 700 d");
	fake_set(1);
	fake_run("rm -r d/e; echo changed >d/g; chmod 755 d; touch -d @9 d; "
		 "find . -printf '%%p %%m %%T@ %%i\\n' | sort >../before");
	cr_assert_eq(run(&r, "d", "d"), 0);
	cr_assert_eq(r.made, 2);
	cr_assert_eq(r.replaced, 1);
	cr_assert_eq(r.attrs, 1);
	fake_run("find . -printf '%%p %%m %%T@ %%i\\n' | sort | cmp - ../before");
}

Test(restore, leftovers_go_unless_somebody_is_at_work)
{
	_cleanup_close_ int fd = -1;
	struct umbra_restore r = {0};

	fake_run("echo one >f");
	fake_set(1);
	fake_run("echo x >" UMBRA_RESTORE_TEMP "0123456789abcdef; echo x >" UMBRA_RESTORE_TEMP
		 "mine; rm f");
	fd = open(fake_live(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cr_assert_eq(flock(fd, LOCK_SH), 0);
	cr_assert_eq(run(&r, "f", "f"), 0);
	fake_run("test -e " UMBRA_RESTORE_TEMP "0123456789abcdef");
	fd = umbra_close(fd);
	cr_assert_eq(run(&r, "f", "f"), 0);
	fake_run("test ! -e " UMBRA_RESTORE_TEMP "0123456789abcdef; test -e " UMBRA_RESTORE_TEMP
		 "mine");
}

static int after_three(struct umbra_restore *r)
{
	return r->made >= 3;
}

Test(restore, stopping_leaves_whole_files_only)
{
	struct umbra_restore r = {.stop = after_three};

	fake_run("mkdir d; for i in 1 2 3 4 5 6; do echo $i >d/$i; done");
	fake_set(1);
	fake_run("rm d/*");
	cr_assert_eq(run(&r, "d", "d"), -ECANCELED);
	fake_run("test $(ls d | wc -l) = 3; cat d/*");
	no_leftovers();
}

/* The first question comes before the file, the second while it is written. */
static int at_second(struct umbra_restore *r)
{
	static unsigned int asked;

	(void)r;
	return ++asked == 2;
}

Test(restore, stopping_in_the_middle_of_a_file_says_interrupted)
{
	_cleanup_free_ char *path = fake_path("d");
	_cleanup_view_ struct umbra_view *view = NULL;
	struct umbra_restore r = {.stop = at_second};
	struct umbra_error err = {0};

	fake_run("mkdir d; head -c 3M /dev/urandom >d/f");
	fake_set(1);
	fake_run("rm d/f");
	view = umbra_view_of_set(fake_opener(), fake_sets()->sets[0]);
	r.view = view;
	cr_assert_eq(umbra_restore_path(&r, path, path, &err), -ECANCELED);
	umbra_restore_finish(&r);
	cr_assert_eq(err.code, UMBRA_E_INTERRUPTED);
	cr_assert_str_eq(err.text, "interrupted");
	fake_run("test -z \"$(ls -A d)\"");
}

static void says_unreadable(struct umbra_restore *r, const struct umbra_error *why)
{
	_cleanup_free_ char *path = fake_path("d/f");
	_cleanup_free_ char *text =
		umbra_asprintf("the content of '%s' was not readable when "
			       "@GMT-1970.01.01-00.00.01 was made and is not in it",
			       path);

	(void)r;
	cr_assert_str_eq(why->text, text);
}

Test(restore, what_was_not_readable_is_said_to_be_not_in_the_copy)
{
	struct umbra_restore r = {.warn = says_unreadable};

	fake_run("mkdir d; echo 1 >d/f; echo 2 >d/g");
	fake_unreadable(fake_set(1), "d/f");
	cr_assert_eq(run(&r, "d", "d"), 0); /* as the live file, as far as one sees */
	cr_assert_eq(r.failed, 1);
	fake_run("rm d/*");
	cr_assert_eq(run(&r, "d", "d"), 0);
	cr_assert_eq(r.failed, 2);
	cr_assert_eq(r.made, 1);
	fake_run("test ! -e d/f; cat d/g");
}

Test(restore, the_state_directory_is_left_alone)
{
	_cleanup_free_ char *state = fake_path("d/state");
	struct umbra_restore r = {.state_dir = state};

	fake_run("mkdir -p d/state; echo old >d/state/catalog.db");
	fake_set(1);
	fake_run("echo new >d/state/catalog.db");
	cr_assert_eq(run(&r, "d", "d"), 0);
	cr_assert_eq(r.skipped, 1);
	fake_run("test $(cat d/state/catalog.db) = new");
}

Test(restore, what_is_not_in_the_set)
{
	struct umbra_restore r = {0};

	fake_set(1);
	cr_assert_eq(run(&r, "f", "f"), -ENOENT);
}

Test(restore, paths_longer_than_path_max)
{
	_cleanup_free_ char *name = NULL;
	struct umbra_restore r = {0};

	fake_set(1); /* cp cannot, so the tree is made in the copy */
	fake_run("cd ../copy.0; d=$(printf 'd%%.0s' $(seq 200)); i=0; "
		 "while [ $i -lt 25 ]; do mkdir $d; cd -P $d; i=$((i+1)); done; echo deep >f");
	name = calloc(1, 6000);
	for (size_t i = 0; i < 25; i++) {
		memset(name + i * 201, 'd', 200);
		name[i * 201 + 200] = '/';
	}
	strcat(name, "f");
	cr_assert_eq(run(&r, name, name), 0);
	cr_assert_eq(r.made, 26);
	is_as_before(name);
}

static size_t too_deep;

static void count_deep(struct umbra_restore *r, const struct umbra_error *why)
{
	(void)r;
	too_deep += strstr(why->text, "directories below each other") != NULL;
}

Test(restore, deeper_than_the_stack_allows_is_said_not_crashed)
{
	struct umbra_restore r = {.warn = count_deep, .depth = UMBRA_DEPTH_MAX - 3};

	fake_run("mkdir -p d/d/d/d/d/d");
	fake_set(1);
	fake_run("rm -r d");
	too_deep = 0;
	cr_assert_eq(run(&r, "d", "d"), 0);
	cr_assert_eq(too_deep, 1);
	cr_assert_eq(r.failed, 1);
	fake_run("test -d d/d/d/d; test ! -e d/d/d/d/d");
}

/* --- what was restored survives a power cut --- */

Test(restore, the_filesystem_that_was_restored_to_is_written_out)
{
	_cleanup_view_ struct umbra_view *view = NULL;
	struct umbra_restore r = {0};

	place_need_root("to mount a filesystem");
	fake_run("mount -t tmpfs umbra-unit .");
	fake_run("echo x >f");
	fake_set(1);
	fake_run("rm f");
	view = umbra_view_of_set(fake_opener(), fake_sets()->sets[0]);
	r.view = view;
	sync_spy_reset();
	cr_assert_eq(umbra_restore_path(&r, fake_live(), fake_live(), NULL), 0);
	umbra_restore_finish(&r);
	cr_assert(sync_spy_wrote_out(fake_live()));
	fake_run("test -e f && umount -l .");
}

Test(restore, a_link_replaces_only_with_what_is_written_out)
{
	struct umbra_restore r = {0};

	fake_run("mkdir d; echo 1 >d/a; ln d/a d/b");
	fake_set(1);
	fake_run("rm d/a d/b; echo old >d/b");
	sync_spy_reset();
	cr_assert_eq(run(&r, "d", "d"), 0);
	cr_assert_eq(sync_spy_fsyncs(), 1);
	fake_run("test d/a -ef d/b");
}

Test(restore, into_a_directory_that_may_not_be_read)
{
	struct umbra_restore r = {0};

	place_need_root("to become another user");
	fake_run("mkdir d; echo 1 >d/a; chmod 755 ..; chmod 300 d; chown 4711 d d/a");
	fake_set(1);
	fake_run("rm d/a; chmod -R a+rX ..; chmod 300 d");
	cr_assert_eq(setresuid((uid_t)-1, 4711, 0), 0);
	cr_assert_eq(run(&r, "d/a", "d/a"), 0);
	cr_assert_eq(setresuid((uid_t)-1, 0, 0), 0);
	cr_assert_eq(r.failed, 0);
	is_as_before("d/a");
}
