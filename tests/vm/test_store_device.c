/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Stores and views in the kernel: exact block by block, and what happens at the wall. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dm_rig.h"
#include "snapshot/provider/dm/device/wall.h"
#include "snapshot/sys/limit.h"

static struct rig rig;
static struct umbra_error err;

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

TestSuite(store_device, .init = begin, .fini = end, .timeout = 100);

#define ok(call) cr_assert_eq(call, 0, "%s", err.text)

static enum umbra_store_state state_of(uint64_t store, uint64_t *used)
{
	enum umbra_store_state state;

	ok(umbra_store_device_state(&rig.p.kernel, store, &state, used, &err));
	return state;
}

Test(store_device, the_instant_is_the_first_resume)
{
	uint64_t used, store;
	dev_t snap;

	snap = rig_prepare(&rig);
	store = rig_live(&rig)->number;
	cr_assert_eq(state_of(store, &used), UMBRA_STORE_LOADED);
	rig_write(&rig, 100);
	cr_assert_eq(state_of(store, &used), UMBRA_STORE_LOADED);
	rig_instant(&rig, snap);
	cr_assert_eq(state_of(store, &used), UMBRA_STORE_LIVE);
	cr_assert(rig_same(snap, rig.copies[0].sums));
	rig_write(&rig, 300);
	cr_assert(rig_same(snap, rig.copies[0].sums));
	cr_assert_eq(state_of(store, &used), UMBRA_STORE_LIVE);
	cr_assert(used > 200 && used < 310, "%llu", (unsigned long long)used);
	rig_finish(&rig);
	cr_assert(rig_exact(&rig, 0));
	ok(umbra_kernel_clear(&rig.p.kernel, &err));
	ok(umbra_layer_out(&rig.p.layer, &err));
}

Test(store_device, views_over_sealed_stores)
{
	size_t i, k;

	for (i = 0; i < 6; i++) {
		rig_create(&rig);
		rig_write(&rig, 60 + 40 * (unsigned int)i);
		for (k = 0; k <= i; k += i ? i : 1)
			cr_assert(rig_exact(&rig, k), "copy %zu after %zu", k, i);
	}
	rig_write(&rig, 500);
	for (k = 0; k < 6; k++)
		cr_assert(rig_exact(&rig, k), "copy %zu", k);
}

/* Reads a device over and over; ends with status 10 when all of it was as it has to be. */
static pid_t start_reader(dev_t dev, const uint64_t *sums)
{
	int fd = umbra_dm_open(dev, O_RDONLY, &err); /* all the time, or the view goes */
	pid_t pid;

	cr_assert_geq(fd, 0, "%s", err.text);
	pid = lab_fork();
	cr_assert_geq(pid, 0);
	if (pid == 0) {
		int i;

		for (i = 0; i < 1000000 && getppid() != 1; i++)
			if (!rig_same(dev, sums))
				_exit(1);
		_exit(2);
	}
	close(fd);
	return pid;
}

static bool is_running(pid_t pid)
{
	int status;

	return waitpid(pid, &status, WNOHANG) == 0;
}

/* Not with O_DIRECT alone: pages that are in memory must stay right too. */
Test(store_device, views_are_rebased_while_they_are_read)
{
	int fd, i, k;
	pid_t readers[2];
	unsigned char *map;

	for (i = 0; i < 3; i++) {
		rig_create(&rig);
		rig_write(&rig, 100);
	}
	readers[0] = start_reader(rig_view(&rig, 0), rig.copies[0].sums);
	readers[1] = start_reader(rig_view(&rig, 2), rig.copies[2].sums);
	fd = umbra_dm_open(rig_view(&rig, 1), O_RDONLY, &err);
	map = mmap(NULL, RIG_BYTES, PROT_READ, MAP_SHARED, fd, 0);
	cr_assert_neq(map, MAP_FAILED);
	cr_assert(rig_has_sums(map, RIG_BYTES / 2, rig.copies[1].sums));
	for (i = 0; i < 6; i++) {
		rig_write(&rig, 100);
		rig_create(&rig);
		rig_write(&rig, 100);
		for (k = 0; k < 2; k++)
			cr_assert(is_running(readers[k]), "reader %d after creation %d", k, i);
	}
	cr_assert(rig_has_sums(map, RIG_BYTES, rig.copies[1].sums));
	for (k = 0; k < 2; k++) {
		kill(readers[k], SIGKILL);
		waitpid(readers[k], NULL, 0);
	}
	for (k = 0; k < 9; k++)
		cr_assert(rig_exact(&rig, (size_t)k), "copy %d", k);
}

/* As when something could not be read for a moment: it is exact again, also for who has it open. */
Test(store_device, a_view_that_was_closed_under_its_reader_comes_back)
{
	dev_t view;
	int fd;

	rig_create(&rig);
	rig_write(&rig, 100);
	rig_create(&rig);
	rig_write(&rig, 100);
	view = rig_view(&rig, 0);
	fd = umbra_dm_open(view, O_RDONLY, &err);
	cr_assert_geq(fd, 0, "%s", err.text);
	ok(umbra_view_devices_close(&rig.p, &rig.copies[0].id, &err));
	cr_assert_eq(rig_view(&rig, 0), view);
	cr_assert(rig_exact(&rig, 0));
	rig_create(&rig);
	close(fd);
	cr_assert(rig_exact(&rig, 0));
	ok(umbra_view_devices_settle(&rig.p, &err));
	ok(umbra_kernel_clear(&rig.p.kernel, &err));
	ok(umbra_layer_out(&rig.p.layer, &err));
}

/* --- the wall --- */

/* A process that overwrites every chunk once, in order; *done says how many. Status 10: all. */
static pid_t start_writer(volatile unsigned int *done)
{
	pid_t pid = lab_fork();

	cr_assert_geq(pid, 0);
	if (pid == 0) {
		unsigned char *chunk = mmap(NULL, RIG_CHUNK, PROT_READ | PROT_WRITE,
					    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		off_t at;

		memset(chunk, 0x5a, RIG_CHUNK);
		for (at = 0; at < RIG_BYTES; at += RIG_CHUNK) {
			if (pwrite(rig.volume, chunk, RIG_CHUNK, at) != RIG_CHUNK)
				_exit(1);
			*done += 1;
		}
		_exit(10);
	}
	return pid;
}

static volatile unsigned int *shared_counter(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	cr_assert_neq(p, MAP_FAILED);
	return p;
}

/* Until it has not moved for a while. */
static unsigned int stopped_at(volatile unsigned int *done)
{
	unsigned int last = UINT32_MAX, still = 0;

	while (still < 20) {
		still = *done == last ? still + 1 : 0;
		last = *done;
		usleep(20000);
	}
	return last;
}

static int wait_writer(pid_t pid)
{
	int status, i;

	for (i = 0; i < 3000; i++) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
		usleep(10000);
	}
	return -1;
}

static bool waits_in(uint64_t store)
{
	uint64_t used, granted;

	ok(umbra_wall_chunks(&rig.p.kernel, store, &granted, &err));
	return state_of(store, &used) == UMBRA_STORE_LIVE && used > granted;
}

static int stuck(void)
{
	return waits_in(rig_live(&rig)->number);
}

/* A copy whose store has `segments` segments, and a writer who has come to its wall. */
static pid_t writer_at_the_wall(uint32_t segments, volatile unsigned int *done)
{
	pid_t writer;
	unsigned int at;

	rig_create(&rig);
	rig_shrink(&rig, segments);
	cr_assert_eq(stuck(), 0);
	writer = start_writer(done);
	at = stopped_at(done);
	cr_assert(at > 0 && at < RIG_CHUNKS, "%u", at);
	cr_assert_eq(stuck(), 1, "%s", err.text);
	return writer;
}

Test(store_device, writers_wait_at_the_wall_and_a_grant_releases_them)
{
	volatile unsigned int *done = shared_counter();
	pid_t writer = writer_at_the_wall(4, done);
	unsigned int before = *done, i;

	for (i = 0; i < 8; i++) {
		rig_grant(&rig, 2);
		cr_assert_gt(stopped_at(done), before, "grant %u", i);
		before = *done;
		cr_assert_eq(stuck(), 1, "grant %u", i);
	}
	rig_grant_all(&rig);
	cr_assert_eq(wait_writer(writer), 10);
	cr_assert_eq(stuck(), 0);
	cr_assert(rig_exact(&rig, 0));
	rig_create(&rig);
	cr_assert(rig_exact(&rig, 0));
	cr_assert(dm_lab_flows(NULL));
}

Test(store_device, given_up_the_origin_goes_on)
{
	volatile unsigned int *done = shared_counter();
	pid_t writer = writer_at_the_wall(4, done);
	uint64_t store = rig_live(&rig)->number;

	ok(umbra_wall_give_up(&rig.p.kernel, store, &err));
	cr_assert_eq(wait_writer(writer), 10);
	cr_assert_eq(state_of(store, NULL), UMBRA_STORE_INVALID);
	ok(umbra_store_device_remove(&rig.p.kernel, store, &err));
	cr_assert(dm_lab_flows(NULL));
}

/* Nobody can come to the wall of a store that has all of the pool, so nothing leads to it. */
Test(store_device, closed_again_where_nothing_leads_to_it)
{
	uint64_t store;

	rig_create(&rig);
	store = rig_live(&rig)->number;
	cr_assert_eq(rig_live(&rig)->segments.n, rig.p.pool->geometry.segments);
	ok(umbra_wall_give_up(&rig.p.kernel, store, &err));
	ok(umbra_wall_close(&rig.p.kernel, store, &err));
	rig_write(&rig, 50);
	ok(umbra_wall_give_up(&rig.p.kernel, store, &err));
	rig_create(&rig);
	cr_assert(rig_exact(&rig, 0));
	cr_assert(rig_exact(&rig, 1));
	cr_assert(dm_lab_flows(NULL));
}

/* The kernel takes no snapshot away that writers wait in; whoever asked would wait with them. */
Test(store_device, removed_while_writers_wait)
{
	volatile unsigned int *done = shared_counter();
	pid_t writer = writer_at_the_wall(4, done);

	ok(umbra_store_device_remove(&rig.p.kernel, rig_live(&rig)->number, &err));
	cr_assert_eq(wait_writer(writer), 10);
	cr_assert(dm_lab_flows(NULL));
}

Test(store_device, followed_while_writers_wait_in_it)
{
	volatile unsigned int *done = shared_counter();
	uint64_t older;
	pid_t writer;
	dev_t snap;

	rig_create(&rig);
	older = rig_live(&rig)->number;
	rig_shrink(&rig, 4);
	snap = rig_prepare(&rig);
	rig_instant(&rig, snap);
	writer = start_writer(done);
	stopped_at(done);
	cr_assert(waits_in(older));
	rig_finish(&rig);
	cr_assert_eq(wait_writer(writer), 10);
	cr_assert(rig_exact(&rig, 0));
	cr_assert(rig_exact(&rig, 1));
	cr_assert(dm_lab_flows(NULL));
}

/* The hold's timer is what ends it. */
Test(store_device, a_hold_does_not_wait_for_writers_at_the_wall)
{
	volatile unsigned int *done = shared_counter();
	pid_t writer = writer_at_the_wall(4, done);
	struct umbra_limit limit;

	ok(umbra_limit_start(&limit, 200));
	cr_assert_eq(umbra_dm_hold_suspend(rig.control, &rig.origin, 0), -EINTR);
	umbra_limit_stop(&limit);
	cr_assert(dm_lab_flows(NULL));
	rig_grant_all(&rig);
	cr_assert_eq(wait_writer(writer), 10);
	cr_assert(rig_exact(&rig, 0));
}

/* --- killed --- */

static int make_again(void *arg)
{
	(void)arg;
	return umbra_store_device_make(&rig.p.kernel, rig.p.pool, rig_live(&rig), NULL, NULL);
}

Test(store_device, killed_while_a_store_is_made)
{
	dev_t snap = rig_prepare(&rig);
	int n;

	for (n = 1; dm_lab_kill_at(n, make_again, NULL); n++) {
		cr_assert(dm_lab_flows(NULL), "ioctl %d", n);
		rig_write(&rig, 5);
	}
	ok(umbra_store_device_make(&rig.p.kernel, rig.p.pool, rig_live(&rig), &snap, &err));
	rig_instant(&rig, snap);
	rig_finish(&rig);
	rig_write(&rig, 100);
	cr_assert(rig_exact(&rig, 0));
}

/* While writers come through slowly there may be too many walls for a moment: umbrad comes again.
 */
static int grant(struct umbra_error *e)
{
	int i, r = -EBUSY;

	for (i = 0; r == -EBUSY && i < 40; i++) {
		r = umbra_store_device_grant(&rig.p.kernel, rig.p.pool, rig_live(&rig), e);
		if (r == -EBUSY)
			usleep(250000);
	}
	return r;
}

static int grant_again(void *arg)
{
	int r = grant(&err);

	(void)arg;
	if (r < 0)
		fprintf(stderr, "%s\n", err.text);
	return r;
}

/* The one who comes next grants again: nothing but walls is suspended, and the writer goes on. */
Test(store_device, killed_while_writers_wait_for_a_grant)
{
	volatile unsigned int *done = shared_counter();
	pid_t writer = writer_at_the_wall(3, done);
	bool killed = true;
	unsigned int before;
	int n;

	/* As far as the pool goes; writers that are fast make grants long. */
	for (n = 1; killed && umbra_pool_free_segments(rig.p.pool) > 2; n += 2) {
		before = *done;
		rig_record_grant(&rig, 1);
		killed = dm_lab_kill_at(n, grant_again, NULL);
		cr_assert(dm_lab_flows(NULL), "ioctl %d", n);
		ok(grant(&err));
		cr_assert_gt(stopped_at(done), before, "ioctl %d", n);
	}
	cr_assert_gt(n, 10);
	rig_grant_all(&rig);
	cr_assert_eq(wait_writer(writer), 10);
	cr_assert(rig_exact(&rig, 0));
}

static int rebase(void *arg)
{
	(void)arg;
	return umbra_view_devices_rebase(&rig.p, NULL);
}

Test(store_device, killed_while_a_view_is_rebased)
{
	pid_t reader;
	int n;

	rig_create(&rig);
	rig_write(&rig, 100);
	rig_create(&rig);
	rig_write(&rig, 100);
	reader = start_reader(rig_view(&rig, 0), rig.copies[0].sums);
	for (n = 1; dm_lab_kill_at(n, rebase, NULL); n++) {
		cr_assert(dm_lab_flows(NULL), "ioctl %d", n);
		ok(umbra_view_devices_rebase(&rig.p, &err));
		cr_assert(is_running(reader), "ioctl %d", n);
	}
	rig_create(&rig);
	cr_assert(is_running(reader));
	kill(reader, SIGKILL);
	waitpid(reader, NULL, 0);
	cr_assert(rig_exact(&rig, 0));
}
