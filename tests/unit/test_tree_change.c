/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Sets that come and go while the tree is used. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "fake_tree.h"
#include "fuse/nodeid.h"

TestSuite(tree_change, .init = fake_tree_begin, .fini = fake_tree_end, .timeout = 60);

#define T1 1795143000
#define S1 "@GMT-2026.11.20-02.50.00"
#define S2 "@GMT-2026.11.20-02.51.00"

struct heard {
	char text[4096];
};

static void hear(void *arg, uint64_t parent, const char *name, uint64_t child)
{
	struct heard *h = arg;
	const char *where = parent == UMBRA_NODE_ROOT        ? ""
			    : parent == UMBRA_NODE_BY_VOLUME ? "by-volume/"
							     : "volume/";

	snprintf(h->text + strlen(h->text), sizeof(h->text) - strlen(h->text), "%s%s%s%s ",
		 child ? "-" : "+", where, name, "");
}

static struct heard update(struct umbra_tree *tree)
{
	struct umbra_error err = {0};
	struct heard h = {{0}};

	cr_assert_eq(umbra_tree_update(tree, hear, &h, 1000, &err), 0, "%s", err.text);
	return h;
}

Test(tree_change, a_new_set_is_seen_and_told)
{
	fake_tree_set(T1, "/a", NULL);
	_cleanup_tree_ struct umbra_tree *tree = fake_tree_new(false, 0);
	struct umbra_entry e;

	cr_expect_eq(fake_tree_walk(tree, S2, &e), -ENOENT);
	cr_expect_str_empty(update(tree).text);
	fake_tree_set(T1 + 60, "/a", "/b", NULL);
	cr_expect_eq(fake_tree_walk(tree, S2, &e), -ENOENT);
	cr_expect_str_eq(update(tree).text,
			 "+" S2 " +volume/" S2 " +volume/" S2 " +by-volume/b +latest ");
	cr_expect_eq(fake_tree_walk(tree, S2 "/b", &e), 0);
	cr_expect_eq(fake_tree_walk(tree, "by-volume/b/" S2, &e), 0);
	cr_expect_str_empty(update(tree).text);
}

static void note_lost(const struct umbra_set *set, size_t member)
{
	_cleanup_close_ int dir = open(fake_tree_state(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	cr_assert_eq(umbra_put_file(dir, "conditions", set->shadows[member]->id.s, "lost\na test"),
		     0);
}

Test(tree_change, a_set_goes_when_all_its_copies_are_lost)
{
	struct umbra_set *set = fake_tree_set(T1, "/a", "/b", NULL);
	_cleanup_tree_ struct umbra_tree *tree = fake_tree_new(false, 0);
	struct umbra_entry e;

	note_lost(set, 0);
	update(tree);
	cr_expect_eq(fake_tree_walk(tree, S1 "/b", &e), 0);
	note_lost(set, 1);
	update(tree);
	cr_expect_eq(fake_tree_walk(tree, S1, &e), -ENOENT);
	cr_expect_eq(fake_tree_walk(tree, "by-volume/b/" S1, &e), -ENOENT);
}

Test(tree_change, a_deleted_set_is_gone_with_all_descriptors)
{
	struct umbra_set *set = fake_tree_set(T1, "/a", NULL);
	struct umbra_tree_usage usage;
	struct umbra_entry e, d, other;
	struct umbra_file *f;
	struct stat st;

	fake_tree_run(set, 0, "mkdir d; echo x >d/f");
	fake_tree_set(T1 + 60, "/b", NULL);
	_cleanup_tree_ struct umbra_tree *tree = fake_tree_new(true, 0);
	cr_assert_eq(fake_tree_walk(tree, S1 "/a/d", &d), 0);
	cr_assert_eq(fake_tree_walk(tree, S1 "/a/d/f", &e), 0);
	cr_assert_eq(umbra_tree_open(tree, e.id, &f), 0);
	umbra_tree_close(f);
	cr_expect_eq(fake_tree.open, 1);
	fake_tree_mark(set);
	cr_expect_str_eq(update(tree).text, "-" S1 " -volume/" S1 " +by-volume/a +latest ");
	cr_expect_eq(fake_tree.open, 0);
	umbra_tree_usage(tree, &usage);
	cr_expect_eq(usage.fds, 0);
	cr_expect_eq(fake_tree_walk(tree, S1, &other), -ENOENT);
	cr_expect_eq(fake_tree_walk(tree, "by-volume/a", &other), -ENOENT);
	cr_expect_eq(umbra_tree_open(tree, e.id, &f), -ESTALE);
	cr_expect_eq(umbra_tree_getattr(tree, d.id, &st), -ESTALE);
	cr_expect_eq(umbra_tree_lookup(tree, d.id, "f", &other), -ESTALE);
	fake_tree_remove(set);
	cr_expect_str_empty(update(tree).text);
}

Test(tree_change, deleting_waits_for_who_reads)
{
	struct umbra_set *set = fake_tree_set(T1, "/a", NULL);
	struct umbra_error err = {0};
	struct umbra_entry e;
	struct umbra_file *f;

	fake_tree_run(set, 0, "echo x >f");
	_cleanup_tree_ struct umbra_tree *tree = fake_tree_new(false, 0);
	cr_assert_eq(fake_tree_walk(tree, S1 "/a/f", &e), 0);
	cr_assert_eq(umbra_tree_open(tree, e.id, &f), 0);
	fake_tree_mark(set);
	cr_expect_eq(umbra_tree_update(tree, NULL, NULL, 50, &err), -ETIMEDOUT);
	cr_expect_eq(err.code, UMBRA_E_BUSY);
	cr_expect_eq(fake_tree.open, 1);
	/* Asked again the answer is the same as long as it is so. */
	cr_expect_eq(umbra_tree_update(tree, NULL, NULL, 50, &err), -ETIMEDOUT);
	umbra_tree_close(f);
	cr_expect_eq(umbra_tree_update(tree, NULL, NULL, 50, &err), 0);
	cr_expect_eq(fake_tree.open, 0);
}

Test(tree_change, a_damaged_catalog_changes_nothing)
{
	fake_tree_set(T1, "/a", NULL);
	_cleanup_tree_ struct umbra_tree *tree = fake_tree_new(false, 0);
	struct umbra_error err = {0};
	struct umbra_entry e;
	_cleanup_free_ char *command = umbra_asprintf("echo nonsense nonsense nonsense >'%s/%s'",
						      fake_tree_state(), UMBRA_CATALOG_NAME);

	cr_assert_eq(system(command), 0);
	cr_expect_lt(umbra_tree_update(tree, NULL, NULL, 50, &err), 0);
	cr_expect_eq(err.code, UMBRA_E_DAMAGED);
	cr_expect_eq(fake_tree_walk(tree, S1 "/a", &e), 0);
}

Test(tree_change, an_index_that_comes_back_is_another_copy)
{
	struct umbra_set *old = fake_tree_set(T1, "/a", NULL), *new;
	struct umbra_entry before, after;
	struct stat st;

	_cleanup_tree_ struct umbra_tree *tree = fake_tree_new(true, 0);
	cr_assert_eq(fake_tree_walk(tree, S1 "/a", &before), 0);
	fake_tree_remove(old);
	new = fake_tree_set(T1 + 60, "/a", NULL);
	new->shadows[0]->index = old->shadows[0]->index;
	fake_tree_update_set(new);
	update(tree);
	cr_expect_eq(umbra_tree_getattr(tree, before.id, &st), -ESTALE);
	cr_assert_eq(fake_tree_walk(tree, S2 "/a", &after), 0);
	cr_expect_eq(after.id, before.id);
	cr_expect_neq(after.generation, before.generation);
	cr_expect_eq(umbra_tree_getattr(tree, before.id, &st), 0);
	/* The kernel counts both on one id. */
	umbra_tree_forget(tree, before.id, 1);
	cr_expect_eq(umbra_tree_getattr(tree, after.id, &st), 0);
	umbra_tree_forget(tree, after.id, 1);
	cr_expect_eq(umbra_tree_getattr(tree, after.id, &st), -ESTALE);
}

/* A catalog that was made anew begins to count after the last set it found. */
Test(tree_change, a_copy_with_index_and_seq_of_a_deleted_one_is_another)
{
	struct umbra_set *old = fake_tree_set(T1, "/a", NULL), *new;
	struct umbra_entry before, after;

	_cleanup_tree_ struct umbra_tree *tree = fake_tree_new(true, 0);
	cr_assert_eq(fake_tree_walk(tree, S1 "/a", &before), 0);
	fake_tree_remove(old);
	new = fake_tree_set_like(old, T1 + 60, "/a");
	cr_assert_eq(new->seq, old->seq);
	cr_assert_eq(new->shadows[0]->index, old->shadows[0]->index);
	update(tree);
	cr_assert_eq(fake_tree_walk(tree, S2 "/a", &after), 0);
	cr_expect_eq(after.id, before.id);
	cr_expect_neq(after.generation, before.generation);
}

/* The kernel was told that its directories are deleted and finds nothing in those any more. */
Test(tree_change, a_set_that_comes_back_is_another)
{
	struct umbra_set *set = fake_tree_set(T1, "/a", NULL);
	struct umbra_entry before, after;

	_cleanup_tree_ struct umbra_tree *tree = fake_tree_new(true, 0);
	cr_assert_eq(fake_tree_walk(tree, S1 "/a", &before), 0);
	fake_tree_mark(set);
	update(tree);
	fake_tree_update_set(set);
	update(tree);
	cr_assert_eq(fake_tree_walk(tree, S1 "/a", &after), 0);
	cr_expect_eq(after.id, before.id);
	cr_expect_neq(after.generation, before.generation);
}

static atomic_bool stop;
static struct umbra_tree *shared;

static void *wander(void *arg)
{
	struct umbra_entry way[8], e;
	struct umbra_file *f;

	(void)arg;
	while (!stop) {
		size_t n = 0;
		uint64_t at = 1;
		static const char *const names[] = {"by-volume", "a", NULL, "f"};

		for (size_t i = 0; i < 4; i++) {
			char token[UMBRA_TOKEN_LEN + 1];
			int r;

			umbra_token_format(T1 + (int64_t)(rand() % 8), token);
			r = umbra_tree_lookup(shared, at, names[i] ? names[i] : token, &e);
			if (r < 0) {
				cr_assert(r == -ENOENT || r == -ESTALE || r == -EIO, "%d", r);
				break;
			}
			way[n++] = e;
			at = e.id;
		}
		if (n == 4 && umbra_tree_open(shared, at, &f) == 0)
			umbra_tree_close(f);
		while (n > 0)
			umbra_tree_forget(shared, way[--n].id, 1);
	}
	return NULL;
}

Test(tree_change, readers_while_sets_come_and_go)
{
	struct umbra_set *sets[8] = {0};
	struct umbra_error err = {0};
	struct umbra_tree_usage usage;
	pthread_t threads[4];

	shared = fake_tree_new(true, 3);
	for (size_t i = 0; i < 4; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, wander, NULL), 0);
	for (int round = 0; round < 48; round++) {
		size_t k = (size_t)round % 8;

		if (sets[k])
			fake_tree_remove(sets[k]);
		else
			usleep(1000);
		cr_assert_eq(umbra_tree_update(shared, NULL, NULL, 5000, &err), 0, "%s", err.text);
		sets[k] = fake_tree_set(T1 + (int64_t)k, "/a", NULL);
		fake_tree_run(sets[k], 0, "echo x >f");
		cr_assert_eq(umbra_tree_update(shared, NULL, NULL, 5000, &err), 0, "%s", err.text);
		umbra_tree_close_idle(shared, 0);
	}
	stop = true;
	for (size_t i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	umbra_tree_usage(shared, &usage);
	cr_expect_eq(usage.inodes, 1);
	umbra_tree_free(shared);
	cr_expect_eq(fake_tree.open, 0);
}
