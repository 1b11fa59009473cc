/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Provider dm's steps at random, on a volume in memory (dm_world.h): after each, every copy reads
 * what the volume held at its instant. And the same with faults put in, which must be noticed.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "dm_world.h"

TestSuite(dm_model, .timeout = 240);

struct run {
	uint32_t origin, segments, copies; /* about that many are kept */
	unsigned int steps, writes, views;
	bool crashes;
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
	uint32_t list[UMBRA_POOL_COPIES_MAX], n = kept(w, list), what = dm_world_random(w, 100);

	if (n == 0 || what < (n < copies ? 45 : 20))
		dm_world_create(w, dm_world_random(w, 6) > 1
					   ? DM_SUCCEED
					   : (enum dm_outcome)dm_world_random(w, 3));
	else if (what < 55)
		dm_world_remove(w, list[dm_world_random(w, n)]);
	else if (what < 60)
		dm_world_remove(w, list[n - 1]);
	else if (what < 75)
		dm_world_compact(w, list[dm_world_random(w, n)], 1 + dm_world_random(w, 60));
	else if (what < 85)
		dm_world_open(w, list[dm_world_random(w, n)]);
	else if (what < 90)
		dm_world_close(w, &w->views[dm_world_random(w, DM_WORLD_VIEWS)]);
	else
		dm_world_write(w, dm_world_random(w, 4 * w->writes + 1));
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
	for (i = 0; i < run->steps && !w->wrong; i++) {
		if (run->crashes && dm_world_random(w, 4) == 0)
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

static void sound(unsigned int seed, const struct run *run)
{
	struct dm_world *w = dm_world_new(seed, run->origin, run->segments);

	walk(w, run);
	cr_assert_eq(w->wrong, 0, "seed %u: %s", seed, w->what);
	cr_log_info("seed %u: %u copies made, %u there, %u crashes, %u stores compacted in %u "
		    "pieces, %u given up",
		    seed, w->n_remembered, w->pool->n_copies, w->crashes, w->compacted, w->pieces,
		    w->dropped);
	dm_world_free(w);
}

Test(dm_model, a_few_copies_with_room)
{
	const struct run run = {64, 400, 12, 300, 6, 32, false};
	unsigned int seed;

	for (seed = 1; seed <= 10; seed++)
		sound(seed, &run);
}

Test(dm_model, killed_and_cut_off_at_any_step)
{
	const struct run run = {64, 400, 12, 300, 6, 32, true};
	unsigned int seed;

	for (seed = 100; seed < 130; seed++)
		sound(seed, &run);
}

Test(dm_model, little_room)
{
	const struct run run = {96, 60, 10, 300, 8, 32, true};
	unsigned int seed;

	for (seed = 200; seed < 220; seed++)
		sound(seed, &run);
}

Test(dm_model, hundreds_of_copies)
{
	const struct run run = {64, 4000, 512, 1600, 6, 3, true};

	sound(300, &run);
}

static bool noticed(enum dm_fault fault, unsigned int seed, const struct run *run)
{
	struct dm_world *w = dm_world_new(seed, run->origin, run->segments);
	bool wrong;

	w->fault = fault;
	walk(w, run);
	wrong = w->wrong > 0;
	dm_world_free(w);
	return wrong;
}

Test(dm_model, faults_are_noticed)
{
	const struct run runs[] = {{64, 120, 10, 300, 6, 32, true},
				   {200, 60, 6, 300, 40, 32, true}};
	enum dm_fault fault;
	unsigned int seed;

	for (fault = DM_FAULT_NONE + 1; fault < DM_FAULTS; fault++) {
		for (seed = 0; seed < 40; seed++) {
			if (noticed(fault, seed, &runs[seed % 2]))
				break;
		}
		cr_log_info("fault %d: noticed in run %u", (int)fault, seed);
		cr_expect_lt(seed, 40, "fault %d", (int)fault);
	}
}
