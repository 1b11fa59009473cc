/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Compaction of stores in the kernel: all copies stay what they are, and space comes back. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/fault.h"
#include "dm_rig.h"
#include "snapshot/provider/dm/parts.h"
#include "snapshot/provider/dm/pool/pool_disk.h"
#include "snapshot/provider/dm/volume/compact_run.h"
#include "snapshot/provider/dm/volume/copies.h"
#include "snapshot/provider/dm/volume/gauge.h"

#define SPARE 4
#define OPS   80

static struct rig rig;
static struct umbra_error err;
static bool gone[UMBRA_ARRAY_SIZE(rig.copies)];

static void begin(void)
{
	dm_lab_begin();
	rig_begin(&rig);
}

static void end(void)
{
	rig_end(&rig);
	dm_lab_end();
}

TestSuite(compact_run, .init = begin, .fini = end, .timeout = 200);

#define ok(call) cr_assert_eq(call, 0, "%s", err.text)

static void forget(size_t copy)
{
	ok(umbra_dm_forget(&rig.p, &rig.copies[copy].id, &err));
	gone[copy] = true;
}

static uint64_t room(void)
{
	struct umbra_gauge gauge;

	ok(umbra_gauge_read(&rig.p, &gauge, &err));
	return gauge.total;
}

static void all_exact(const char *after)
{
	size_t i;

	for (i = 0; i < rig.n; i++)
		if (!gone[i])
			cr_assert(rig_exact(&rig, i), "copy %zu after %s", i, after);
}

/* Until there is nothing to do. */
static unsigned int compact(void)
{
	unsigned int n = 0;
	int r;

	while ((r = umbra_compact_run(&rig.p, SPARE, &err)) > 0)
		cr_assert_lt(n++, 100);
	cr_assert_eq(r, 0, "%s", err.text);
	return n;
}

/* Three copies of which the one in the middle is gone, and what it had is there twice. */
static void two_stores(unsigned int writes)
{
	unsigned int i;

	for (i = 0; i < 4; i++) {
		rig_create(&rig);
		rig_write(&rig, writes);
	}
	forget(2);
	forget(1);
}

Test(compact_run, what_deletion_left_comes_back)
{
	uint64_t before;

	two_stores(600);
	before = room();
	cr_assert_neq(umbra_compact_sign(rig.p.pool), 0);
	cr_assert_gt(compact(), 0);
	cr_assert_gt(room(), before + 8, "%llu and %llu", (unsigned long long)room(),
		     (unsigned long long)before);
	all_exact("compaction");
	ok(umbra_pool_check(rig.p.pool, &err));
}

Test(compact_run, a_view_that_is_open_reads_on_and_gives_its_segments_back_when_it_is_rebased)
{
	uint64_t during;
	int fd;

	two_stores(600);
	fd = umbra_dm_open(rig_view(&rig, 0), O_RDONLY | O_DIRECT, &err);
	cr_assert_geq(fd, 0);
	cr_assert_gt(compact(), 0);
	during = room();
	all_exact("compaction below a view");
	ok(umbra_view_devices_rebase(&rig.p, &err));
	ok(umbra_view_devices_settle(&rig.p, &err));
	cr_assert_gt(room(), during);
	rig_grant_all(&rig);
	rig_write(&rig, 600);
	all_exact("new writes where the old segments were");
	close(fd);
}

static size_t alive(void)
{
	size_t i, n = 0;

	for (i = 0; i < rig.n; i++)
		n += !gone[i];
	return n;
}

static void step(unsigned int seed, unsigned int op)
{
	size_t i;

	switch (rand() % 5) {
	case 0:
	case 1:
		if (rig.n < UMBRA_ARRAY_SIZE(rig.copies) && alive() < 5)
			rig_create(&rig);
		break;
	case 2:
		i = rig.n ? (size_t)rand() % rig.n : 0;
		if (alive() > 2 && i < rig.n && !gone[i])
			forget(i);
		break;
	case 3:
		if (room() > 80)
			rig_write(&rig, (unsigned int)(rand() % 400));
		break;
	case 4:
		if (rig_live(&rig))
			compact();
		break;
	}
	if (rig_live(&rig))
		rig_grant_all(&rig);
	ok(umbra_pool_check(rig.p.pool, &err));
	if (op % 8 == 7) {
		char after[64];

		snprintf(after, sizeof(after), "step %u of seed %u", op, seed);
		all_exact(after);
	}
}

static void random_run(unsigned int seed)
{
	unsigned int op;

	srand(seed);
	for (op = 0; op < OPS; op++)
		step(seed, op);
	all_exact("all of it");
}

Test(compact_run, at_random_1)
{
	random_run(1);
}

Test(compact_run, at_random_2)
{
	random_run(2);
}

/* --- killed --- */

/* What a new process would read. */
static void load_again(void)
{
	static char a[UMBRA_POOL_SLOT_BYTES], b[UMBRA_POOL_SLOT_BYTES];
	struct umbra_pool *pool;
	int r;

	ok(umbra_area_read(rig.p.area, UMBRA_POOL_SLOT_A, a, sizeof(a), &err));
	ok(umbra_area_read(rig.p.area, UMBRA_POOL_SLOT_B, b, sizeof(b), &err));
	r = umbra_pool_load(a, umbra_pool_encoded_length(a), b, umbra_pool_encoded_length(b), &pool,
			    &err);
	cr_assert_geq(r, 0, "%s", err.text);
	umbra_pool_free(rig.p.pool);
	rig.p.pool = pool;
	ok(umbra_protected_settle(&rig.p, &err));
}

static bool killed_at(const char *point)
{
	int status;
	pid_t pid = fork();

	cr_assert_geq(pid, 0);
	if (pid == 0) {
		setenv("UMBRA_TEST_FAULT", point, 1);
		umbra_fault_init();
		while (umbra_compact_run(&rig.p, SPARE, NULL) > 0)
			;
		_exit(0);
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

static void killed(const char *point)
{
	two_stores(500);
	cr_assert(killed_at(point), "not at %s", point);
	load_again();
	all_exact(point);
	rig_grant_all(&rig);
	rig_write(&rig, 100);
	compact();
	all_exact("compaction");
	rig_create(&rig);
	rig_write(&rig, 100);
	all_exact("another creation");
}

#define KILLED(name, point)                                                                        \
	Test(compact_run, killed_##name)                                                           \
	{                                                                                          \
		killed(point);                                                                     \
	}

KILLED(when_room_was_made, "dm.given-back:kill")
KILLED(before_that_is_recorded, "dm.superblock:kill:1")
KILLED(while_that_is_recorded, "dm.superblock:kill:2")
KILLED(before_metadata, "dm.compact-copied:kill")
KILLED(before_the_switch, "dm.compact-filled:kill")
KILLED(in_the_switch, "dm.superblock:kill:3")
KILLED(late_in_the_switch, "dm.superblock:kill:4")
KILLED(after_the_switch, "dm.compacted:kill")
