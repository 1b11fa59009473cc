/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the tree keeps: numbers, descriptors, inodes, opened copies. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "fake_tree.h"
#include "fuse/fds.h"
#include "fuse/nodeid.h"
#include "fuse/numbers.h"

TestSuite(tree_inodes, .init = fake_tree_begin, .fini = fake_tree_end, .timeout = 60);

#define T1 1795143000
#define S1 "@GMT-2026.11.20-02.50.00"

Test(tree_inodes, a_node_id_comes_apart_again)
{
	uint64_t id = umbra_nodeid(UMBRA_VIEW_VOLUME, 65535, UMBRA_NUMBER_MASK);

	cr_expect_eq(umbra_nodeid_view(id), UMBRA_VIEW_VOLUME);
	cr_expect_eq(umbra_nodeid_index(id), 65535);
	cr_expect_eq(umbra_nodeid_number(id), UMBRA_NUMBER_MASK);
	cr_expect_gt((int64_t)id, 0);
}

Test(tree_inodes, numbers_are_stable_and_never_given_twice)
{
	struct umbra_numbers a, b;
	enum { N = 5000 };
	static uint64_t got[N];

	umbra_numbers_init(&a);
	umbra_numbers_init(&b);
	for (uint64_t i = 0; i < N; i++) {
		got[i] = umbra_numbers_get(&a, (struct umbra_number_key){i << 44, 0});
		cr_expect(got[i] & UMBRA_NUMBER_MADE);
		cr_expect_leq(got[i], UMBRA_NUMBER_MASK);
		cr_expect_eq(got[i], umbra_numbers_get(&b, (struct umbra_number_key){i << 44, 0}));
	}
	for (uint64_t i = 0; i < N; i++)
		cr_expect_eq(umbra_numbers_get(&a, (struct umbra_number_key){i << 44, 0}), got[i]);
	cr_expect_eq(a.n, N);
	umbra_numbers_finish(&a);
	umbra_numbers_finish(&b);
}

static int a_descriptor(void)
{
	return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

Test(tree_inodes, descriptors_are_bounded_but_those_in_use_stay)
{
	struct umbra_fds *fds = umbra_fds_new(4);
	struct umbra_fd *held = umbra_fds_add(fds, 1, a_descriptor()), *again;

	for (uint64_t id = 2; id < 50; id++)
		umbra_fds_put(fds, umbra_fds_add(fds, id, a_descriptor()));
	cr_expect_eq(umbra_fds_count(fds), 4);
	cr_expect_geq(fcntl(held->fd, F_GETFD), 0);
	again = umbra_fds_get(fds, 1);
	cr_expect_eq(again, held);
	umbra_fds_put(fds, again);
	again = umbra_fds_add(fds, 1, a_descriptor());
	cr_expect_eq(again, held);
	umbra_fds_put(fds, again);
	umbra_fds_put(fds, held);
	cr_expect_null(umbra_fds_get(fds, 2));
	umbra_fds_drop(fds, -1);
	cr_expect_eq(umbra_fds_count(fds), 0);
	umbra_fds_free(fds);
}

Test(tree_inodes, a_dropped_descriptor_is_closed_by_its_last_user)
{
	struct umbra_fds *fds = umbra_fds_new(4);
	struct umbra_fd *held = umbra_fds_add(fds, umbra_nodeid(0, 7, 5), a_descriptor());
	int fd = held->fd;

	umbra_fds_put(fds, umbra_fds_add(fds, umbra_nodeid(1, 8, 5), a_descriptor()));
	umbra_fds_drop(fds, 7);
	cr_expect_eq(umbra_fds_count(fds), 1);
	cr_expect_geq(fcntl(fd, F_GETFD), 0);
	cr_expect_null(umbra_fds_get(fds, umbra_nodeid(0, 7, 5)));
	umbra_fds_put(fds, held);
	cr_expect_eq(fcntl(fd, F_GETFD), -1);
	umbra_fds_free(fds);
}

struct told {
	uint64_t ids[4096];
	size_t n;
};

static int keep(void *arg, const struct umbra_dirent *d)
{
	struct told *t = arg;

	if (d->entry)
		t->ids[t->n++] = d->entry->id;
	return 0;
}

static size_t inodes(struct umbra_tree *tree)
{
	struct umbra_tree_usage usage;

	umbra_tree_usage(tree, &usage);
	return usage.inodes;
}

/* Lists a directory, forgets all but the deepest, then that: only then may parents go. */
static void forgetting(bool paths)
{
	struct umbra_set *set = fake_tree_set(T1, "/a", NULL);
	struct umbra_entry a, way[3];
	struct told told = {0};
	struct stat st;

	fake_tree_run(set, 0, "mkdir -p d/e; touch d/e/f; for i in $(seq 1000); do : >$i; done");
	_cleanup_tree_ struct umbra_tree *tree = fake_tree_new(paths, 2);
	cr_assert_eq(fake_tree_walk(tree, S1 "/a", &a), 0);
	cr_assert_eq(umbra_tree_list(tree, a.id, 0, true, keep, &told), 0);
	cr_expect_eq(told.n, 1001);
	cr_expect_eq(inodes(tree), 3 + 1001);
	cr_assert_eq(umbra_tree_lookup(tree, a.id, "d", &way[0]), 0);
	cr_assert_eq(umbra_tree_lookup(tree, way[0].id, "e", &way[1]), 0);
	cr_assert_eq(umbra_tree_lookup(tree, way[1].id, "f", &way[2]), 0);
	while (told.n > 0)
		umbra_tree_forget(tree, told.ids[--told.n], 1);
	cr_expect_eq(inodes(tree), 3 + 3);
	umbra_tree_forget(tree, way[0].id, 1);
	umbra_tree_forget(tree, way[1].id, 1);
	umbra_tree_forget(tree, a.id, 1);
	cr_expect_eq(inodes(tree), paths ? 6 : 3);
	/* Known yet, and reachable. */
	cr_expect_eq(umbra_tree_getattr(tree, way[2].id, &st), 0);
	umbra_tree_forget(tree, way[2].id, 5); /* more than told: no harm */
	cr_expect_eq(inodes(tree), 2);
	cr_expect_eq(umbra_tree_getattr(tree, way[2].id, &st), -ESTALE);
}

Test(tree_inodes, forgetting_by_handle)
{
	fake_tree_need_handles();
	forgetting(false);
}

Test(tree_inodes, forgetting_by_path)
{
	forgetting(true);
}

static void deep(bool paths)
{
	struct umbra_set *set = fake_tree_set(T1, "/a", NULL);
	struct umbra_tree_usage usage;
	struct umbra_entry e;
	struct umbra_file *f;

	fake_tree_run(set, 0,
		      "for i in $(seq 30); do p=$(printf '%s/' $(seq 40)); mkdir -p $p; cd $p;"
		      " done; echo bottom >file");
	_cleanup_tree_ struct umbra_tree *tree = fake_tree_new(paths, 8);
	cr_assert_eq(fake_tree_walk(tree, S1 "/a", &e), 0);
	for (int i = 0; i < 30 * 40; i++) {
		char name[8];

		snprintf(name, sizeof(name), "%d", i % 40 + 1);
		cr_assert_eq(umbra_tree_lookup(tree, e.id, name, &e), 0);
	}
	cr_assert_eq(umbra_tree_lookup(tree, e.id, "file", &e), 0);
	umbra_tree_close_idle(tree, 0);
	cr_assert_eq(umbra_tree_open(tree, e.id, &f), 0);
	umbra_tree_usage(tree, &usage);
	cr_expect_leq(usage.fds, 10);
	umbra_tree_close(f);
}

Test(tree_inodes, a_deep_tree_by_handle)
{
	fake_tree_need_handles();
	deep(false);
}

Test(tree_inodes, a_deep_tree_by_path)
{
	deep(true);
}

static void *touch(void *arg)
{
	struct umbra_entry e;

	cr_assert_eq(fake_tree_walk(arg, S1 "/a/f", &e), 0);
	return NULL;
}

Test(tree_inodes, a_copy_is_opened_once_by_many_and_closed_when_idle)
{
	struct umbra_set *set = fake_tree_set(T1, "/a", NULL);
	struct umbra_entry e;
	struct umbra_file *f;
	pthread_t threads[8];

	fake_tree_run(set, 0, "echo x >f");
	fake_tree.open_ms = 50;
	_cleanup_tree_ struct umbra_tree *tree = fake_tree_new(false, 0);
	for (size_t i = 0; i < 8; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, touch, tree), 0);
	for (size_t i = 0; i < 8; i++)
		pthread_join(threads[i], NULL);
	cr_expect_eq(fake_tree.opened, 1);
	cr_assert_eq(fake_tree_walk(tree, S1 "/a/f", &e), 0);
	umbra_tree_close_idle(tree, 60 * 1000000);
	cr_expect_eq(fake_tree.open, 1);
	cr_assert_eq(umbra_tree_open(tree, e.id, &f), 0);
	umbra_tree_close_idle(tree, 0);
	cr_expect_eq(fake_tree.open, 1);
	umbra_tree_close(f);
	umbra_tree_close_idle(tree, 0);
	cr_expect_eq(fake_tree.open, 0);
	cr_assert_eq(umbra_tree_open(tree, e.id, &f), 0);
	umbra_tree_close(f);
	cr_expect_eq(fake_tree.opened, 2);
}

Test(tree_inodes, not_all_copies_are_open_at_once)
{
	struct umbra_tree_usage usage;
	struct umbra_entry e;

	for (int i = 0; i < 60; i++)
		fake_tree_set(T1 + i, "/a", NULL);
	struct rlimit limit = {256, 256};
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	_cleanup_tree_ struct umbra_tree *tree = fake_tree_new(false, 0);
	for (int i = 0; i < 60; i++) {
		char path[64];

		umbra_token_format(T1 + i, path);
		strcat(path, "/a");
		cr_assert_eq(fake_tree_walk(tree, path, &e), 0);
	}
	umbra_tree_usage(tree, &usage);
	cr_expect_eq(usage.copies, 16);
	cr_expect_eq(fake_tree.open, 16);
}
