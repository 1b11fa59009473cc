/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The real coordinator, guards and umbrad, on a mounted volume: killed or stopped at each point of
 * a creation and a deletion, alone and two at a time. Within ten seconds nothing is suspended and
 * the volume is read and written; the next start puts right what is left; every earlier copy is
 * what it was.
 *
 * UMBRA_SOAK=1: each point with each pair, killed and stopped, not one of them in turn.
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>

#include "coordinator/client.h"
#include "dm_lab.h"
#include "snapshot/engine.h"
#include "snapshot/provider/dm/parts.h"
#include "snapshot/provider/dm/volume/copies.h"
#include "snapshot/provider/dm/volume/view_device.h"
#include "tests/unit/children.h"
#include "tests/unit/points.h"

#define MIB      24
#define COPIES   3
#define HOLD_MS  1500 /* the limit of a hold, here */
#define LIMIT_MS 10000
#define PIECE    (1U << 20)

static const char *state, *vol;
static struct umbra_error err;
static unsigned char *piece;
static long now = 2000000000;

struct copy {
	struct umbra_id set;
	uLong sum; /* of all blocks */
};
static struct copy copies[COPIES];

#define ok(call) cr_assert_eq(call, 0, "%s", err.text)

/* --- requests --- */

static struct umbra_coordinator *call(void)
{
	struct umbra_coordinator *c;

	ok(umbra_coordinator_connect(state, &c, &err));
	return c;
}

static int create(struct umbra_id *set)
{
	_cleanup_coordinator_ struct umbra_coordinator *c = NULL;
	struct umbra_create_request request = {.paths = &vol, .n_paths = 1, .wait_s = 20};
	_cleanup_json_ json_t *warnings = NULL;
	char text[32];

	snprintf(text, sizeof(text), "%ld", ++now);
	setenv("UMBRA_TEST_NOW", text, 1);
	c = call();
	return umbra_coordinator_create(c, &request, NULL, set, &warnings, &err);
}

static int delete_set(const struct umbra_id *set)
{
	_cleanup_coordinator_ struct umbra_coordinator *c = call();
	_cleanup_json_ json_t *warnings = NULL;

	return umbra_coordinator_delete(c, set, 1, 20, NULL, &warnings, &err);
}

static void add_area(void)
{
	_cleanup_coordinator_ struct umbra_coordinator *c = call();
	struct umbra_storage_call add = {.verb = "add", .path = vol, .place = lab_path("area.dev")};
	_cleanup_json_ json_t *areas = NULL, *warnings = NULL;

	ok(umbra_coordinator_storage(c, &add, NULL, &areas, &warnings, &err));
}

/* What is wrong, when all that can be was put right. */
static size_t problems(void)
{
	_cleanup_coordinator_ struct umbra_coordinator *c = call();
	_cleanup_json_ json_t *report = NULL;

	ok(umbra_coordinator_check(c, false, 20, NULL, &report, &err));
	return json_array_size(json_object_get(report, "problems"));
}

/* --- copies --- */

static uLong sum_of(dev_t dev)
{
	_cleanup_close_ int fd = umbra_dm_open(dev, O_RDONLY | O_DIRECT, &err);
	uLong sum = crc32(0, NULL, 0);
	int i;

	cr_assert_geq(fd, 0, "%s", err.text);
	for (i = 0; i < MIB; i++) {
		cr_assert_eq(pread(fd, piece, PIECE, (off_t)i * PIECE), PIECE);
		sum = crc32(sum, piece, PIECE);
	}
	return sum;
}

static uLong sum_of_set(const struct umbra_id *id)
{
	_cleanup_engine_ struct umbra_engine *e = NULL;
	_cleanup_set_ struct umbra_set *set = NULL;
	_cleanup_protected_ struct umbra_protected *p = NULL;
	dev_t view;

	ok(umbra_engine_open(state, UMBRA_CATALOG_READ, &e, &err));
	ok(umbra_catalog_load_one(umbra_engine_catalog(e), id->s, &set, &err));
	ok(umbra_dm_find(umbra_engine_state_fd(e), set->shadows[0], &p, &err));
	ok(umbra_view_device_make(p, &set->shadows[0]->id, &view, &err));
	return sum_of(view);
}

/* Sets that there are, but those of the list; the last of them. */
static size_t other_sets(struct umbra_id *last)
{
	_cleanup_engine_ struct umbra_engine *e = NULL;
	_cleanup_set_list_ struct umbra_set_list list = {0};

	ok(umbra_engine_open(state, UMBRA_CATALOG_READ, &e, &err));
	ok(umbra_catalog_load(umbra_engine_catalog(e), UMBRA_LOAD_BRIEF, &list, &err));
	cr_assert_geq(list.n, COPIES);
	*last = list.sets[list.n - 1]->id;
	return list.n - COPIES;
}

static void scribble(void)
{
	lab_run("dd if=/dev/urandom of=vol/file bs=4k count=40 seek=%d conv=notrunc,fsync",
		(int)(now % 50));
}

/* --- who is there --- */

static bool is_called(pid_t pid, const char *name)
{
	_cleanup_free_ char *path = umbra_asprintf("/proc/%d/comm", (int)pid);
	_cleanup_free_ char *text = NULL;

	return umbra_read_file(AT_FDCWD, path, 100, &text, NULL) == 0 &&
	       strncmp(text, name, strlen(name)) == 0 && text[strlen(name)] == '\n';
}

static bool is_of_umbrad(pid_t pid)
{
	return is_called(pid, "umbrad") || is_called(pid, "umbra-standby") ||
	       is_called(pid, "umbra-forget");
}

static bool nobody(pid_t pid)
{
	(void)pid;
	return false;
}

static pid_t child_of(pid_t parent, bool (*is_it)(pid_t pid))
{
	_cleanup_free_ char *path =
		umbra_asprintf("/proc/%d/task/%d/children", (int)parent, (int)parent);
	_cleanup_fclose_ FILE *f = fopen(path, "re");
	int pid;

	while (f && fscanf(f, "%d", &pid) == 1)
		if (is_it(pid))
			return pid;
	return 0;
}

/* 'T': stopped, 'Z': dead and not waited for; 0: not there. */
static char state_of(pid_t pid)
{
	_cleanup_free_ char *path = umbra_asprintf("/proc/%d/stat", (int)pid);
	_cleanup_free_ char *text = NULL;
	char *name;

	if (umbra_read_file(AT_FDCWD, path, 1000, &text, NULL) < 0)
		return 0;
	name = strrchr(text, ')');
	return (char)(name && name[1] == ' ' ? name[2] : 0);
}

static bool is_stopped(pid_t pid)
{
	return state_of(pid) == 'T';
}

static bool is_umbrad(pid_t pid)
{
	return is_called(pid, "umbrad") && state_of(pid) != 'Z';
}

/* --- set up --- */

static void begin(void)
{
	size_t i;

	dm_lab_begin();
	children_adopt();
	unsetenv("UMBRA_TEST_FAULT");
	setenv("UMBRA_TEST_HELD", lab_path("held"), 1);
	setenv("UMBRA_TEST_HOLD_MS", "1500", 1);
	piece = mmap(NULL, PIECE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	state = lab_path("state");
	vol = lab_path("vol");
	dm_lab_linear("lab-v", MIB);
	dm_lab_mount("lab-v", "ext4", "vol");
	dm_lab_disk("area", 64);
	add_area();
	for (i = 0; i < COPIES; i++) {
		scribble();
		ok(create(&copies[i].set));
		copies[i].sum = sum_of_set(&copies[i].set);
	}
}

static void end(void)
{
	while (children_end(nobody) > 0)
		;
	dm_lab_end();
}

TestSuite(pairs, .init = begin, .fini = end, .timeout = 1200);

/* --- one after the other --- */

enum whom { NOBODY, GUARD_KILLED, GUARD_STOPPED, UMBRAD_KILLED, UMBRAD_STOPPED, WHOM };

static const char *const guard_faults[WHOM] = {"", ",guard.watching:kill", ",guard.watching:stop",
					       "", ""};

static void signal_umbrad(enum whom whom)
{
	pid_t pid = child_of(getpid(), is_umbrad);

	if (pid > 0 && whom == UMBRAD_KILLED)
		kill(pid, SIGKILL);
	if (pid > 0 && whom == UMBRAD_STOPPED)
		kill(pid, SIGSTOP);
}

static bool is_free(int limit_ms)
{
	for (; limit_ms > 0 && !dm_lab_flows(NULL); limit_ms -= 10)
		usleep(10000);
	return dm_lab_flows(NULL);
}

/* A requester of its own, until it has ended, or its coordinator has stopped, or both guards are at
 * it. */
static pid_t start(const char *faults, const struct umbra_id *victim)
{
	struct umbra_id set;
	pid_t pid = fork();
	int ms;

	if (pid == 0) {
		setenv("UMBRA_TEST_FAULT", faults, 1);
		_exit((victim ? delete_set(victim) : create(&set)) == 0 ? 0 : 1);
	}
	now++; /* the child's */
	for (ms = 0; ms < LIMIT_MS; ms += 5) {
		if (child_of(pid, is_stopped) > 0)
			return pid;
		if (waitpid(pid, NULL, WNOHANG) == pid)
			return 0;
		usleep(5000);
	}
	cr_assert_fail("%s: neither ended nor stopped", faults);
	return pid;
}

static void end_requester(pid_t pid)
{
	pid_t coordinator = child_of(pid, is_stopped);

	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	if (coordinator > 0)
		kill(coordinator, SIGKILL);
	while (children_end(is_of_umbrad) > 0)
		;
}

static void all_exact(const char *after)
{
	size_t i;

	for (i = 0; i < COPIES; i++)
		cr_assert_eq(sum_of_set(&copies[i].set), copies[i].sum, "copy %zu after %s", i,
			     after);
}

/* The next start, which makes another copy. */
static void goes_on(const char *after)
{
	struct umbra_id set;

	cr_assert_eq(problems(), 0, "after %s", after);
	cr_assert_eq(create(&set), 0, "after %s: %s", after, err.text);
	all_exact(after);
	while (other_sets(&set) > 0)
		cr_assert_eq(delete_set(&set), 0, "after %s: %s", after, err.text);
}

static void survive(const char *point, const char *how, enum whom whom, bool deleting)
{
	static const char *const names[WHOM] = {"", " + guard killed", " + guard stopped",
						" + umbrad killed", " + umbrad stopped"};
	_cleanup_free_ char *faults = umbra_asprintf("%s:%s%s", point, how, guard_faults[whom]);
	_cleanup_free_ char *what = umbra_asprintf("%s:%s%s", point, how, names[whom]);
	struct umbra_id victim;
	pid_t pid;

	scribble();
	if (deleting)
		ok(create(&victim));
	pid = start(faults, deleting ? &victim : NULL);
	signal_umbrad(whom);
	cr_assert(is_free(HOLD_MS + 2000), "%s: suspended", what);
	cr_assert(dm_lab_works("vol", LIMIT_MS - HOLD_MS - 2000), "%s: does not work", what);
	if (pid > 0)
		end_requester(pid);
	goes_on(what);
}

static bool soak(void)
{
	return getenv("UMBRA_SOAK") != NULL;
}

static void at_each(char points[][POINT_MAX], size_t n, bool deleting)
{
	static const char *const how[] = {"kill", "stop"};
	size_t i, k, w;

	for (i = 0; i < n; i++)
		for (k = 0; k < UMBRA_ARRAY_SIZE(how); k++)
			for (w = 0; w < WHOM; w++)
				if (soak() || (i % 2 == k && i % WHOM == w))
					survive(points[i], how[k], (enum whom)w, deleting);
}

Test(pairs, a_creation)
{
	char points[40][POINT_MAX];
	size_t n = fault_points("create.", points, UMBRA_ARRAY_SIZE(points));

	cr_assert_geq(n, 10);
	at_each(points, n, false);
}

Test(pairs, the_provider_within_a_creation)
{
	char points[][POINT_MAX] = {"dm.recorded", "dm.loaded", "dm.unlocked", "dm.kept",
				    "dm.store-out"};

	at_each(points, UMBRA_ARRAY_SIZE(points), false);
}

Test(pairs, a_deletion)
{
	char points[40][POINT_MAX];
	size_t n = fault_points("delete.", points, UMBRA_ARRAY_SIZE(points) - 2);

	strcpy(points[n++], "set.forgotten");
	strcpy(points[n++], "dm.removed");
	cr_assert_geq(n, 5);
	at_each(points, n, true);
}

/* While the coordinator goes on. */
Test(pairs, umbrad_and_a_guard)
{
	static const enum whom whom[] = {UMBRAD_KILLED, UMBRAD_STOPPED};
	static const char *const guard[] = {"guard.watching:kill", "guard.watching:stop",
					    "second.watching:kill", "second.watching:stop"};
	struct umbra_id set;
	size_t i, k;

	for (i = 0; i < UMBRA_ARRAY_SIZE(guard); i++) {
		for (k = 0; k < UMBRA_ARRAY_SIZE(whom); k++) {
			if (!soak() && i % 2 != k)
				continue;
			scribble();
			signal_umbrad(whom[k]);
			setenv("UMBRA_TEST_FAULT", guard[i], 1);
			create(&set); /* made or not */
			unsetenv("UMBRA_TEST_FAULT");
			cr_assert(is_free(HOLD_MS + 2000), "%s", guard[i]);
			cr_assert(dm_lab_works("vol", LIMIT_MS), "%s", guard[i]);
			while (children_end(is_of_umbrad) > 0)
				;
			goes_on(guard[i]);
		}
	}
}
