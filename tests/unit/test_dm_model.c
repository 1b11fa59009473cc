/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Provider dm's steps at random, on a volume in memory (dm_model/world.h): after each, every copy
 * reads what the volume held at its instant. And the same with faults put in, which must be
 * noticed.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "dm_model/world.h"

TestSuite(dm_model, .timeout = 240);

struct run {
	uint32_t origin, segments;
	uint32_t first, copies; /* that many are made at first; about so many are kept */
	unsigned int steps;
	unsigned int writes;  /* between two steps of an operation, at most */
	unsigned int views;   /* looked through after each operation, about */
	unsigned int crashes; /* in a hundred operations */
};

static uint32_t kept(struct dm_world *w, uint32_t *list)
{
	uint32_t i, n = 0;

	for (i = 0; i < w->pool->n_copies; i++) {
		if (w->pool->copies[i].state == UMBRA_POOL_KEPT)
			list[n++] = i;
	}
	return n;
}

static void change(struct dm_world *w, uint32_t copies)
{
	uint32_t list[UMBRA_POOL_COPIES_MAX], n = kept(w, list), copy;
	const unsigned int what = dm_world_random(w, 100), how = dm_world_random(w, 100);

	if (n == 0 || what < (n < copies ? 45 : 20)) {
		dm_world_create(w, how < 67 ? DM_SUCCEED : (enum dm_outcome)(how % 3));
		return;
	}
	copy = list[dm_world_random(w, n)];
	if (what < 55 && how < 3)
		dm_world_lose(w, how ? copy : list[n - 1]);
	else if (what < 55)
		dm_world_remove(w, how < 85 ? copy : 0);
	else if (what < 60)
		dm_world_remove(w, list[n - 1]);
	else if (what < 75)
		dm_world_compact(w, copy, how % 2 ? 1 + how : 1000);
	else if (what < 85)
		dm_world_open(w, copy);
	else if (what < 88)
		dm_world_resize(w,
				(uint32_t)(w->area->n / DM_WORLD_SEGMENT) * (50 + how / 2) / 100);
	else if (what < 92)
		dm_world_close(w, &w->views[how % DM_WORLD_VIEWS]);
	else
		dm_world_write(w, how % 32);
}

static void light_fuse(struct dm_world *w)
{
	w->fuse = 1 + dm_world_random(w, 30);
	w->crash = dm_world_random(w, 2) ? DM_POWER : DM_KILL;
}

static void recover(struct dm_world *w)
{
	while (w->dead) {
		if (dm_world_random(w, 4) == 0) /* and again while it recovers */
			light_fuse(w);
		dm_world_recover(w);
		if (w->fuse > 0 && !w->dead)
			w->fuse = 0;
	}
}

static void walk(struct dm_world *w, const struct run *run)
{
	unsigned int i;

	w->writes = run->writes;
	for (i = 0; i < run->first; i++)
		dm_world_create(w, DM_SUCCEED);
	for (i = 0; i < run->steps && !w->wrong; i++) {
		if (dm_world_random(w, 100) < run->crashes)
			light_fuse(w);
		change(w, run->copies);
		if (!w->dead)
			dm_world_monitor(w);
		recover(w);
		w->fuse = 0;
		dm_world_check(w, run->views);
	}
	if (!w->wrong)
		dm_world_check(w, UMBRA_POOL_COPIES_MAX);
}

/* What all runs of a test did together. */
struct done {
	unsigned int copies, crashes, compacted, pieces, dropped, lost, stalled, moved, resized;
};

static void count(const struct dm_world *w, struct done *done)
{
	done->copies += w->n_remembered;
	done->crashes += w->crashes;
	done->compacted += w->compacted;
	done->pieces += w->pieces;
	done->dropped += w->dropped;
	done->lost += w->lost;
	done->stalled += w->stalled;
	done->moved += w->moved;
	done->resized += w->resized;
}

/* Was anything wrong? what, of its size in the world: the first of it in words. */
static bool went_wrong(unsigned int seed, const struct run *run, enum dm_fault fault,
		       struct done *done, char *what)
{
	struct dm_world *w = dm_world_new(seed, run->origin, run->segments);
	bool wrong;

	w->fault = fault;
	walk(w, run);
	count(w, done);
	memcpy(what, w->what, sizeof(w->what));
	wrong = w->wrong > 0;
	dm_world_free(w);
	return wrong;
}

static void sound(unsigned int seed, const struct run *run, struct done *done)
{
	char what[sizeof(((struct dm_world *)NULL)->what)];

	cr_assert_not(went_wrong(seed, run, DM_FAULT_NONE, done, what), "seed %u: %s", seed, what);
}

/* n runs, from this seed on. */
static struct done all_sound(unsigned int seed, unsigned int n, const struct run *run)
{
	struct done done = {0};

	for (; n > 0; n--)
		sound(seed++, run, &done);
	return done;
}

Test(dm_model, a_few_copies_with_room)
{
	const struct run run = {64, 400, 0, 12, 300, 6, 8, 0};
	struct done done = all_sound(1, 5, &run);

	cr_assert_gt(done.copies, 400);
	cr_assert_gt(done.compacted, 100);
	cr_assert_gt(done.pieces, 50);
	cr_assert_eq(done.dropped, 0);
}

Test(dm_model, killed_and_cut_off_at_any_step)
{
	const struct run run = {64, 400, 0, 12, 300, 6, 8, 25};
	struct done done = all_sound(100, 15, &run);

	cr_assert_gt(done.copies, 1000);
	cr_assert_gt(done.crashes, 300);
	cr_assert_gt(done.lost, 50);
	cr_assert_gt(done.compacted, 400);
	cr_assert_gt(done.resized, 50);
}

Test(dm_model, little_room)
{
	const struct run run = {96, 60, 0, 10, 300, 8, 8, 25};
	struct done done = all_sound(200, 15, &run);

	cr_assert_gt(done.dropped, 400);
	cr_assert_gt(done.stalled, 400);
}

/* Large stores that have much and little in common with each other. */
Test(dm_model, much_to_compact)
{
	const struct run run = {400, 2000, 0, 8, 250, 40, 4, 10};
	struct done done = all_sound(400, 6, &run);

	cr_assert_gt(done.compacted, 100);
	cr_assert_gt(done.pieces, 200);
}

Test(dm_model, as_many_copies_as_there_may_be)
{
	const struct run run = {64, 4000, 512, 512, 120, 6, 3, 40};
	struct done done = all_sound(300, 1, &run);

	cr_assert_gt(done.copies, 520);
	cr_assert_gt(done.crashes, 5);
}

/* One is ordinary, one writes more than there is room, one only between operations. */
static const struct run busy[] = {{64, 120, 0, 10, 200, 6, 8, 25},
				  {200, 60, 0, 6, 200, 60, 8, 90},
				  {64, 120, 0, 10, 200, 0, 8, 90}};

Test(dm_model, faults_are_noticed)
{
	static const unsigned int best[DM_FAULTS] = {
		[DM_FAULT_GRANT_NOT_DURABLE] = 1, [DM_FAULT_COMPACT_LIVE_TAIL] = 1,
		[DM_FAULT_COMPACT_NO_FLUSH] = 2,  [DM_FAULT_MOVE_NO_FLUSH] = 2,
		[DM_FAULT_MOVE_LIVE_TAIL] = 1,    [DM_FAULT_ONE_SLOT] = 2,
	};
	struct done done = {0};
	enum dm_fault fault;
	unsigned int seed;
	char what[sizeof(((struct dm_world *)NULL)->what)];

	for (fault = DM_FAULT_NONE + 1; fault < DM_FAULTS; fault++) {
		for (seed = 0; seed < 60; seed++) {
			if (went_wrong(seed, &busy[best[fault]], fault, &done, what))
				break;
		}
		cr_expect_lt(seed, 60, "fault %d", (int)fault);
	}
}

/* The same runs without a fault. */
Test(dm_model, nothing_is_noticed_without_a_fault)
{
	struct done done = {0};
	unsigned int seed;

	for (seed = 0; seed < 15; seed++)
		sound(seed, &busy[seed % UMBRA_ARRAY_SIZE(busy)], &done);
	cr_assert_gt(done.crashes, 700);
}
