/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The disk of a diff area is slow, or fails for a moment: no copy is shown wrong for that. */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dm_rig.h"
#include "snapshot/provider/dm/volume/compact_run.h"

#define SLOW_MS 3000

static struct rig rig;
static struct umbra_error err;
static struct umbra_dm_table usual; /* of the device that begin() was called for */

static void begin(void)
{
	dm_lab_begin();
	rig_begin(&rig);
}

static void end(void)
{
	umbra_dm_table_finish(&usual);
	rig_end(&rig);
	dm_lab_end();
}

TestSuite(area_disk, .init = begin, .fini = end, .timeout = 100);

#define ok(call) cr_assert_eq(call, 0, "%s", err.text)

/* --- a device of the area is something else for a while --- */

static void put(const struct umbra_device_name *name, const struct umbra_dm_table *table)
{
	ok(umbra_dm_load(umbra_dm_named(name->name), table, 0, &err));
	ok(umbra_dm_resume(umbra_dm_named(name->name), &err));
}

static void replace(const struct umbra_device_name *name, const char *target, const char *params)
{
	_cleanup_dm_table_ struct umbra_dm_table table = {0};

	umbra_dm_table_finish(&usual);
	ok(umbra_dm_table(umbra_dm_named(name->name), UMBRA_DM_LIVE, &usual, &err));
	ok(umbra_dm_table_add(&table, umbra_dm_table_sectors(&usual), target, &err, "%s", params));
	put(name, &table);
}

/* role and number: "cow", 3; number 0: none. */
static struct umbra_device_name device(const char *role, uint64_t number)
{
	struct umbra_device_name name;
	char text[32];

	snprintf(text, sizeof(text), number ? "%s%" PRIu64 : "%s", role, number);
	umbra_device_name(&rig.p.kernel.area, text, &name);
	return name;
}

/* Another process writes the first chunk of the volume. */
static pid_t start_write(void)
{
	pid_t pid = lab_fork();

	cr_assert_geq(pid, 0);
	if (pid == 0) {
		void *chunk = mmap(NULL, RIG_CHUNK, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		memset(chunk, 0x5a, RIG_CHUNK);
		_exit(pwrite(rig.volume, chunk, RIG_CHUNK, 0) == RIG_CHUNK ? 10 : 1);
	}
	return pid;
}

static void await_write(pid_t pid)
{
	int status;

	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 10);
}

static enum umbra_store_state state_of(uint64_t store)
{
	enum umbra_store_state state;

	ok(umbra_store_device_state(&rig.p.kernel, store, &state, NULL, &err));
	return state;
}

/* --- slow --- */

/* Of how many segments the live store's device gives away chunks. */
static uint64_t mapped(void)
{
	const struct umbra_device_name cow = device("cow", rig_live(&rig)->number);
	_cleanup_dm_table_ struct umbra_dm_table table = {0};
	unsigned int maj, min;
	uint64_t n = 0;
	size_t i;

	ok(umbra_dm_table(umbra_dm_named(cow.name), UMBRA_DM_LIVE, &table, &err));
	for (i = 0; i < table.n; i++)
		if (sscanf(table.v[i].params, "%u:%u", &maj, &min) == 2 &&
		    makedev(maj, min) == rig.p.kernel.pool)
			n += table.v[i].length;
	return n / (rig.p.pool->geometry.segment_chunks * rig.p.pool->geometry.chunk_sectors);
}

/* As long as a write is under way the kernel keeps the device's table. What the store could still
 * give away then is nobody else's. */
Test(area_disk, what_a_slow_one_keeps_is_not_given_to_others)
{
	const struct umbra_device_name area = device("area", 0);
	_cleanup_free_ char *delay = NULL;
	uint32_t segments;
	pid_t writer;

	dm_lab_need("the target delay", "modprobe dm-delay");
	rig_create(&rig);
	segments = rig_live(&rig)->segments.n;
	ok(umbra_dm_table(umbra_dm_named(area.name), UMBRA_DM_LIVE, &usual, &err));
	delay = umbra_asprintf("%.*s 0 0 %.*s 0 %d", (int)strcspn(usual.v[0].params, " "),
			       usual.v[0].params, (int)strcspn(usual.v[0].params, " "),
			       usual.v[0].params, SLOW_MS);
	replace(&area, "delay", delay);
	writer = start_write();
	usleep(SLOW_MS * 1000 / 6);
	cr_assert_eq(umbra_live_give_back(&rig.p, segments / 2, &err), 0, "%s", err.text);
	cr_assert_eq(rig_live(&rig)->segments.n, segments);
	put(&area, &usual);
	await_write(writer);
	cr_assert_eq(mapped(), segments);
	cr_assert_eq(umbra_live_give_back(&rig.p, segments / 2, &err), 1, "%s", err.text);
	cr_assert_eq(mapped(), rig_live(&rig)->segments.n);
	cr_assert(rig_exact(&rig, 0));
	cr_assert(dm_lab_flows(NULL));
}

/* --- fails for a moment --- */

static uint32_t index_of(size_t copy)
{
	return umbra_pool_find(rig.p.pool, &rig.copies[copy].id);
}

/* The kernel could not even write that it has given the store up. */
Test(area_disk, what_failed_before_the_next_copy_is_lost)
{
	const struct umbra_device_name area = device("area", 0);
	uint64_t older;
	dev_t snap;

	rig_create(&rig);
	older = rig_live(&rig)->number;
	snap = rig_prepare(&rig);
	replace(&area, "error", "");
	rig_write(&rig, 1);
	cr_assert_eq(state_of(older), UMBRA_STORE_INVALID);
	put(&area, &usual);
	rig_instant(&rig, snap);
	rig_write(&rig, 10);
	rig_finish(&rig);
	cr_assert_eq(rig.p.pool->copies[index_of(0)].state, UMBRA_POOL_LOST);
	cr_assert_eq(rig.p.pool->copies[index_of(1)].state, UMBRA_POOL_KEPT);
	cr_assert(rig_exact(&rig, 1));
	cr_assert(dm_lab_flows(NULL));
}

/* Whoever looks meanwhile makes it known to those who come after a stop of the machine. */
Test(area_disk, what_failed_while_a_copy_is_made_says_so_itself)
{
	const struct umbra_device_name area = device("area", 0);
	_cleanup_exceptions_ struct umbra_exceptions none = {0};
	int maker;

	rig_create(&rig);
	rig_prepare(&rig);
	ok(umbra_protected_mark(&rig.p, &maker, &err));
	replace(&area, "error", "");
	rig_write(&rig, 1);
	put(&area, &usual);
	ok(umbra_protected_settle(&rig.p, &err));
	cr_assert_eq(
		umbra_protected_read_store(&rig.p, umbra_protected_base(&rig.p), &none, NULL, &err),
		-EBADMSG);
	close(maker);
}

/* The store before it collects for all others. */
Test(area_disk, what_fails_of_a_copy_that_is_being_made_is_that_copy_alone)
{
	struct umbra_device_name cow;
	uint64_t newer;
	dev_t snap;

	rig_create(&rig);
	rig_write(&rig, 50);
	snap = rig_prepare(&rig);
	newer = rig_live(&rig)->number;
	rig_instant(&rig, snap);
	cow = device("cow", newer);
	replace(&cow, "error", "");
	rig_write(&rig, 50);
	cr_assert_eq(state_of(newer), UMBRA_STORE_INVALID);
	ok(umbra_protected_settle(&rig.p, &err));
	cr_assert_eq(index_of(1), rig.p.pool->n_copies);
	cr_assert_eq(rig.p.pool->copies[index_of(0)].state, UMBRA_POOL_KEPT);
	rig_write(&rig, 50);
	cr_assert(rig_exact(&rig, 0));
	cr_assert(dm_lab_flows(NULL));
}

/* --- says what nobody wrote --- */

/* Everything that is read a chunk at a time has room for chunks of ours. */
Test(area_disk, a_pool_with_chunks_of_another_size_is_damaged)
{
	_cleanup_pool_ struct umbra_pool *strange = NULL;
	struct umbra_pool_geometry g;

	ok(umbra_pool_geometry(umbra_area_sectors(rig.p.area), 2 * UMBRA_DM_CHUNK_SECTORS, &g,
			       &err));
	ok(umbra_pool_new(&g, &rig.p.kernel.area, "lab-x", &strange, &err));
	ok(umbra_protected_write(&rig.p, &strange, &err));
	cr_assert_eq(umbra_protected_load(&rig.p, &err), -EBADMSG);
}
