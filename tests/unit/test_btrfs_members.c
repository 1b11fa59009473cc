/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which subvolumes a set has, and what it says about the others. */
#include <criterion/criterion.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "btrfs_lab.h"

TestSuite(btrfs_members, .init = lab_begin, .fini = lab_end, .timeout = 60);

static void check_paths(const struct umbra_volume_list *list, const char *const *want, size_t n)
{
	size_t i;

	cr_assert_eq(list->n, n, "%zu members, not %zu", list->n, n);
	for (i = 0; i < n; i++)
		cr_assert_str_eq(list->v[i]->path, want[i]);
}
#define members_are(list, ...)                                                                     \
	check_paths(list, (const char *const[]){__VA_ARGS__},                                      \
		    sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *))

/* The text of the note at path; NULL: there is none. */
static const char *note_at(const struct umbra_shadow *shadow, const char *path)
{
	const json_t *note;
	size_t i;

	json_array_foreach (shadow->notes, i, note) {
		cr_assert_str_eq(umbra_doc_string(note, "kind"), UMBRA_NOTE_UNCOVERED);
		if (strcmp(umbra_doc_string(note, "path"), path) == 0)
			return umbra_doc_string(note, "text");
	}
	return NULL;
}

static int resolve(const char *path, struct umbra_volume_list *out, struct umbra_error *err)
{
	_cleanup_volume_ struct umbra_volume *v = NULL;

	cr_assert_eq(umbra_volume_resolve(path, &v, err), 0, "%s", err->text);
	return umbra_provider_btrfs.resolve(v, out, err);
}

static int probe(const char *path, struct umbra_error *err)
{
	_cleanup_volume_ struct umbra_volume *v = NULL;

	cr_assert_eq(umbra_volume_resolve(path, &v, err), 0, "%s", err->text);
	return umbra_provider_btrfs.probe(v, err);
}

Test(btrfs_members, everything_nested_at_any_depth)
{
	_cleanup_volume_list_ struct umbra_volume_list list = {0};

	lab_run("cd at && btrfs subvolume create b && btrfs subvolume create 'a b' && "
		"mkdir -p d/e && btrfs subvolume create d/e/x && btrfs subvolume create d/e/x/y && "
		"btrfs subvolume create \"$(printf 'd/new\\nline\\377')\" && "
		"btrfs property set b ro true");
	lab_resolve(lab_path("at/d/e"), &list);
	members_are(&list, lab_path("at"), lab_path("at/a b"), lab_path("at/b"),
		    lab_path("at/d/e/x"), lab_path("at/d/e/x/y"), lab_path("at/d/new\nline\377"));
	cr_assert_neq(list.v[0]->dev, list.v[1]->dev);
}

Test(btrfs_members, the_subvolume_that_holds_the_directory)
{
	_cleanup_volume_list_ struct umbra_volume_list list = {0};

	lab_run("btrfs subvolume create at/in && mkdir -p at/in/x/y");
	lab_resolve(lab_path("top/@/in/x/y"), &list);
	members_are(&list, lab_path("top/@/in"));
}

Test(btrfs_members, a_mounted_subvolume_is_its_own_root)
{
	_cleanup_volume_list_ struct umbra_volume_list list = {0};

	lab_run("btrfs subvolume create at/in && mkdir at/in/x more && "
		"mount --bind at/in more && btrfs subvolume create top/beside");
	lab_resolve(lab_path("more/x"), &list);
	members_are(&list, lab_path("more"));
}

Test(btrfs_members, read_only_snapshots_are_left_out_and_said)
{
	_cleanup_volume_list_ struct umbra_volume_list list = {0};
	struct lab_set *s;

	lab_run("cd at && btrfs subvolume create data && btrfs subvolume snapshot data work && "
		"mkdir -p .snapshots/1 .snapshots/2 && "
		"btrfs subvolume snapshot -r data .snapshots/1/snapshot && "
		"btrfs subvolume snapshot -r . .snapshots/2/snapshot && "
		"btrfs subvolume snapshot -r data data/old");
	lab_resolve(lab_path("at"), &list);
	members_are(&list, lab_path("at"), lab_path("at/data"), lab_path("at/work"));

	s = lab_create(lab_path("at"));
	cr_assert_str_eq(note_at(lab_shadow(s, lab_path("at")), lab_path("at/.snapshots")),
			 "2 read-only snapshots below are not copied again");
	cr_assert_eq(json_array_size(lab_shadow(s, lab_path("at"))->notes), 1);
	cr_assert_str_eq(note_at(lab_shadow(s, lab_path("at/data")), lab_path("at/data/old")),
			 "a read-only snapshot: it is not copied again");
	cr_assert_eq(json_array_size(lab_shadow(s, lab_path("at/work"))->notes), 0);
	lab_free(s);
}

Test(btrfs_members, where_left_out_ones_lie_is_a_directory_of_all)
{
	struct lab_set *s;

	lab_run("cd at && btrfs subvolume snapshot -r . snap && "
		"btrfs subvolume snapshot -r . snap2");
	s = lab_create(lab_path("at"));
	cr_assert_not_null(note_at(lab_shadow(s, lab_path("at")), lab_path("at")));
	lab_free(s);
}

Test(btrfs_members, what_something_is_mounted_over_is_left_out_and_said)
{
	_cleanup_volume_list_ struct umbra_volume_list list = {0};
	struct lab_set *s;

	lab_run("cd at && btrfs subvolume create under && btrfs subvolume create same && "
		"mount -t tmpfs none under && mount --bind same same");
	lab_resolve(lab_path("at"), &list);
	members_are(&list, lab_path("at"), lab_path("at/same"));
	s = lab_create(lab_path("at"));
	cr_assert_str_eq(note_at(lab_shadow(s, lab_path("at")), lab_path("at/under")),
			 "a nested subvolume that something else is mounted over");
	lab_free(s);
}

Test(btrfs_members, one_that_appears_before_the_instant_is_said)
{
	struct lab_set *s = lab_prepare(lab_path("at"), "/state");

	lab_run("btrfs subvolume create at/late");
	lab_commit(s);
	lab_run("btrfs subvolume create at/later && btrfs subvolume snapshot -r at at/snap");
	lab_finish(s);
	cr_assert_not_null(note_at(lab_shadow(s, lab_path("at")), lab_path("at/late")));
	cr_assert_eq(json_array_size(lab_shadow(s, lab_path("at"))->notes), 1);
	lab_free(s);
}

Test(btrfs_members, sixty_four_and_no_more)
{
	struct umbra_volume_list list = {0};
	struct umbra_error err = {0};

	lab_run("cd at && for i in $(seq 63); do btrfs subvolume create $i; done");
	lab_resolve(lab_path("at"), &list);
	cr_assert_eq(list.n, UMBRA_SET_VOLUMES_MAX);
	umbra_volume_list_finish(&list);
	lab_run("btrfs subvolume create at/64");
	cr_assert_eq(resolve(lab_path("at"), &list, &err), -E2BIG);
	cr_assert_eq(list.n, 0);
	cr_assert_not_null(strstr(err.text, "at most 64"), "%s", err.text);
}

Test(btrfs_members, a_directory_mounted_alone_is_refused)
{
	struct umbra_error err = {0};

	lab_run("mkdir at/d more && mount --bind at/d more");
	cr_assert_eq(probe(lab_path("more"), &err), 0);
	cr_assert_not_null(strstr(err.text, "only a directory"), "%s", err.text);
}

Test(btrfs_members, its_own_store_is_refused_and_never_a_member)
{
	_cleanup_volume_list_ struct umbra_volume_list list = {0};
	struct umbra_error err = {0};
	struct lab_set *s = lab_create(lab_path("top"));
	const char *id = lab_shadow(s, lab_path("top/@"))->id.s;

	cr_assert_eq(resolve(lab_path("top/.umbra"), &list, &err), -EINVAL);
	cr_assert_eq(resolve(lab_path("top/.umbra/%s/root", id), &list, &err), -EINVAL);
	cr_assert_not_null(strstr(err.text, "umbra's own store"), "%s", err.text);
	/* a name like it elsewhere is anybody's */
	lab_run("mkdir at/.umbra && btrfs subvolume create at/.umbra/x");
	lab_resolve(lab_path("top"), &list);
	members_are(&list, lab_path("top"), lab_path("top/@"), lab_path("top/@/.umbra/x"));
	lab_free(s);
}

Test(btrfs_members, probe_says_why_not)
{
	_cleanup_volume_ struct umbra_volume *v = NULL;
	struct umbra_error err = {0};
	int status;
	pid_t pid;

	cr_assert_eq(probe("/var/tmp", &err), 0);
	cr_assert_not_null(strstr(err.text, "not on btrfs"), "%s", err.text);
	lab_run("mount -o remount,ro,bind at");
	cr_assert_eq(probe(lab_path("at"), &err), 0);
	cr_assert_eq(err.code, UMBRA_E_READ_ONLY);

	lab_run("chmod 711 .");
	cr_assert_eq(umbra_volume_resolve(lab_path("top/@"), &v, &err), 0, "%s", err.text);
	pid = lab_fork();
	if (pid == 0) {
		if (setresuid(12345, 12345, 12345) < 0 || umbra_provider_btrfs.probe(v, &err) != 0)
			_exit(1);
		_exit(err.code == UMBRA_E_PERMISSION && strstr(err.text, "needs root") ? 0 : 2);
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert_eq(status, 0, "%x", status);
}
