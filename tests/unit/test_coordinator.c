/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The coordinator over its real socket and child process, with a provider that can be broken. */
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/util.h"
#include "coordinator/client.h"
#include "coordinator/plan.h"
#include "fake_provider.h"
#include "place.h"
#include "points.h"
#include "snapshot/document.h"
#include "snapshot/engine.h"

static char state[80], vol_a[96], vol_b[80];

static void setup(void)
{
	place_begin();
	snprintf(state, sizeof(state), "%s/state", place);
	snprintf(vol_a, sizeof(vol_a), "%s/a", place);
	snprintf(vol_b, sizeof(vol_b), "%s/b", place);
	cr_assert_eq(mkdir(vol_a, 0755) | mkdir(vol_b, 0755), 0);
	fake_plan = (struct fake_plan){0};
}

TestSuite(coordinator, .init = setup, .fini = place_end, .timeout = 60);
TestSuite(above, .init = place_begin, .fini = place_end, .timeout = 60);

static int create_with(struct umbra_observer *o, int wait_s, struct umbra_id *id,
		       struct umbra_error *err)
{
	_cleanup_coordinator_ struct umbra_coordinator *c = NULL;
	const char *paths[] = {vol_b, vol_a};
	struct umbra_create_request request = {
		.paths = paths, .n_paths = 2, .comment = "why", .wait_s = wait_s};
	json_t *warnings = NULL;
	int r = umbra_coordinator_connect(state, &c, err);

	cr_assert_eq(r, 0);
	r = umbra_coordinator_create(c, &request, o, id, &warnings, err);
	json_decref(warnings);
	return r;
}

static int create(struct umbra_id *id, struct umbra_error *err)
{
	return create_with(NULL, 0, id, err);
}

static int delete (const struct umbra_id *id, struct umbra_error *err)
{
	_cleanup_coordinator_ struct umbra_coordinator *c = NULL;
	json_t *warnings = NULL;
	int r = umbra_coordinator_connect(state, &c, err);

	cr_assert_eq(r, 0);
	r = umbra_coordinator_delete(c, id, 1, 0, NULL, &warnings, err);
	json_decref(warnings);
	return r;
}

/* Problems that check finds; -1: it failed. */
static int check(bool rebuild, struct umbra_error *err)
{
	_cleanup_coordinator_ struct umbra_coordinator *c = NULL;
	_cleanup_json_ json_t *report = NULL;

	cr_assert_eq(umbra_coordinator_connect(state, &c, err), 0);
	if (umbra_coordinator_check(c, rebuild, 0, NULL, &report, err) < 0)
		return -1;
	return (int)json_array_size(json_object_get(report, "problems"));
}

static size_t entries(const char *name)
{
	_cleanup_free_ char *path = umbra_asprintf("%s/%s", state, name);
	_cleanup_dir_ DIR *dir = opendir(path);
	struct dirent *d;
	size_t n = 0;

	while (dir && (d = readdir(dir)))
		n += d->d_name[0] != '.';
	return n;
}

static size_t count_sets(void)
{
	_cleanup_engine_ struct umbra_engine *e = NULL;
	_cleanup_set_list_ struct umbra_set_list list = {0};

	cr_assert_eq(umbra_engine_open(state, UMBRA_CATALOG_READ, &e, NULL), 0);
	cr_assert_eq(umbra_catalog_load(umbra_engine_catalog(e), UMBRA_LOAD_FULL, &list, NULL), 0);
	return list.n;
}

static char *calls(void)
{
	char *text = NULL;
	int fd = open(state, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	cr_assert_eq(umbra_read_file(fd, "calls", 1 << 20, &text, NULL), 0);
	close(fd);
	return text;
}

static struct umbra_set *load(const struct umbra_id *id)
{
	_cleanup_engine_ struct umbra_engine *e = NULL;
	struct umbra_set *set = NULL;

	cr_assert_eq(umbra_engine_open(state, UMBRA_CATALOG_READ, &e, NULL), 0);
	cr_assert_eq(umbra_catalog_load_one(umbra_engine_catalog(e), id->s, &set, NULL), 0);
	return set;
}

Test(coordinator, runs_the_steps_in_order)
{
	_cleanup_set_ struct umbra_set *set = NULL;
	_cleanup_free_ char *text = NULL;
	struct umbra_error err = {0};
	struct umbra_id id;

	cr_assert_eq(create(&id, &err), 0, "%s", err.text);
	text = calls();
	cr_assert_str_eq(text, "prepare a\nprepare b\nhold a\nhold b\ncommit a\ncommit b\n"
			       "release b\nrelease a\nfinish a\nfinish b\n");
	set = load(&id);
	cr_assert_eq(set->state, UMBRA_SET_CREATED);
	cr_assert_eq(set->label, UMBRA_LABEL_CRASH);
	cr_assert_str_eq(set->comment, "why");
	cr_assert_eq(set->n_shadows, 2);
	cr_assert_eq(set->n_steps, 5);
	cr_assert_str_eq(set->steps[3].name, "instant");
	cr_assert_gt(set->hold_us, 0);
	cr_assert_eq(set->skew_us, 0, "what is held together is of one instant");
	cr_assert_gt(set->shadows[0]->begin_us, 0);
	cr_assert_eq(set->shadows[1]->begin_us, set->shadows[0]->end_us);
	cr_assert_eq(set->shadows[0]->n_above, 3, "%zu", set->shadows[0]->n_above);
	cr_assert_eq(set->shadows[0]->above[1].mode, 01777);
}

Test(coordinator, a_failure_anywhere_undoes_the_whole_set)
{
	static const enum fake_call at[] = {FAKE_PREPARE, FAKE_HOLD, FAKE_COMMIT, FAKE_RELEASE,
					    FAKE_FINISH};
	static const char *const which[] = {"/a", "/b"};
	struct umbra_id id;

	for (size_t i = 0; i < UMBRA_ARRAY_SIZE(at); i++) {
		for (size_t k = 0; k < 2; k++) {
			struct umbra_error err = {0};

			fake_plan = (struct fake_plan){.fail = at[i], .only = which[k]};
			cr_assert_eq(create(&id, &err), -EIO);
			cr_assert(strstr(err.text, which[k]), "%s", err.text);
			cr_assert(strstr(err.text, "told to fail"), "%s", err.text);
			cr_assert_eq(count_sets(), 0, "call %d", at[i]);
			cr_assert_eq(entries("fake"), 0, "call %d", at[i]);
		}
	}
}

Test(coordinator, what_was_held_is_released_when_a_hold_fails)
{
	_cleanup_free_ char *text = NULL;
	struct umbra_error err = {0};
	struct umbra_id id;

	fake_plan = (struct fake_plan){.fail = FAKE_HOLD, .only = "/b"};
	cr_assert_eq(create(&id, &err), -EIO);
	text = calls();
	cr_assert(strstr(text, "hold a\nhold b\nrelease a\nabort b\nabort a\n"), "%s", text);
	cr_assert_null(strstr(text, "release b"));
}

/* Killed before and after every call of every volume: the next start leaves nothing. */
Test(coordinator, a_kill_anywhere_is_undone_by_the_next_start)
{
	static const enum fake_call at[] = {FAKE_PREPARE, FAKE_HOLD,   FAKE_COMMIT,
					    FAKE_RELEASE, FAKE_FINISH, FAKE_ABORT};
	static const char *const which[] = {"/a", "/b"};
	struct umbra_id id;

	for (size_t i = 0; i < UMBRA_ARRAY_SIZE(at) * 4; i++) {
		struct umbra_error err = {0};
		bool late = i & 1;

		fake_plan = (struct fake_plan){.only = which[i >> 1 & 1]};
		*(late ? &fake_plan.die_after : &fake_plan.die) = at[i / 4];
		if (at[i / 4] == FAKE_ABORT)
			fake_plan.fail = FAKE_FINISH;
		cr_assert_lt(create(&id, &err), 0);
		cr_assert(strstr(err.text, "killed by signal 9"), "%s", err.text);
		fake_plan = (struct fake_plan){0};
		cr_assert_eq(check(false, &err), 0, "%s", err.text);
		cr_assert_eq(count_sets(), 0);
		cr_assert_eq(entries("fake"), 0);
	}
}

static void break_at(const char *point, const char *how)
{
	_cleanup_free_ char *value = umbra_asprintf("%s:%s", point, how);

	setenv("UMBRA_TEST_FAULT", value, 1);
}

/* Every named point of a creation, first and second volume. */
Test(coordinator, a_kill_at_any_point_is_undone_by_the_next_start)
{
	static const char *const how[] = {"kill", "kill:2"};
	size_t n, i, created;
	struct umbra_id id;
	char points[40][POINT_MAX];

	n = fault_points("create.", points, UMBRA_ARRAY_SIZE(points));
	cr_assert_geq(n, 8);
	for (i = 0; i < n * 2; i++) {
		struct umbra_error err = {0};

		created = count_sets();
		break_at(points[i / 2], how[i & 1]);
		if (create(&id, &err) == 0) {
			cr_assert_eq(i & 1, 1, "%s is never passed", points[i / 2]);
			created++;
		}
		unsetenv("UMBRA_TEST_FAULT");
		if (strcmp(points[i / 2], "create.created") == 0 && !(i & 1))
			created++; /* it was */
		cr_assert_eq(check(false, &err), 0, "%s: %s", points[i / 2], err.text);
		cr_assert_eq(count_sets(), created, "%s", points[i / 2]);
		cr_assert_eq(entries("fake"), created * 2, "%s", points[i / 2]);
	}
}

Test(coordinator, a_failure_at_any_point_undoes_the_set)
{
	char points[40][POINT_MAX];
	struct umbra_id id;
	size_t n, i;

	n = fault_points("create.", points, UMBRA_ARRAY_SIZE(points));
	for (i = 0; i < n; i++) {
		struct umbra_error err = {0};

		if (strcmp(points[i], "create.created") == 0)
			continue; /* it exists */
		break_at(points[i], "fail");
		cr_assert_eq(create(&id, &err), -EIO, "%s", points[i]);
		cr_assert(strstr(err.text, points[i]), "%s", err.text);
		unsetenv("UMBRA_TEST_FAULT");
		cr_assert_eq(count_sets(), 0, "%s", points[i]);
		cr_assert_eq(entries("fake"), 0, "%s", points[i]);
	}
}

Test(coordinator, an_undoing_that_is_killed_goes_on)
{
	struct umbra_error err = {0};
	struct umbra_id id;

	for (int i = 0; i < 2; i++) {
		setenv("UMBRA_TEST_FAULT",
		       i ? "create.finished:fail,undo.aborted:kill:2"
			 : "create.finished:fail,undo.aborted:kill",
		       1);
		cr_assert_lt(create(&id, &err), 0);
		cr_assert(strstr(err.text, "killed by signal 9"), "%s", err.text);
		unsetenv("UMBRA_TEST_FAULT");
		cr_assert_eq(check(false, &err), 0, "%s", err.text);
		cr_assert_eq(count_sets(), 0);
		cr_assert_eq(entries("fake"), 0);
	}
}

Test(coordinator, a_deletion_killed_at_any_point_goes_on_or_never_began)
{
	char points[40][POINT_MAX];
	struct umbra_id id;
	size_t n, i;

	n = fault_points("delete.", points, UMBRA_ARRAY_SIZE(points));
	cr_assert_geq(n, 3);
	strcpy(points[n++], "set.forgotten");
	for (i = 0; i < n; i++) {
		struct umbra_error err = {0};

		cr_assert_eq(create(&id, &err), 0, "%s", err.text);
		break_at(points[i], "kill");
		cr_assert_lt(delete (&id, &err), 0, "%s", points[i]);
		unsetenv("UMBRA_TEST_FAULT");
		cr_assert_eq(check(false, &err), 0, "%s: %s", points[i], err.text);
		cr_assert_eq(count_sets(), 0, "%s", points[i]);
		cr_assert_eq(entries("fake"), 0, "%s", points[i]);
	}
}

Test(coordinator, a_leftover_that_cannot_be_removed_now_is_kept_for_later)
{
	struct umbra_error err = {0};
	struct umbra_id id;

	fake_plan = (struct fake_plan){.die = FAKE_COMMIT};
	cr_assert_lt(create(&id, &err), 0);
	fake_plan = (struct fake_plan){.fail = FAKE_ABORT};
	cr_assert_eq(check(false, &err), 1);
	cr_assert_eq(count_sets(), 1);
	cr_assert_eq(create(&id, &err), 0, "a leftover must not stand in the way");
	fake_plan = (struct fake_plan){0};
	cr_assert_eq(check(false, &err), 0);
	cr_assert_eq(count_sets(), 1);
	cr_assert_eq(entries("fake"), 2);
}

Test(coordinator, a_deletion_killed_half_way_goes_on)
{
	struct umbra_error err = {0};
	struct umbra_id id;

	cr_assert_eq(create(&id, &err), 0);
	fake_plan = (struct fake_plan){.die = FAKE_REMOVE, .only = "/b"};
	cr_assert_lt(delete (&id, &err), 0);
	cr_assert_eq(entries("fake"), 1);
	fake_plan = (struct fake_plan){0};
	cr_assert_eq(check(false, &err), 0);
	cr_assert_eq(entries("fake"), 0);
	cr_assert_eq(count_sets(), 0);
}

static int stop_soon(struct umbra_observer *o)
{
	static int looks;

	(void)o;
	return ++looks > 3;
}

Test(coordinator, the_requester_can_stop_it)
{
	struct umbra_observer o = {.stop = stop_soon};
	struct umbra_error err = {0};
	struct umbra_id id;

	fake_plan = (struct fake_plan){.dawdle = FAKE_COMMIT, .only = "/b"};
	cr_assert_eq(create_with(&o, 0, &id, &err), -ECANCELED);
	cr_assert_eq(err.code, UMBRA_E_INTERRUPTED);
	cr_assert_eq(entries("fake"), 0);
	cr_assert_eq(count_sets(), 0);
}

/* A requester in a process of its own. */
static pid_t start_create(void)
{
	pid_t pid = fork();
	struct umbra_error err = {0};
	struct umbra_id id;

	if (pid == 0)
		_exit(create(&id, &err) < 0);
	return pid;
}

static void wait_for_entries(size_t n)
{
	for (int i = 0; i < 500 && entries("fake") != n; i++)
		usleep(10000);
	cr_assert_eq(entries("fake"), n);
}

Test(coordinator, a_dead_requester_is_undone)
{
	pid_t pid;

	fake_plan = (struct fake_plan){.dawdle = FAKE_COMMIT, .only = "/b"};
	pid = start_create();
	wait_for_entries(2);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	wait_for_entries(0);
	for (int i = 0; i < 500 && count_sets() > 0; i++)
		usleep(10000);
	cr_assert_eq(count_sets(), 0);
}

Test(coordinator, two_creations_at_once)
{
	struct umbra_error err = {0};
	struct umbra_id id;
	int status;
	pid_t pid;

	fake_plan = (struct fake_plan){.dawdle = FAKE_FINISH, .only = "/a"};
	pid = start_create();
	wait_for_entries(2);
	fake_plan = (struct fake_plan){0};
	cr_assert_eq(create(&id, &err), -EBUSY);
	cr_assert_eq(err.code, UMBRA_E_BUSY);
	cr_assert(strstr(err.text, "--wait"), "%s", err.text);
	cr_assert_eq(create_with(NULL, 30, &id, &err), 0, "%s", err.text);
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert_eq(status, 0);
	cr_assert_eq(count_sets(), 2);
}

/* Which may be umbrad: nobody who runs unattended is to fail because of that. */
Test(coordinator, who_only_tidies_up_is_waited_for)
{
	_cleanup_free_ char *path = umbra_asprintf("%s/lock", state);
	struct umbra_error err = {0};
	struct umbra_id id;
	pid_t pid;
	int fd;

	cr_assert_eq(create(&id, &err), 0, "%s", err.text);
	fd = open(path, O_RDWR | O_CLOEXEC);
	cr_assert_eq(flock(fd, LOCK_EX), 0);
	pid = fork();
	if (pid == 0) {
		usleep(300000);
		_exit(0);
	}
	close(fd); /* the child has it */
	cr_assert_eq(create(&id, &err), 0, "%s", err.text);
	waitpid(pid, NULL, 0);
}

static void spoil_catalog(void)
{
	_cleanup_free_ char *path = umbra_asprintf("%s/%s", state, UMBRA_CATALOG_NAME);
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);
	char noise[4096];

	memset(noise, 0xa5, sizeof(noise));
	cr_assert_eq(pwrite(fd, noise, sizeof(noise), 0), (ssize_t)sizeof(noise));
}

Test(coordinator, a_spoiled_catalog_is_rebuilt_as_it_was)
{
	_cleanup_set_ struct umbra_set *was = NULL, *is = NULL;
	_cleanup_json_ json_t *was_doc = NULL, *is_doc = NULL;
	struct umbra_error err = {0};
	struct umbra_id first, id;

	cr_assert_eq(create(&first, &err), 0);
	cr_assert_eq(create(&id, &err), 0);
	was = load(&id);
	spoil_catalog();
	cr_assert_lt(create(&first, &err), 0);
	cr_assert_eq(err.code, UMBRA_E_DAMAGED);
	cr_assert_eq(check(false, &err), -1);
	cr_assert_eq(check(true, &err), 0, "%s", err.text);
	is = load(&id);
	cr_assert_eq(is->seq, was->seq);
	cr_assert_eq(is->shadows[0]->index, was->shadows[0]->index);
	/* The time of the last step is known only after the records were written. */
	for (size_t i = 0; i < 2; i++) {
		struct umbra_set *s = i ? is : was;

		while (s->n_steps > 0)
			free(s->steps[--s->n_steps].name);
	}
	was_doc = umbra_set_public(was, false);
	is_doc = umbra_set_public(is, false);
	cr_assert(json_equal(was_doc, is_doc), "%s\n%s", json_dumps(was_doc, 0),
		  json_dumps(is_doc, 0));
	cr_assert_eq(check(false, &err), 0);
	cr_assert_eq(count_sets(), 2);
}

Test(coordinator, a_set_of_which_a_copy_is_gone_is_a_problem)
{
	_cleanup_set_ struct umbra_set *set = NULL;
	_cleanup_free_ char *cmd = NULL;
	struct umbra_error err = {0};
	struct umbra_id id;

	cr_assert_eq(create(&id, &err), 0);
	set = load(&id);
	cmd = umbra_asprintf("rm -rf '%s/fake/%s'", state, set->shadows[0]->id.s);
	cr_assert_eq(system(cmd), 0);
	cr_assert_eq(check(false, &err), 1);
	cr_assert_eq(check(true, &err), 1);
	cr_assert_eq(count_sets(), 1);
}

Test(coordinator, a_clock_set_back_is_said_and_does_not_hurt)
{
	_cleanup_coordinator_ struct umbra_coordinator *c = NULL;
	_cleanup_engine_ struct umbra_engine *e = NULL;
	_cleanup_set_ struct umbra_set *latest = NULL;
	_cleanup_json_ json_t *warnings = NULL;
	struct umbra_error err = {0};
	const char *paths[] = {vol_a};
	struct umbra_create_request request = {.paths = paths, .n_paths = 1};
	struct umbra_id id;

	setenv("UMBRA_TEST_NOW", "2000000000", 1);
	cr_assert_eq(create(&id, &err), 0, "%s", err.text);
	setenv("UMBRA_TEST_NOW", "1900000000", 1);
	cr_assert_eq(umbra_coordinator_connect(state, &c, &err), 0);
	cr_assert_eq(umbra_coordinator_create(c, &request, NULL, &id, &warnings, &err), 0);
	cr_assert_eq(json_array_size(warnings), 1);
	cr_assert(strstr(json_string_value(json_array_get(warnings, 0)), "clock was set back"));
	cr_assert_eq(umbra_engine_open(state, UMBRA_CATALOG_READ, &e, NULL), 0);
	cr_assert_eq(umbra_engine_find_set(e, "latest", &latest, NULL), 0);
	cr_assert_str_eq(latest->id.s, id.s);
}

Test(coordinator, refuses_its_own_store)
{
	struct umbra_error err = {0};
	struct umbra_id id;

	cr_assert_eq(create(&id, &err), 0);
	snprintf(vol_a, sizeof(vol_a), "%s/state/fake", place);
	cr_assert_lt(create(&id, &err), 0);
	cr_assert(strstr(err.text, "own store"), "%s", err.text);
}

Test(coordinator, no_more_copies_than_vss_allows)
{
	_cleanup_catalog_ struct umbra_catalog *c = NULL;
	struct umbra_error err = {0};
	struct umbra_id id;

	cr_assert_eq(create(&id, &err), 0);
	cr_assert_eq(umbra_catalog_open(state, UMBRA_CATALOG_WRITE, &c, &err), 0);
	for (int i = 1; i < UMBRA_VOLUME_SHADOWS_MAX; i++) {
		_cleanup_set_ struct umbra_set *set = umbra_set_new();

		set->state = UMBRA_SET_CREATED;
		set->time = i;
		umbra_set_add_shadow(set, umbra_shadow_new(vol_a, "fake"));
		cr_assert_eq(umbra_catalog_add(c, set, &err), 0, "%s", err.text);
	}
	cr_assert_eq(create(&id, &err), -EDQUOT);
	cr_assert(strstr(err.text, "512"), "%s", err.text);
	cr_assert_eq(entries("fake"), 2);
}

static void sh(const char *fmt, const char *arg)
{
	_cleanup_free_ char *cmd = umbra_asprintf("%s '%s'", fmt, arg);

	cr_assert_eq(system(cmd), 0, "%s", cmd);
}

/* Deleting is what a person does when the disk is full. */
Test(coordinator, deleting_works_on_a_full_filesystem)
{
	_cleanup_free_ char *junk = umbra_asprintf("%s/junk", state);
	static char noise[1 << 16];
	struct umbra_error err = {0};
	struct umbra_id id;
	int fd, r;

	place_need_root("to mount a small filesystem");
	cr_assert_eq(mkdir(state, 0700), 0);
	sh("mount -t tmpfs -o size=4m,mode=700 umbra-test", state);
	r = create(&id, &err);
	fd = open(junk, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	while (write(fd, noise, sizeof(noise)) > 0)
		;
	while (write(fd, noise, 1) > 0)
		;
	close(fd);
	if (r == 0)
		r = delete (&id, &err);
	cr_expect_eq(entries("fake"), 0);
	cr_expect_eq(count_sets(), 0);
	sh("umount -l", state);
	cr_assert_eq(r, 0, "%s", err.text);
}

/* As many bytes of problems as no message could hold. */
Test(coordinator, a_long_answer_is_cut_not_lost)
{
	_cleanup_engine_ struct umbra_engine *e = NULL;
	struct umbra_error err = {0};
	char path[3000];

	memset(path, 'x', sizeof(path));
	path[0] = '/';
	path[sizeof(path) - 1] = '\0';
	cr_assert_eq(umbra_engine_open(state, UMBRA_CATALOG_WRITE, &e, NULL), 0);
	for (int i = 0; i < 150; i++) {
		_cleanup_set_ struct umbra_set *set = umbra_set_new();

		set->time = 1000 + i;
		set->state = UMBRA_SET_CREATED;
		cr_assert_eq(umbra_set_add_shadow(set, umbra_shadow_new(path, "fake")), 0);
		cr_assert_eq(umbra_catalog_add(umbra_engine_catalog(e), set, NULL), 0);
	}
	fake_plan.fail = FAKE_OPEN;
	cr_assert_gt(check(false, &err), 1, "%s", err.text);
}

/* Makes the catalog anew under the lock while somebody waits for it. */
static void replace_catalog_while_waited_for(void)
{
	_cleanup_free_ char *path = umbra_asprintf("%s/lock", state), *cmd = NULL;
	_cleanup_close_ int fd = open(path, O_RDWR | O_CLOEXEC);
	struct umbra_id id;
	pid_t waiter;
	int status;

	free(TAKE_PTR(path)); /* the child has no use for it */
	cr_assert_eq(flock(fd, LOCK_EX), 0);
	waiter = fork();
	if (waiter == 0) {
		close(fd); /* the lock is the descriptor's */
		_exit(create_with(NULL, 20, &id, NULL) == 0 ? 0 : 1);
	}
	usleep(500000);
	cmd = umbra_asprintf("cd '%s' && cp catalog.db new && ln catalog.db catalog.db.old && "
			     "mv new catalog.db",
			     state);
	cr_assert_eq(system(cmd), 0);
	fd = umbra_close(fd);
	cr_assert_eq(waitpid(waiter, &status, 0), waiter);
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

Test(coordinator, who_waited_for_a_rebuild_uses_the_new_catalog)
{
	struct umbra_error err = {0};
	struct umbra_id id;

	cr_assert_eq(create(&id, &err), 0, "%s", err.text);
	replace_catalog_while_waited_for();
	cr_assert_eq(count_sets(), 2);
	cr_assert_eq(check(false, &err), 0, "%s", err.text);
}

/* The record of an unfinished copy may be there or not: neither makes it a set. */
static void rebuild_after_death(enum fake_call before)
{
	struct umbra_error err = {0};
	struct umbra_id id;

	fake_plan = (struct fake_plan){.die = before, .only = "/b"};
	cr_assert_lt(create(&id, NULL), 0);
	fake_plan = (struct fake_plan){0};
	cr_assert_eq(check(true, &err), 0, "%s", err.text);
	cr_assert_eq(count_sets(), 0);
	cr_assert_eq(entries("fake"), 0);
}

Test(coordinator, a_rebuild_undoes_what_was_unfinished)
{
	rebuild_after_death(FAKE_PREPARE);
	rebuild_after_death(FAKE_COMMIT);
	rebuild_after_death(FAKE_FINISH);
}

Test(coordinator, a_rebuild_names_what_it_does_not_find)
{
	_cleanup_free_ char *cmd = umbra_asprintf("mv '%s/fake' '%s/away'", state, place);
	_cleanup_free_ char *back = umbra_asprintf("mv '%s/away' '%s/fake'", place, state);
	struct umbra_error err = {0};
	struct umbra_id id;

	cr_assert_eq(create(&id, &err), 0, "%s", err.text);
	cr_assert_eq(system(cmd), 0);
	cr_assert_eq(check(true, &err), 1, "%s", err.text);
	cr_assert_eq(count_sets(), 0);
	cr_assert_eq(system(back), 0);
	cr_assert_eq(check(true, &err), 0, "%s", err.text);
	cr_assert_eq(count_sets(), 1);
}

Test(coordinator, a_catalog_that_is_gone_or_empty_is_not_one_without_sets)
{
	_cleanup_free_ char *path = umbra_asprintf("%s/%s", state, UMBRA_CATALOG_NAME);
	struct umbra_error err = {0};
	struct umbra_id id;

	cr_assert_eq(create(&id, &err), 0);
	for (int i = 0; i < 2; i++) {
		cr_assert_eq(i ? truncate(path, 0) : unlink(path), 0);
		cr_assert_eq(create(&id, &err), -EUCLEAN);
		cr_assert(strstr(err.text, "check --rebuild"), "%s", err.text);
		cr_assert_eq(check(true, &err), 0, "%s", err.text);
		cr_assert_eq(count_sets(), 1);
	}
}

Test(coordinator, a_set_that_cannot_be_deleted_now_does_not_keep_the_others)
{
	_cleanup_coordinator_ struct umbra_coordinator *c = NULL;
	struct umbra_error err = {0};
	struct umbra_id ids[2];
	json_t *warnings = NULL;
	const char *only_b[] = {vol_b};
	struct umbra_create_request request = {.paths = only_b, .n_paths = 1};

	cr_assert_eq(create(&ids[0], &err), 0);
	cr_assert_eq(umbra_coordinator_connect(state, &c, &err), 0);
	cr_assert_eq(umbra_coordinator_create(c, &request, NULL, &ids[1], &warnings, &err), 0);
	json_decref(warnings);
	umbra_coordinator_close(c);
	fake_plan = (struct fake_plan){.fail = FAKE_REMOVE, .only = "/a"};
	cr_assert_eq(umbra_coordinator_connect(state, &c, &err), 0);
	cr_assert_eq(umbra_coordinator_delete(c, ids, 2, 0, NULL, &warnings, &err), -EIO);
	cr_assert(strstr(err.text, "1 of 2 sets could not be deleted now, and is out of sight"),
		  "%s", err.text);
	cr_assert_eq(count_sets(), 1);
	fake_plan = (struct fake_plan){0};
	cr_assert_eq(check(false, &err), 0);
	cr_assert_eq(count_sets(), 0);
	cr_assert_eq(entries("fake"), 0);
}

/* --- what lies above a volume --- */

/* ROOT/open/closed/vol: the volume and what protects it. */
static struct umbra_shadow *protected_volume(void)
{
	_cleanup_free_ char *cmd = umbra_asprintf(
		"cd '%s' && mkdir -p open/closed/vol && chmod 755 open && chmod 700 open/closed",
		place);
	_cleanup_free_ char *path = umbra_asprintf("%s/open/closed/vol", place);

	cr_assert_eq(system(cmd), 0);
	return umbra_shadow_new(path, "fake");
}

static mode_t mode_above(const struct umbra_shadow *shadow, size_t up)
{
	return shadow->above[shadow->n_above - up].mode;
}

Test(above, modes_are_those_of_the_directories_that_lead_to_what_is_opened)
{
	struct umbra_shadow *shadow = protected_volume();
	struct stat there, opened;
	const char *slash;
	size_t depth = 0;
	int fd;

	cr_assert_eq(umbra_plan_record_above(shadow, &fd, NULL), 0);
	for (slash = shadow->path; (slash = strchr(slash, '/')); slash++)
		depth++;
	cr_assert_eq(shadow->n_above, depth);
	cr_assert_eq(mode_above(shadow, 1), 0700);
	cr_assert_eq(mode_above(shadow, 2), 0755);
	cr_assert(stat(shadow->path, &there) == 0 && fstat(fd, &opened) == 0);
	cr_assert_eq(there.st_ino, opened.st_ino);
	close(fd);
	umbra_shadow_free(shadow);
}

Test(above, a_link_on_the_way_is_not_followed)
{
	struct umbra_shadow *shadow = protected_volume();
	_cleanup_free_ char *cmd = umbra_asprintf("cd '%s' && mkdir -p other/vol && mv open/closed "
						  "away && ln -s ../other open/closed",
						  place);
	struct umbra_error err = {0};
	int fd = -1;

	cr_assert_eq(system(cmd), 0);
	cr_assert_lt(umbra_plan_record_above(shadow, &fd, &err), 0);
	cr_assert_not_null(strstr(err.text, "open/closed/vol' at 'closed'"), "%s", err.text);
	cr_assert_eq(fd, -1);
	umbra_shadow_free(shadow);
}

struct swaps {
	char *inner, *decoy;
	atomic_bool stop;
};

/* Whoever owns "open" puts an open directory where the closed one is, and takes it back. */
static void *swap_often(void *arg)
{
	struct swaps *s = arg;

	while (!s->stop) {
		renameat2(AT_FDCWD, s->inner, AT_FDCWD, s->decoy, RENAME_EXCHANGE);
		sched_yield();
	}
	return NULL;
}

Test(above, what_is_opened_lies_below_what_was_recorded_also_while_names_are_exchanged)
{
	struct umbra_shadow *shadow = protected_volume();
	struct swaps s = {.inner = umbra_asprintf("%s/open/closed", place),
			  .decoy = umbra_asprintf("%s/open/decoy", place)};
	_cleanup_free_ char *cmd =
		umbra_asprintf("mkdir -p '%s/vol' && chmod 755 '%s'", s.decoy, s.decoy);
	struct stat secret, opened;
	pthread_t thread;
	int i, fd;

	cr_assert_eq(system(cmd), 0);
	cr_assert_eq(stat(shadow->path, &secret), 0);
	cr_assert_eq(pthread_create(&thread, NULL, swap_often, &s), 0);
	for (i = 0; i < 2000; i++) {
		free(shadow->above);
		shadow->above = NULL;
		shadow->n_above = 0;
		cr_assert_eq(umbra_plan_record_above(shadow, &fd, NULL), 0);
		cr_assert_eq(fstat(fd, &opened), 0);
		cr_assert_eq(mode_above(shadow, 1), opened.st_ino == secret.st_ino ? 0700 : 0755);
		close(fd);
	}
	s.stop = true;
	pthread_join(thread, NULL);
	free(s.inner);
	free(s.decoy);
	umbra_shadow_free(shadow);
}

static void remove_catalog(void)
{
	_cleanup_free_ char *path = umbra_asprintf("%s/%s", state, UMBRA_CATALOG_NAME);
	_cleanup_free_ char *journal = umbra_asprintf("%s-journal", path);

	cr_assert_eq(unlink(path), 0);
	unlink(journal);
}

/* Of all sets. */
static size_t count_shadows(void)
{
	_cleanup_engine_ struct umbra_engine *e = NULL;
	_cleanup_set_list_ struct umbra_set_list list = {0};
	size_t i, n = 0;

	cr_assert_eq(umbra_engine_open(state, UMBRA_CATALOG_READ, &e, NULL), 0);
	cr_assert_eq(umbra_catalog_load(umbra_engine_catalog(e), UMBRA_LOAD_BRIEF, &list, NULL), 0);
	for (i = 0; i < list.n; i++)
		n += list.sets[i]->n_shadows;
	return n;
}

/* Killed at each point, and then the catalog is lost: nobody knows what was half-made. What has a
 * record stays, as it could be of use. */
Test(coordinator, a_leftover_that_no_catalog_knows_is_removed)
{
	static const char *const how[] = {"kill", "kill:2"};
	struct umbra_error err = {0};
	char points[40][POINT_MAX];
	struct umbra_id id;
	size_t n, i;

	n = fault_points("create.", points, UMBRA_ARRAY_SIZE(points));
	for (i = 0; i < n * 2; i++) {
		break_at(points[i / 2], how[i & 1]);
		create(&id, NULL);
		unsetenv("UMBRA_TEST_FAULT");
		remove_catalog();
		cr_assert_geq(check(true, &err), 0, "%s: %s", points[i / 2], err.text);
		cr_assert_eq(entries("fake"), count_shadows(), "%s", points[i / 2]);
	}
	cr_assert_leq(count_shadows(), 2 * 2 * n);
}

/* A directory in the store, as a killed process leaves it. */
static void make_leftover(const char *record)
{
	_cleanup_free_ char *cmd = umbra_asprintf(
		"mkdir -p '%s/fake/00000000-0000-4000-8000-000000000000' && cd '%s/fake/0'* && "
		": >data%s",
		state, state, record);

	cr_assert_eq(system(cmd), 0);
}

Test(coordinator, check_alone_names_a_leftover_and_removes_nothing)
{
	struct umbra_error err = {0};
	struct umbra_id id;

	cr_assert_eq(create(&id, &err), 0);
	make_leftover("");
	cr_assert_eq(check(false, &err), 1);
	cr_assert_eq(entries("fake"), 3);
	cr_assert_eq(check(true, &err), 0, "%s", err.text);
	cr_assert_eq(entries("fake"), 2);
	cr_assert_eq(check(false, &err), 0);
	cr_assert_eq(count_sets(), 1);
}

Test(coordinator, a_copy_with_a_damaged_record_is_named_and_kept)
{
	struct umbra_error err = {0};
	struct umbra_id id;

	cr_assert_eq(create(&id, &err), 0);
	make_leftover(" && echo '{' >shadow.json");
	cr_assert_eq(check(false, &err), 1);
	cr_assert_eq(check(true, &err), 1);
	cr_assert_eq(entries("fake"), 3);
}

/* It was finished once: it could still be of use to somebody. */
Test(coordinator, a_copy_that_lost_its_record_is_kept_while_the_catalog_knows_it)
{
	_cleanup_set_ struct umbra_set *set = NULL;
	_cleanup_free_ char *cmd = NULL;
	struct umbra_error err = {0};
	struct umbra_id id;

	cr_assert_eq(create(&id, &err), 0);
	set = load(&id);
	cmd = umbra_asprintf("rm '%s/fake/%s/shadow.json'", state, set->shadows[0]->id.s);
	cr_assert_eq(system(cmd), 0);
	cr_assert_eq(check(false, &err), 1);
	cr_assert_eq(check(true, &err), 2);
	cr_assert_eq(entries("fake"), 2);
}

Test(coordinator, a_leftover_that_cannot_be_removed_is_a_problem)
{
	struct umbra_error err = {0};
	struct umbra_id id;

	cr_assert_eq(create(&id, &err), 0);
	make_leftover("");
	fake_plan.fail = FAKE_DISCARD;
	cr_assert_eq(check(true, &err), 1);
	cr_assert_eq(count_sets(), 1);
	cr_assert_eq(entries("fake"), 3);
}

Test(coordinator, a_rebuild_gives_no_index_twice)
{
	_cleanup_set_ struct umbra_set *last = NULL, *next = NULL;
	struct umbra_error err = {0};
	struct umbra_id first, second, third;

	cr_assert_eq(create(&first, &err), 0);
	cr_assert_eq(create(&second, &err), 0);
	last = load(&second);
	cr_assert_eq(delete (&second, &err), 0);
	cr_assert_eq(check(true, &err), 0, "%s", err.text);
	cr_assert_eq(create(&third, &err), 0);
	next = load(&third);
	cr_assert_eq(next->shadows[0]->index, last->shadows[1]->index + 1);
}

Test(coordinator, a_rebuild_keeps_the_steps)
{
	_cleanup_set_ struct umbra_set *set = NULL;
	struct umbra_error err = {0};
	struct umbra_id id;

	cr_assert_eq(create(&id, &err), 0);
	cr_assert_eq(check(true, &err), 0);
	set = load(&id);
	cr_assert_eq(set->n_steps, 5);
}

/* What was to be deleted must not come back as a set, whole or half. */
Test(coordinator, a_rebuild_keeps_what_waits_to_be_deleted)
{
	_cleanup_set_ struct umbra_set *set = NULL;
	struct umbra_error err = {0};
	struct umbra_id id;

	cr_assert_eq(create(&id, &err), 0);
	fake_plan = (struct fake_plan){.fail = FAKE_REMOVE, .only = "/b"};
	cr_assert_lt(delete (&id, &err), 0);
	cr_assert_eq(check(true, &err), 1);
	set = load(&id);
	cr_assert_eq(set->state, UMBRA_SET_DELETING);
	fake_plan = (struct fake_plan){0};
	cr_assert_eq(check(false, &err), 0);
	cr_assert_eq(count_sets(), 0);
	cr_assert_eq(entries("fake"), 0);
}

/* As when the filesystem of one member is not mounted. */
Test(coordinator, a_rebuild_keeps_copies_that_are_out_of_reach)
{
	_cleanup_free_ char *away =
		umbra_asprintf("mkdir '%s/away' && mv '%s'/fake/* '%s/away'", place, state, place);
	_cleanup_free_ char *back = umbra_asprintf("mv '%s'/away/* '%s/fake'", place, state);
	_cleanup_set_ struct umbra_set *set = NULL;
	struct umbra_error err = {0};
	struct umbra_id id;

	cr_assert_eq(create(&id, &err), 0);
	cr_assert_eq(system(away), 0);
	fake_plan = (struct fake_plan){.fail = FAKE_OPEN, .errnum = ENODEV};
	cr_assert_eq(check(true, &err), 1, "%s", err.text);
	cr_assert_eq(count_sets(), 1);
	cr_assert_eq(system(back), 0);
	fake_plan = (struct fake_plan){0};
	cr_assert_eq(check(false, &err), 0);
	set = load(&id);
	cr_assert_eq(set->n_shadows, 2);
}

/* 0 or a negative errno; *left: how many sets are forgotten rather than deleted. */
static int forget(const struct umbra_id *id, size_t *left, struct umbra_error *err)
{
	_cleanup_coordinator_ struct umbra_coordinator *c = NULL;
	_cleanup_json_ json_t *warnings = NULL, *forgotten = NULL;
	int r = umbra_coordinator_connect(state, &c, err);

	cr_assert_eq(r, 0);
	r = umbra_coordinator_forget(c, id, 1, 0, NULL, &forgotten, &warnings, err);
	*left = json_array_size(forgotten);
	cr_assert(r < 0 || (json_array_size(warnings) > 0) == (*left > 0));
	return r;
}

Test(coordinator, only_what_cannot_be_deleted_is_forgotten)
{
	struct umbra_error err = {0};
	struct umbra_id id;
	size_t left;

	cr_assert_eq(create(&id, &err), 0);
	cr_assert_eq(forget(&id, &left, &err), -EINVAL);
	cr_assert(strstr(err.text, "was not deleted yet"), "%s", err.text);
	cr_assert_eq(count_sets(), 1);
	fake_plan = (struct fake_plan){.fail = FAKE_REMOVE, .errnum = ENODEV};
	cr_assert_lt(delete (&id, &err), 0);
	cr_assert(strstr(err.text, "umbra delete --forget @GMT-"), "%s", err.text);
	/* Frozen is not gone. */
	fake_plan.errnum = EBUSY;
	cr_assert_eq(forget(&id, &left, &err), -EBUSY);
	cr_assert_eq(count_sets(), 1);
	/* Back again: then it is simply deleted. */
	fake_plan = (struct fake_plan){0};
	cr_assert_eq(forget(&id, &left, &err), 0, "%s", err.text);
	cr_assert_eq(left, 0);
	cr_assert_eq(count_sets(), 0);
	cr_assert_eq(entries("fake"), 0);
	cr_assert_eq(entries("forgotten"), 0);
}

/* Both ways of losing sight of it; then its disk is found again. */
Test(coordinator, what_was_forgotten_does_not_come_back)
{
	struct umbra_error err = {0};
	struct umbra_id kept, id;
	size_t left;

	cr_assert_eq(create(&kept, &err), 0);
	for (int lost = 0; lost < 2; lost++) {
		cr_assert_eq(create(&id, &err), 0);
		fake_plan = (struct fake_plan){.fail = FAKE_REMOVE, .only = "/b", .errnum = ENODEV};
		cr_assert_lt(delete (&id, &err), 0);
		cr_assert_eq(forget(&id, &left, &err), 0, "%s", err.text);
		cr_assert_eq(left, 1);
		cr_assert_eq(count_sets(), 1);
		cr_assert_eq(entries("fake"), 3);
		fake_plan = (struct fake_plan){0};
		cr_assert_eq(check(false, &err), 1);
		if (lost)
			remove_catalog();
		cr_assert_eq(check(true, &err), 0, "%s", err.text);
		cr_assert_eq(count_sets(), 1);
		cr_assert_eq(entries("fake"), 2);
		cr_assert_eq(entries("forgotten"), 0);
	}
}

Test(coordinator, an_unfinished_set_can_be_forgotten)
{
	struct umbra_error err = {0};
	struct umbra_id id;
	size_t left;

	fake_plan = (struct fake_plan){.die = FAKE_COMMIT, .only = "/b"};
	cr_assert_lt(create(&id, NULL), 0);
	{
		_cleanup_catalog_ struct umbra_catalog *c = NULL;
		_cleanup_set_list_ struct umbra_set_list list = {0};

		cr_assert_eq(umbra_catalog_open(state, UMBRA_CATALOG_READ, &c, NULL), 0);
		cr_assert_eq(umbra_catalog_load_unfinished(c, &list, NULL), 0);
		cr_assert_eq(list.n, 1);
		id = list.sets[0]->id;
	}
	fake_plan = (struct fake_plan){.fail = FAKE_ABORT, .errnum = ENODEV};
	cr_assert_eq(forget(&id, &left, &err), 0, "%s", err.text);
	cr_assert_eq(left, 1);
	cr_assert_eq(count_sets(), 0);
	fake_plan = (struct fake_plan){0};
	cr_assert_eq(check(true, &err), 0);
	cr_assert_eq(entries("fake"), 0);
	cr_assert_eq(entries("forgotten"), 0);
}

/* In whatever state it is left, another one does the rest. */
Test(coordinator, a_rebuild_that_is_killed_is_done_again)
{
	struct umbra_error err = {0};
	char points[40][POINT_MAX];
	struct umbra_id id;
	size_t n, i;

	cr_assert_eq(create(&id, &err), 0);
	n = fault_points("rebuild.", points, UMBRA_ARRAY_SIZE(points));
	cr_assert_geq(n, 3);
	for (i = 0; i < n; i++) {
		make_leftover("");
		break_at(points[i], "kill");
		cr_assert_eq(check(true, &err), -1, "%s is never passed", points[i]);
		unsetenv("UMBRA_TEST_FAULT");
		cr_assert_eq(count_sets(), 1, "%s", points[i]);
		cr_assert_eq(check(true, &err), 0, "%s: %s", points[i], err.text);
		cr_assert_eq(count_sets(), 1, "%s", points[i]);
		cr_assert_eq(entries("fake"), 2, "%s", points[i]);
		cr_assert_eq(entries("rebuild"), 0, "%s", points[i]);
	}
}

/* Killed when it was noted and still in the catalog. */
Test(coordinator, a_forgetting_that_is_killed_is_a_deletion_still)
{
	struct umbra_error err = {0};
	struct umbra_id id;
	size_t left;

	cr_assert_eq(create(&id, &err), 0);
	fake_plan = (struct fake_plan){.fail = FAKE_REMOVE, .errnum = ENODEV};
	cr_assert_lt(delete (&id, &err), 0);
	break_at("forget.noted", "kill");
	cr_assert_lt(forget(&id, &left, &err), 0);
	unsetenv("UMBRA_TEST_FAULT");
	cr_assert_eq(count_sets(), 1);
	cr_assert_eq(entries("forgotten"), 1);
	fake_plan = (struct fake_plan){0};
	cr_assert_eq(check(false, &err), 0);
	cr_assert_eq(count_sets(), 0);
	cr_assert_eq(entries("fake"), 0);
	cr_assert_eq(entries("forgotten"), 0);
}
