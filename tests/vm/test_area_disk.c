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
