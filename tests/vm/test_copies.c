/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Every copy is what the volume was at its instant, block for block: few copies and as many as
 * there may be, views that are read while others are made and deleted, compaction, restarts, and
 * all of that at random.
 *
 * UMBRA_SOAK=N: N seeds, and everything is compared every time.
 */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "volume_rig.h"

static struct volume_rig v;

static void end(void)
{
	volume_end(&v);
	dm_lab_end();
}

TestSuite(copies, .init = dm_lab_begin, .fini = end, .timeout = 1800);

static unsigned int soak(void)
{
	const char *n = getenv("UMBRA_SOAK");

	return n ? (unsigned int)strtoul(n, NULL, 10) : 0;
}

/* --- somebody who reads a copy all the time --- */

struct reading {
	struct volume_copy copy; /* the list moves */
	pthread_t thread;
	atomic_bool stop, wrong;
	atomic_uint rounds;
};

static void *read_on(void *arg)
{
	struct reading *r = arg;
	unsigned char *buffer = volume_buffer();

	while (!r->stop && !r->wrong) {
		r->wrong = !volume_view_same(&v, &r->copy, buffer);
		r->rounds++;
	}
	munmap(buffer, VOLUME_PIECE);
	return NULL;
}

static void read_while(struct reading *r, size_t copy)
{
	*r = (struct reading){.copy = v.copies[copy]};
	cr_assert_eq(pthread_create(&r->thread, NULL, read_on, r), 0);
}

static void read_enough(struct reading *r, const char *during)
{
	r->stop = true;
	pthread_join(r->thread, NULL);
	cr_assert_gt(r->rounds, 0);
	cr_assert_not(r->wrong, "a copy that is read during %s", during);
}

/* --- a number of copies --- */

static void check_some(unsigned int n, const char *after)
{
	size_t i;

	for (i = 0; i < v.n; i++)
		if (v.copies[i].view >= 0)
			volume_check(&v, i, after);
	while (n-- > 0 && v.n > 0)
		volume_check(&v, volume_random((unsigned int)v.n), after);
}

struct life {
	unsigned int copies;
	unsigned int writes; /* between two of them, at most */
	unsigned int hot;    /* sectors that are written between any two */
	unsigned int mib;    /* of the diff area */
	unsigned int open;   /* so many creations before the last a view is opened */
	unsigned int left;   /* so many are left when the others are deleted */
	unsigned int look;   /* compare something after so many steps */
	unsigned int sample; /* compare so many copies between two parts of it */
};

static void make(const struct life *life)
{
	unsigned int i;

	for (i = 0; i < life->copies; i++) {
		volume_create(&v);
		volume_write(&v, 1 + volume_random(life->writes));
		volume_rewrite_model(&v, life->hot);
		cr_assert(volume_rewrite(&v, life->hot));
		if (i + life->open == life->copies)
			volume_open(&v, i);
		if (i % life->look == life->look - 1)
			check_some(1, "a creation");
	}
	cr_assert_eq(v.n, life->copies);
}

/* The oldest, the newest and others. */
static void delete_down_to(size_t n, unsigned int look)
{
	unsigned int i;

	for (i = 1; v.n > n; i++) {
		unsigned int what = volume_random(4);

		volume_delete(&v, what == 0   ? 0
				  : what == 1 ? v.n - 1
					      : volume_random((unsigned int)v.n));
		if (i % 3 == 0)
			volume_write(&v, 2);
		if (i % look == 0)
			check_some(1, "a deletion");
	}
}

static bool slid_in(void)
{
	return lab_true("dmsetup table lab-v | grep -q snapshot-origin");
}

static void check_sample(const struct life *life, const char *after)
{
	if (soak() || life->sample >= v.n)
		volume_check_all(&v, after);
	else
		check_some(life->sample, after);
}

static void live(const struct life *life)
{
	volume_seed(life->copies);
	volume_begin(&v, 16, life->mib);
	make(life);
	cr_assert(slid_in());
	check_sample(life, "all creations");
	delete_down_to(life->left, life->look);
	cr_assert(volume_compact(&v) > 0 || life->copies < 10);
	check_sample(life, "deletions and compaction");
	volume_write(&v, 20);
	volume_restart(&v);
	volume_create(&v);
	volume_check_all(&v, "a restart");
	delete_down_to(0, life->look * 4);
	volume_check_origin(&v, "all of it");
	cr_assert_not(slid_in());
}

Test(copies, five)
{
	live(&(struct life){5, 60, 2048, 64, 4, 2, 1, 5});
}

Test(copies, sixty_four)
{
	live(&(struct life){64, 16, 512, 128, 40, 22, 16, 16});
}

Test(copies, five_hundred_and_twelve)
{
	live(&(struct life){512, 4, 128, 400, 10, 60, 128, 16});
}

Test(copies, the_last_one_goes_under_its_reader)
{
	volume_begin(&v, 16, 32);
	volume_create(&v);
	volume_write(&v, 8);
	volume_open(&v, 0);
	volume_delete(&v, 0);
	cr_assert_not(slid_in());
	volume_check_origin(&v, "the last deletion");
}

/* Until the new store is known to be live, views lie over the one before it. */
Test(copies, opened_while_another_is_made)
{
	volume_begin(&v, 16, 32);
	volume_create(&v);
	volume_write(&v, 8);
	volume_create(&v);
	volume_write(&v, 8);
	cr_assert_eq(volume_prepare(&v), 0);
	volume_open(&v, 0);
	volume_write(&v, 8);
	check_some(0, "opening it before an instant");
	volume_instant(&v);
	volume_open(&v, 1);
	volume_write(&v, 8);
	check_some(0, "opening another after it");
	volume_finish(&v);
	volume_write(&v, 8);
	volume_check_all(&v, "all of that");
}

/* --- at random --- */

static size_t any(void)
{
	return volume_random((unsigned int)v.n);
}

static void create_plainly(void)
{
	volume_create(&v);
}

static void create_under_a_reader(void)
{
	struct reading reading;
	size_t i = any();

	if (v.copies[i].view < 0)
		volume_open(&v, i);
	read_while(&reading, i);
	cr_assert_eq(volume_prepare(&v), 0);
	volume_instant(&v);
	volume_finish(&v);
	read_enough(&reading, "a creation");
}

static void undo_before_the_instant(void)
{
	cr_assert_eq(volume_prepare(&v), 0);
	volume_write(&v, volume_random(4));
	volume_abort(&v);
}

static void undo_after_the_instant(void)
{
	cr_assert_eq(volume_prepare(&v), 0);
	volume_instant(&v);
	volume_write(&v, volume_random(4));
	volume_abort(&v);
}

static void write_some(void)
{
	volume_write(&v, 1 + volume_random(24));
}

static void open_one(void)
{
	size_t i = any();

	if (v.copies[i].view < 0)
		volume_open(&v, i);
}

static void close_one(void)
{
	volume_close(&v, any());
}

static void delete_oldest(void)
{
	volume_delete(&v, 0);
}

static void delete_any(void)
{
	volume_delete(&v, any());
}

static void delete_newest(void)
{
	volume_delete(&v, v.n - 1);
}

static void compact(void)
{
	(void)volume_compact(&v);
}

static void restart(void)
{
	volume_restart(&v);
}

static const struct op {
	const char *what;
	void (*run)(void);
	unsigned int weight;
	bool needs_copy;
} ops[] = {
	{"a creation", create_plainly, 12, false},
	{"a creation under a reader", create_under_a_reader, 6, true},
	{"a set undone before its instant", undo_before_the_instant, 3, false},
	{"a set undone after its instant", undo_after_the_instant, 4, false},
	{"writes", write_some, 30, false},
	{"opening", open_one, 8, true},
	{"closing", close_one, 6, true},
	{"deleting the oldest", delete_oldest, 3, true},
	{"deleting any", delete_any, 7, true},
	{"deleting the newest", delete_newest, 4, true},
	{"compaction", compact, 8, false},
	{"a restart", restart, 2, false},
};

static const struct op *choose(void)
{
	unsigned int sum = 0, i, at;

	for (i = 0; i < UMBRA_ARRAY_SIZE(ops); i++)
		sum += ops[i].weight;
	at = volume_random(sum);
	for (i = 0; at >= ops[i].weight; i++)
		at -= ops[i].weight;
	return &ops[i];
}

static void at_random(unsigned int seed, unsigned int n)
{
	const struct op *op;
	char after[96];
	unsigned int i;

	volume_seed(seed);
	volume_begin(&v, 16, 48 + volume_random(64));
	for (i = 0; i < n; i++) {
		op = choose();
		if (op->needs_copy && v.n == 0)
			continue;
		op->run();
		snprintf(after, sizeof(after), "seed %u, operation %u, %s", seed, i, op->what);
		if (soak() || i % 50 == 49)
			volume_check_all(&v, after);
		else if (i % 4 == 0)
			check_some(1, after);
	}
	volume_check_all(&v, "all operations");
	volume_end(&v);
	memset(&v, 0, sizeof(v));
}

Test(copies, at_random)
{
	at_random(1, soak() ? 600 : 250);
}

Test(copies, at_random_for_long)
{
	const unsigned int only = soak();
	unsigned int seed;

	if (!only) {
		dm_lab_end();
		cr_skip_test("only with UMBRA_SOAK=N, for N seeds");
	}
	for (seed = 2; seed < 2 + only; seed++) {
		at_random(seed, 600);
		dm_lab_end();
		dm_lab_begin();
	}
}
