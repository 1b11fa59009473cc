/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Whoever makes, reads, deletes or compacts copies, or lets the writers go, is stopped at each of
 * his points, and then killed there: meanwhile the volume is read and written, and the next one
 * finds every earlier copy as it was.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/fault.h"
#include "snapshot/provider/dm/device/store_device.h"
#include "snapshot/provider/dm/device/wall.h"
#include "volume_rig.h"

#define LIMIT_MS 20000

static struct volume_rig v;
static struct umbra_error err;

static void end(void)
{
	volume_end(&v);
	dm_lab_end();
}

TestSuite(kills, .init = dm_lab_begin, .fini = end, .timeout = 300);

/* --- who is killed --- */

/* false: it never comes to that point. */
static bool comes_to(const char *point, unsigned int count, void (*run)(void), pid_t *out)
{
	_cleanup_free_ char *value = umbra_asprintf("%s:stop:%u", point, count);
	int status, ms;

	*out = lab_fork();
	cr_assert_geq(*out, 0);
	if (*out == 0) {
		setenv("UMBRA_TEST_FAULT", value, 1);
		umbra_fault_init();
		run();
		_exit(0);
	}
	for (ms = 0; waitpid(*out, &status, WUNTRACED | WNOHANG) == 0; ms++) {
		cr_assert_lt(ms, LIMIT_MS, "stuck before %s", value);
		usleep(1000);
	}
	cr_assert(WIFSTOPPED(status) || (WIFEXITED(status) && WEXITSTATUS(status) == 0),
		  "failed before %s: %d", value, status);
	return WIFSTOPPED(status);
}

static void end_it(pid_t pid)
{
	kill(pid, SIGKILL);
	cr_assert_eq(waitpid(pid, NULL, 0), pid);
}

/* --- what is done, what comes after it --- */

struct work {
	void (*before)(void); /* may be NULL */
	void (*run)(void);    /* in a process that dies */
	void (*after)(void);  /* brings all of it to an end, and back to where it began */
};

static void begin_set(void)
{
	volume_begin_set(&v);
}

static void create(void)
{
	if (v.provider->prepare(&v.m, &err) < 0)
		_exit(1);
	volume_instant(&v);
	volume_finish(&v);
}

static void undo(void)
{
	volume_check_all(&v, "a creation that was killed");
	volume_abort(&v);
}

static void open_oldest(void)
{
	volume_open(&v, 0);
}

static void close_oldest(void)
{
	volume_open(&v, 0);
	volume_close(&v, 0);
}

static void delete_oldest(void)
{
	volume_delete(&v, 0);
}

static void delete_second(void)
{
	volume_delete(&v, 1);
}

static void delete_newest(void)
{
	volume_delete(&v, v.n - 1);
}

static void one_more(void)
{
	volume_write(&v, 8);
	volume_create(&v);
}

static void delete_oldest_too(void)
{
	delete_oldest();
	one_more();
}

static void delete_second_too(void)
{
	delete_second();
	one_more();
}

static void delete_newest_too(void)
{
	delete_newest();
	one_more();
}

static void rewrite(void)
{
	volume_look_after(&v);
	volume_rewrite_model(&v, v.sectors - VOLUME_SECTORS_IN_CHUNK);
	cr_assert(volume_rewrite(&v, v.sectors - VOLUME_SECTORS_IN_CHUNK));
}

/* Of the two stores that the oldest has then, half of the second is not needed. */
static void make_compactable(void)
{
	while (v.n > 1)
		volume_delete(&v, 0);
	volume_write(&v, 60);
	volume_create(&v);
	rewrite();
	volume_create(&v);
	delete_second();
}

static void compact(void)
{
	volume_compact(&v);
}

static void compact_again(void)
{
	volume_check_all(&v, "a compaction that was killed");
	volume_compact(&v);
}

static const struct work creation = {begin_set, create, undo};
static const struct work opening = {NULL, open_oldest, close_oldest};
static const struct work deleting_oldest = {NULL, delete_oldest, delete_oldest_too};
static const struct work deleting_second = {NULL, delete_second, delete_second_too};
static const struct work deleting_newest = {NULL, delete_newest, delete_newest_too};
static const struct work deleting_last = {one_more, delete_oldest, delete_oldest};
static const struct work compaction = {make_compactable, compact, compact_again};

/* --- one after the other --- */

static bool survives(const struct work *w, const char *point, unsigned int count)
{
	bool came;
	pid_t pid;

	if (w->before)
		w->before();
	came = comes_to(point, count, w->run, &pid);
	if (came) {
		cr_assert(dm_lab_flows(NULL), "%s", point);
		volume_write_on(&v, 2);
		volume_check_origin(&v, point);
		end_it(pid);
	}
	volume_look_after(&v);
	w->after();
	volume_check_all(&v, point);
	volume_write(&v, 4);
	return came;
}

static void at_each(const struct work *w, const char *const *points)
{
	unsigned int count;

	for (; *points; points++)
		cr_assert(survives(w, *points, 1), "%s is never passed", *points);
	for (count = 1; survives(w, "dm.superblock", count); count++)
		cr_assert_lt(count, 30);
	cr_assert_gt(count, 2);
}

#define AT_EACH(work, ...) at_each(work, (const char *const[]){__VA_ARGS__, NULL})

static void begin(unsigned int copies)
{
	volume_seed(7);
	volume_begin(&v, 4, 40);
	while (v.n < copies)
		one_more();
	volume_write(&v, 8);
}

Test(kills, the_first_creation_which_slides_in)
{
	begin(0);
	AT_EACH(&creation, "layer.made", "layer.loaded", "layer.replaced", "dm.slid-in",
		"dm.entered", "dm.zeroed", "dm.recorded", "dm.wall-made", "dm.cow-made",
		"dm.loaded", "dm.unlocked", "dm.kept");
}

Test(kills, a_creation_under_open_views)
{
	begin(3);
	volume_open(&v, 0);
	volume_open(&v, 2);
	AT_EACH(&creation, "dm.shrunk", "dm.zeroed", "dm.recorded", "dm.wall-made", "dm.cow-made",
		"dm.loaded", "dm.unlocked", "dm.kept", "dm.view-loaded", "dm.store-out",
		"dm.granted", "dm.cow-loaded");
}

Test(kills, opening)
{
	begin(3);
	cr_assert(survives(&opening, "dm.view-cow", 1));
}

Test(kills, deleting)
{
	begin(3);
	AT_EACH(&deleting_oldest, "dm.removing", "dm.removed", "dm.granted", "dm.cow-loaded");
	AT_EACH(&deleting_second, "dm.removing", "dm.removed");
	AT_EACH(&deleting_newest, "dm.removing", "dm.removed");
}

Test(kills, deleting_the_last_which_slides_out)
{
	begin(0);
	AT_EACH(&deleting_last, "dm.removing", "dm.removed", "dm.leaving", "layer.loaded",
		"layer.replaced", "layer.left");
}

Test(kills, compaction)
{
	begin(1);
	AT_EACH(&compaction, "dm.given-back", "dm.compact-copied", "dm.compact-filled",
		"dm.compacted");
}

/* Without umbrad, too. */
Test(kills, what_was_taken_from_a_store_is_given_back_by_who_opens_it)
{
	_cleanup_protected_ struct umbra_protected *p = NULL;
	const struct umbra_pool_store *live;
	uint64_t chunks;
	pid_t pid;

	begin(1);
	make_compactable();
	cr_assert(comes_to("dm.given-back", 1, compact, &pid));
	end_it(pid);
	p = volume_protected(&v);
	live = umbra_pool_live(p->pool);
	cr_assert_eq(umbra_wall_chunks(&p->kernel, live->number, &chunks, &err), 0, "%s", err.text);
	cr_assert_eq(chunks, (uint64_t)live->segments.n * p->pool->geometry.segment_chunks);
}

/* --- diff areas --- */

static void add_area(void)
{
	json_t *report;

	if (v.provider->storage->add(v.state_fd, v.state_dir, &v.area, &report, &err) < 0)
		_exit(1);
	json_decref(report);
}

static void remove_area(void)
{
	cr_assert_eq(v.provider->storage->remove(v.state_fd, v.state_dir, &v.area, &err), 0, "%s",
		     err.text);
}

/* What is there by then is no area, or one that can be used. */
static void add_again(void)
{
	_cleanup_json_ json_t *report = NULL;
	int r = v.provider->storage->add(v.state_fd, v.state_dir, &v.area, &report, &err);

	cr_assert(r == 0 || r == -EEXIST, "%s", err.text);
	volume_create(&v);
	delete_oldest();
}

Test(kills, making_a_diff_area)
{
	static const struct work adding = {remove_area, add_area, add_again};

	begin(0);
	v.area.force = true; /* what the killed one left on it */
	AT_EACH(&adding, "dm.area-made", "dm.area-recorded");
}

/* --- space --- */

#define AREA_MIB 32

static struct umbra_kernel kernel;
static uint64_t store; /* the one that writers come to the end of */

/* What an area of AREA_MIB has for sectors, about. */
static uint32_t capacity(void)
{
	_cleanup_protected_ struct umbra_protected *p = volume_protected(&v);

	return p->pool->geometry.segments * p->pool->geometry.segment_chunks *
	       p->pool->geometry.chunk_sectors;
}

static void find_store(void)
{
	_cleanup_protected_ struct umbra_protected *p = volume_protected(&v);

	kernel = p->kernel;
	store = umbra_protected_base(p)->number;
}

/* Without opening the volume, which could change something. */
static bool somebody_waits(void)
{
	enum umbra_store_state state;
	uint64_t used, granted;

	cr_assert_eq(umbra_store_device_state(&kernel, store, &state, &used, &err), 0, "%s",
		     err.text);
	cr_assert_eq(umbra_wall_chunks(&kernel, store, &granted, &err), 0, "%s", err.text);
	return used > granted;
}

/* Half of the space is the oldest copy's; the newest has the other half. */
static uint32_t two_halves(void)
{
	uint32_t all;

	volume_seed(7);
	volume_begin(&v, 32, AREA_MIB);
	all = capacity();
	volume_create(&v);
	volume_rewrite_model(&v, all / 2);
	cr_assert(volume_rewrite(&v, all / 2));
	volume_create(&v);
	cr_assert_eq(v.n, 2);
	return all;
}

static pid_t start_writer(uint32_t n)
{
	pid_t pid;
	int ms;

	find_store();
	volume_rewrite_model(&v, n);
	pid = lab_fork();
	if (pid == 0)
		_exit(volume_rewrite(&v, n) ? 0 : 1);
	for (ms = 0; !somebody_waits(); ms += 10) {
		cr_assert_eq(waitpid(pid, NULL, WNOHANG), 0, "it does not wait");
		cr_assert_lt(ms, LIMIT_MS, "it does not come to the end of the space");
		usleep(10000);
	}
	return pid;
}

static bool has_written(pid_t pid)
{
	int status, r = waitpid(pid, &status, WNOHANG);

	cr_assert(r == 0 || (WIFEXITED(status) && WEXITSTATUS(status) == 0), "the writer failed");
	return r == pid;
}

static void look_after(void)
{
	volume_look_after(&v);
}

/* By who looks after it next. */
static void space_is_found(const char *point, pid_t writer)
{
	int ms;

	for (ms = 0; ms < LIMIT_MS && !has_written(writer); ms += 10) {
		volume_look_after(&v);
		usleep(10000);
	}
	cr_assert_lt(ms, LIMIT_MS, "after %s the writer waits for ever", point);
}

static void writers_wait(const char *point, bool creating)
{
	uint32_t all = two_halves();
	pid_t writer, pid;

	if (creating)
		cr_assert_eq(volume_prepare(&v), 0, "%s", err.text);
	writer = start_writer(all / 8 * 5);
	cr_assert(comes_to(point, 1, look_after, &pid), "%s", point);
	cr_assert(dm_lab_flows(NULL), "%s", point);
	end_it(pid);
	if (!volume_has(&v, 0))
		volume_forget(&v, 0);
	space_is_found(point, writer);
	cr_assert_eq(v.n, 1);
	if (creating) {
		volume_instant(&v);
		volume_finish(&v);
	}
	volume_check_all(&v, point);
}

#define WRITERS_WAIT(name, point, creating)                                                        \
	Test(kills, writers_wait_and_##name)                                                       \
	{                                                                                          \
		writers_wait(point, creating);                                                     \
	}

WRITERS_WAIT(the_oldest_goes, "dm.removing", false)
WRITERS_WAIT(the_oldest_has_gone, "dm.removed", false)
WRITERS_WAIT(they_are_granted_more, "dm.granted", false)
WRITERS_WAIT(they_are_let_through_the_wall, "dm.wall-behind", false)
WRITERS_WAIT(the_oldest_goes_within_a_creation, "dm.given-up", true)

static void let_go(void)
{
	int r;

	while ((r = v.provider->storage->let_go(100, &err)) == 1)
		usleep(10000);
	if (r < 0)
		_exit(1);
}

/* Nobody has space for them: the second to let them go does it. */
Test(kills, writers_wait_in_vain_and_are_let_go)
{
	uint32_t all = two_halves();
	pid_t writer = start_writer(all), pid;
	int ms;

	cr_assert(comes_to("walls.late", 1, let_go, &pid));
	cr_assert_not(has_written(writer));
	end_it(pid);
	for (ms = 0; ms < LIMIT_MS && !has_written(writer); ms += 10) {
		cr_assert_geq(v.provider->storage->let_go(100, &err), 0, "%s", err.text);
		usleep(10000);
	}
	cr_assert_lt(ms, LIMIT_MS);
	volume_check_origin(&v, "that");
	while (v.n > 0)
		volume_delete(&v, 0); /* which are lost */
	volume_create(&v);
	volume_check_all(&v, "that");
}
