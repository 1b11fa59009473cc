/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the tree shows. */
#include <criterion/criterion.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "fake_tree.h"

TestSuite(tree, .init = fake_tree_begin, .fini = fake_tree_end, .timeout = 60);

#define T1 1795143000
#define S1 "@GMT-2026.11.20-02.50.00"
#define S2 "@GMT-2026.11.20-02.51.00"

static struct umbra_entry walk(struct umbra_tree *tree, const char *path)
{
	struct umbra_entry e;
	int r = fake_tree_walk(tree, path, &e);

	cr_assert_eq(r, 0, "%s: %s", path, strerror(-r));
	cr_assert(*path == '\0' || e.st.st_ino == e.id, "%s", path);
	return e;
}

static int missing(struct umbra_tree *tree, const char *path)
{
	struct umbra_entry e;

	return fake_tree_walk(tree, path, &e);
}

static void expect_names(struct umbra_tree *tree, const char *path, const char *names)
{
	uint64_t id = walk(tree, path).id;

	for (size_t at_once = 1; at_once < 100; at_once *= 5) {
		_cleanup_free_ char *got = fake_tree_names(tree, id, at_once);

		cr_expect_str_eq(got, names, "%s, %zu at once: %s", path, at_once, got);
	}
}

static int by_word(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* A store lists in an order of its own. */
static void expect_sorted(struct umbra_tree *tree, const char *path, const char *names)
{
	char *words[64], *save = NULL, sorted[1024] = "";
	_cleanup_free_ char *got = fake_tree_names(tree, walk(tree, path).id, 3);
	size_t n = 0;

	for (char *w = strtok_r(got, " ", &save); w; w = strtok_r(NULL, " ", &save))
		words[n++] = w;
	qsort(words, n, sizeof(char *), by_word);
	for (size_t i = 0; i < n; i++) {
		strcat(sorted, i ? " " : "");
		strcat(sorted, words[i]);
	}
	cr_expect_str_eq(sorted, names, "%s: %s", path, sorted);
}

static void expect_link(struct umbra_tree *tree, const char *path, const char *target)
{
	char got[256] = {0};
	ssize_t n = umbra_tree_readlink(tree, walk(tree, path).id, got, sizeof(got) - 1);

	cr_assert_eq(n, (ssize_t)strlen(target), "%s: %zd", path, n);
	cr_assert_str_eq(got, target);
}

Test(tree, without_sets_it_is_empty)
{
	_cleanup_tree_ struct umbra_tree *tree = fake_tree_new(false, 0);

	expect_names(tree, "", ". .. by-volume");
	expect_names(tree, "by-volume", ". ..");
	cr_expect_eq(missing(tree, "latest"), -ENOENT);
	cr_expect_eq(missing(tree, "by-volume/srv"), -ENOENT);
}

Test(tree, sets_and_volumes_are_listed_and_nothing_is_opened)
{
	fake_tree_set(T1, "/srv/data", "/home", NULL);
	fake_tree_set(T1 + 60, "/home", NULL);
	_cleanup_tree_ struct umbra_tree *tree = fake_tree_new(false, 0);

	expect_names(tree, "", ". .. by-volume latest " S1 " " S2);
	expect_names(tree, "by-volume", ". .. home srv-data");
	expect_names(tree, "by-volume/home", ". .. " S1 " " S2);
	expect_names(tree, "by-volume/srv-data", ". .. " S1);
	expect_names(tree, S1, ". .. home srv");
	expect_names(tree, S1 "/srv", ". .. data");
	expect_names(tree, S2, ". .. home");
	expect_link(tree, "latest", S2);
	cr_expect_eq(missing(tree, S2 "/srv"), -ENOENT);
	cr_expect_eq(missing(tree, "by-volume/srv-data/" S2), -ENOENT);
	cr_expect_eq(missing(tree, "@GMT-2026.11.20-02.52.00"), -ENOENT);
	cr_expect_eq(missing(tree, "latest/x"), -ENOTDIR);
	cr_expect_eq(fake_tree.opened, 0);
}

Test(tree, the_latest_is_by_order_of_creation)
{
	fake_tree_set(T1 + 60, "/a", NULL);
	fake_tree_set(T1, "/a", NULL); /* the clock was set back */
	_cleanup_tree_ struct umbra_tree *tree = fake_tree_new(false, 0);

	expect_link(tree, "latest", S1);
	expect_names(tree, "", ". .. by-volume latest " S2 " " S1);
	walk(tree, S1);
	walk(tree, S2);
}

Test(tree, a_set_directory_has_the_set_s_time)
{
	fake_tree_set(T1, "/srv/data", NULL);
	_cleanup_tree_ struct umbra_tree *tree = fake_tree_new(false, 0);
	struct umbra_entry e = walk(tree, S1);

	cr_expect_eq(e.st.st_mtim.tv_sec, T1);
	cr_expect_eq(e.st.st_mode, S_IFDIR | 0755);
	e = walk(tree, "latest");
	cr_expect_eq(e.st.st_mode, S_IFLNK | 0777);
	cr_expect_eq(e.st.st_size, (off_t)strlen(S1));
}

static void fill_a(const struct umbra_set *set)
{
	fake_tree_run(set, 0,
		      "mkdir d 'd/e f'; echo hello >d/file; ln d/file hard; ln -s d/file link;"
		      "mkfifo fifo; touch -d '1960-01-02 03:04:05.123456789Z' old;"
		      "chmod 6751 d/file; touch \"$(printf 'bad\\377\\nname')\"");
}

static void expect_contents(struct umbra_tree *tree, const char *top)
{
	_cleanup_free_ char *hard = umbra_asprintf("%s/hard", top),
			    *file = umbra_asprintf("%s/d/file", top),
			    *link = umbra_asprintf("%s/link", top),
			    *fifo = umbra_asprintf("%s/fifo", top),
			    *old = umbra_asprintf("%s/old", top),
			    *bad = umbra_asprintf("%s/bad\xff\nname", top),
			    *none = umbra_asprintf("%s/d/none", top);
	struct umbra_entry e = walk(tree, file);
	struct umbra_file *f;
	struct stat st;
	char buf[16];

	cr_expect_eq(e.id, walk(tree, hard).id);
	cr_expect_eq(e.st.st_nlink, 2);
	cr_expect_eq(e.st.st_mode, S_IFREG | 06751);
	cr_assert_eq(umbra_tree_getattr(tree, e.id, &st), 0);
	cr_expect_eq(st.st_ino, e.id);
	cr_expect_eq(st.st_size, 6);
	cr_assert_eq(umbra_tree_open(tree, e.id, &f), 0);
	cr_expect_eq(pread(umbra_file_fd(f), buf, sizeof(buf), 0), 6);
	umbra_tree_close(f);
	expect_link(tree, link, "d/file");
	cr_expect_eq(umbra_tree_open(tree, walk(tree, fifo).id, &f), -EINVAL);
	cr_expect_eq(umbra_tree_open(tree, walk(tree, top).id, &f), -EISDIR);
	e = walk(tree, old);
	cr_expect_eq(e.st.st_mtim.tv_sec, -315521755);
	cr_expect_eq(e.st.st_mtim.tv_nsec, 123456789);
	cr_expect_eq(umbra_tree_getattr(tree, walk(tree, bad).id, &st), 0);
	cr_expect_eq(missing(tree, none), -ENOENT);
}

Test(tree, files_by_handle)
{
	fake_tree_need_handles();
	fill_a(fake_tree_set(T1, "/srv/data", NULL));
	_cleanup_tree_ struct umbra_tree *tree = fake_tree_new(false, 0);

	expect_contents(tree, S1 "/srv/data");
	expect_contents(tree, "by-volume/srv-data/" S1);
}

Test(tree, files_by_path)
{
	fill_a(fake_tree_set(T1, "/srv/data", NULL));
	_cleanup_tree_ struct umbra_tree *tree = fake_tree_new(true, 1);

	expect_contents(tree, S1 "/srv/data");
	expect_contents(tree, "by-volume/srv-data/" S1);
}

Test(tree, a_file_that_became_another_is_stale)
{
	struct umbra_set *set = fake_tree_set(T1, "/a", NULL);
	struct umbra_entry e, d;
	struct umbra_file *f;
	struct stat st;

	fake_tree_run(set, 0, "echo one >f; mkdir d");
	_cleanup_tree_ struct umbra_tree *tree = fake_tree_new(true, 1);
	e = walk(tree, S1 "/a/f");
	d = walk(tree, S1 "/a/d");
	fake_tree_run(set, 0, "echo two >g; mv g f; mkdir e; mv d old; mv e d");
	cr_expect_eq(umbra_tree_open(tree, e.id, &f), -ESTALE);
	cr_expect_eq(umbra_tree_getattr(tree, d.id, &st), -ESTALE);
	fake_tree_run(set, 0, "rm f; ln -s d f");
	cr_expect_eq(umbra_tree_open(tree, e.id, &f), -ESTALE);
}

Test(tree, one_volume_in_another_is_stitched)
{
	struct umbra_set *set = fake_tree_set(T1, "/", "/home", "/srv/x/deep", NULL);

	/* /home is an empty directory in the copy of /, /srv is there but x is not. */
	fake_tree_run(set, 0, "mkdir home srv; touch top srv/in-root");
	fake_tree_run(set, 1, "touch alice");
	fake_tree_run(set, 2, "touch bob");
	_cleanup_tree_ struct umbra_tree *tree = fake_tree_new(false, 0);
	struct umbra_entry e;

	walk(tree, S1 "/top");
	walk(tree, S1 "/home/alice");
	walk(tree, S1 "/srv/in-root");
	walk(tree, S1 "/srv/x/deep/bob");
	expect_sorted(tree, S1, ". .. home srv top");
	expect_sorted(tree, S1 "/home", ". .. alice");
	expect_sorted(tree, S1 "/srv", ". .. in-root x");
	expect_names(tree, S1 "/srv/x", ". .. deep");
	cr_expect_eq(missing(tree, S1 "/srv/y"), -ENOENT);
	/* Alone, the volume shows what it has itself. */
	e = walk(tree, "by-volume/-/" S1 "/home");
	cr_expect_neq(e.id, walk(tree, S1 "/home").id);
	expect_sorted(tree, "by-volume/-/" S1 "/home", ". ..");
}

struct seen {
	uint64_t self, up, ino[64];
	char names[64][64];
	size_t n;
};

static int see(void *arg, const struct umbra_dirent *d)
{
	struct seen *s = arg;

	if (strcmp(d->name, ".") == 0) {
		s->self = d->ino;
	} else if (strcmp(d->name, "..") == 0) {
		s->up = d->ino;
	} else {
		snprintf(s->names[s->n], sizeof(s->names[0]), "%s", d->name);
		s->ino[s->n++] = d->ino;
	}
	return 0;
}

/* What a listing says is what a lookup says; recursively, with "." and ".." right. Counts
 * directories. */
static size_t compare(struct umbra_tree *tree, uint64_t id, uint64_t up, bool attributes)
{
	struct seen s = {0};
	struct umbra_entry e;
	size_t dirs = 1;

	cr_assert_eq(umbra_tree_list(tree, id, 0, attributes, see, &s), 0);
	cr_expect_eq(s.self, id);
	cr_expect_eq(s.up, up);
	for (size_t i = 0; i < s.n; i++) {
		cr_assert_eq(umbra_tree_lookup(tree, id, s.names[i], &e), 0, "%s", s.names[i]);
		cr_expect_eq(e.id, s.ino[i], "%s", s.names[i]);
		if (S_ISDIR(e.st.st_mode))
			dirs += compare(tree, e.id, id, attributes);
	}
	return dirs;
}

Test(tree, numbers_in_listings_are_those_of_lookups)
{
	struct umbra_set *set = fake_tree_set(T1, "/", "/home", "/srv/x/deep", NULL);

	fake_tree_run(set, 0, "mkdir home srv a a/b; touch f; mkfifo a/p");
	fake_tree_set(T1 + 60, "/mnt/a", "/mnt/b", NULL);
	for (int paths = 0; paths < 2; paths++) {
		_cleanup_tree_ struct umbra_tree *tree = fake_tree_new(paths, 0);
		/* root, by-volume and 5 volumes; in sets 7+4, in volumes 5+1+1+1+1 */
		size_t dirs = compare(tree, 1, 1, true);

		cr_expect_eq(dirs, 2 + 5 + 7 + 4 + 9, "%zu", dirs);
		cr_expect_eq(compare(tree, 1, 1, false), dirs);
	}
}

Test(tree, ids_are_the_same_after_a_remount)
{
	static const char *const paths[] = {
		"by-volume",         "by-volume/a-b",         S1, S1 "/a", S1 "/a/b", S1 "/a/b/f",
		"by-volume/a-b/" S1, "by-volume/a-b/" S1 "/f"};
	uint64_t ids[UMBRA_ARRAY_SIZE(paths)];
	struct umbra_set *first = fake_tree_set(T1 - 60, "/x", NULL);

	fake_tree_run(fake_tree_set(T1, "/a/b", NULL), 0, "touch f");
	for (int round = 0; round < 2; round++) {
		_cleanup_tree_ struct umbra_tree *tree = fake_tree_new(round, 0);

		for (size_t i = 0; i < UMBRA_ARRAY_SIZE(paths); i++) {
			uint64_t id = walk(tree, paths[i]).id;

			if (round == 0)
				ids[i] = id;
			cr_expect_eq(id, ids[i], "%s", paths[i]);
			for (size_t k = 0; k < i; k++)
				cr_expect_neq(id, ids[k], "%s %s", paths[i], paths[k]);
		}
		fake_tree_set(T1 + 60, "/a/b", NULL);
		fake_tree_remove(first);
	}
}

Test(tree, the_store_s_own_name_is_hidden_in_the_root_directory)
{
	struct umbra_set *set = fake_tree_set(T1, "/a", NULL);

	fake_tree.hidden = ".umbra";
	fake_tree_run(set, 0, "mkdir .umbra d; touch d/.umbra");
	_cleanup_tree_ struct umbra_tree *tree = fake_tree_new(false, 0);
	expect_sorted(tree, S1 "/a/d", ". .. .umbra");
	expect_sorted(tree, S1 "/a", ". .. d");
	cr_expect_eq(missing(tree, S1 "/a/.umbra"), -ENOENT);
}

Test(tree, content_that_is_not_in_the_copy_is_refused)
{
	struct umbra_set *set = fake_tree_set(T1, "/a", NULL);
	struct umbra_file *f;
	struct umbra_entry e;

	fake_tree_run(set, 0, "echo secret >f; mkdir d");
	_cleanup_tree_ struct umbra_tree *tree = fake_tree_new(false, 0);
	e = walk(tree, S1 "/a/f");
	fake_tree.unreadable = e.id & 0xfffffffffff;
	cr_expect_eq(umbra_tree_open(tree, e.id, &f), -EACCES);
	e = walk(tree, S1 "/a/d");
	fake_tree.unreadable = e.id & 0xfffffffffff;
	_cleanup_free_ char *names = fake_tree_names(tree, e.id, 10);
	cr_expect_str_eq(names, "error -13");
}

Test(tree, a_lost_copy_is_an_error_and_the_others_work)
{
	struct umbra_set *set = fake_tree_set(T1, "/a", "/b", NULL);
	_cleanup_free_ char *away = umbra_asprintf("mv ../%s ../away", set->shadows[0]->id.s),
			    *back = umbra_asprintf("mv ../away ../%s", set->shadows[0]->id.s);

	fake_tree_run(set, 1, "touch f");
	fake_tree_run(set, 0, away);
	_cleanup_tree_ struct umbra_tree *tree = fake_tree_new(false, 0);
	cr_expect_eq(missing(tree, S1 "/a"), -EIO);
	cr_expect_eq(missing(tree, "by-volume/a/" S1), -EIO);
	expect_names(tree, S1, ". .. a b");
	walk(tree, S1 "/b/f");
	/* It may come back: an unplugged disk. */
	fake_tree_run(set, 1, back);
	walk(tree, S1 "/a");
}

static void restrict_above(struct umbra_set *set, size_t i, mode_t mode, uid_t uid, gid_t gid,
			   const char *acl)
{
	struct umbra_above *a = &set->shadows[0]->above[i];

	a->mode = mode;
	a->uid = uid;
	a->gid = gid;
	free(a->acl);
	a->acl = acl ? strdup(acl) : NULL;
	fake_tree_update_set(set);
}

/* user::rwx user:1000:--- group::r-x mask::r-x other::r-x */
#define ACL_DENY                                                                                   \
	"0200000001000700ffffffff02000000e803000004000500ffffffff10000500ffffffff20000500ffffffff"
/* the same, with user:1000:r-x */
#define ACL_OPEN                                                                                   \
	"0200000001000700ffffffff02000500e803000004000500ffffffff10000500ffffffff20000500ffffffff"

Test(tree, directories_above_a_volume_are_as_they_were)
{
	struct umbra_set *set = fake_tree_set(T1, "/home/alice/docs", NULL);
	unsigned char acl[128];
	struct umbra_entry e;

	restrict_above(set, 2, 0700, 1000, 1001, NULL);
	restrict_above(set, 1, 0755, 0, 0, ACL_DENY);
	_cleanup_tree_ struct umbra_tree *tree = fake_tree_new(false, 0);
	e = walk(tree, S1 "/home/alice");
	cr_expect_eq(e.st.st_mode, S_IFDIR | 0700);
	cr_expect_eq(e.st.st_uid, 1000);
	cr_expect_eq(e.st.st_gid, 1001);
	cr_expect_eq(umbra_tree_getxattr(tree, e.id, "system.posix_acl_access", acl, 128),
		     -ENODATA);
	e = walk(tree, S1 "/home");
	cr_assert_eq(umbra_tree_getxattr(tree, e.id, "system.posix_acl_access", acl, 128), 44);
	cr_expect_eq(acl[0], 2);
	cr_expect_eq(umbra_tree_getxattr(tree, e.id, "system.posix_acl_access", NULL, 0), 44);
	cr_expect_eq(umbra_tree_getxattr(tree, e.id, "system.posix_acl_access", acl, 4), -ERANGE);
	cr_expect_eq(umbra_tree_getxattr(tree, e.id, "user.x", acl, 4), -ENODATA);
}

/* Mode and owner of by-volume/…/@GMT for a copy 0755 of user 7, group 8. */
static struct stat by_volume(struct umbra_set *set)
{
	_cleanup_tree_ struct umbra_tree *tree = fake_tree_new(false, 0);

	fake_tree_run(set, 0, "chown 7:8 . 2>/dev/null || true; chmod 755 .");
	return walk(tree, "by-volume/a-b-c/" S1).st;
}

Test(tree, a_copy_by_volume_is_as_protected_as_its_path_was)
{
	struct umbra_set *set = fake_tree_set(T1, "/a/b/c", NULL);
	uid_t uid = geteuid() ? geteuid() : 7;
	gid_t gid = geteuid() ? getegid() : 8;
	struct stat st = by_volume(set);

	cr_expect_eq(st.st_mode & 07777, 0755);
	restrict_above(set, 2, 0750, uid, gid, NULL);
	st = by_volume(set);
	cr_expect_eq(st.st_mode & 07777, 0750);
	cr_expect_eq(st.st_uid, uid);
	restrict_above(set, 1, 0701, uid, gid, NULL); /* in between the group may not pass */
	st = by_volume(set);
	cr_expect_eq(st.st_mode & 07777, 0700);
	cr_expect_eq(st.st_uid, uid);
	restrict_above(set, 1, 0750, uid + 1, gid, NULL); /* nobody but those in both */
	st = by_volume(set);
	cr_expect_eq(st.st_mode & 07777, 0700);
	cr_expect_eq(st.st_uid, geteuid());
	restrict_above(set, 1, 0755, 0, 0, ACL_OPEN);
	restrict_above(set, 2, 0755, 0, 0, NULL);
	st = by_volume(set);
	cr_expect_eq(st.st_mode & 07777, 0755);
	restrict_above(set, 1, 0755, 0, 0, ACL_DENY);
	st = by_volume(set);
	cr_expect_eq(st.st_mode & 07777, 0700);
	cr_expect_eq(st.st_uid, geteuid());
	restrict_above(set, 1, 0755, 0, 0, NULL);
	set->shadows[0]->n_above = 2; /* not all recorded */
	fake_tree_update_set(set);
	st = by_volume(set);
	cr_expect_eq(st.st_mode & 07777, 0700);
	set->shadows[0]->n_above = 3;
}

Test(tree, extended_attributes_of_any_type_of_file)
{
	struct umbra_set *set = fake_tree_set(T1, "/a", NULL);
	char value[64], names[256];
	uint64_t id;

	fake_tree_run(set, 0,
		      "echo x >f; ln -s nowhere l; setfattr -n user.a -v one f;"
		      "setfattr -n user.d -v two .; setfattr -h -n trusted.l -v three l || true");
	for (int paths = 0; paths < 2; paths++) {
		_cleanup_tree_ struct umbra_tree *tree = fake_tree_new(paths, 0);

		id = walk(tree, S1 "/a/f").id;
		cr_expect_eq(umbra_tree_getxattr(tree, id, "user.a", value, 64), 3);
		cr_expect_eq(memcmp(value, "one", 3), 0);
		cr_expect_eq(umbra_tree_getxattr(tree, id, "user.a", NULL, 0), 3);
		cr_expect_eq(umbra_tree_getxattr(tree, id, "user.a", value, 1), -ERANGE);
		cr_expect_eq(umbra_tree_getxattr(tree, id, "user.b", value, 64), -ENODATA);
		cr_expect_geq(umbra_tree_listxattr(tree, id, names, sizeof(names)), 7);
		id = walk(tree, S1 "/a").id;
		cr_expect_eq(umbra_tree_getxattr(tree, id, "user.d", value, 64), 3);
		id = walk(tree, S1 "/a/l").id;
		if (geteuid() == 0)
			cr_expect_eq(umbra_tree_getxattr(tree, id, "trusted.l", value, 64), 5);
		cr_expect_eq(umbra_tree_getxattr(tree, id, "system.posix_acl_access", value, 64),
			     -ENODATA);
	}
}

Test(tree, names_that_are_no_names)
{
	fake_tree_set(T1, "/a", NULL);
	_cleanup_tree_ struct umbra_tree *tree = fake_tree_new(false, 0);
	uint64_t id = walk(tree, S1 "/a").id;
	struct umbra_entry e;
	struct stat st;

	cr_expect_eq(umbra_tree_lookup(tree, id, "..", &e), -EINVAL);
	cr_expect_eq(umbra_tree_lookup(tree, id, "../x", &e), -EINVAL);
	cr_expect_eq(umbra_tree_lookup(tree, 1, "", &e), -EINVAL);
	cr_expect_eq(umbra_tree_lookup(tree, 12345, "x", &e), -ESTALE);
	cr_expect_eq(umbra_tree_getattr(tree, UINT64_MAX, &st), -ESTALE);
}
