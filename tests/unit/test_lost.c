/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What umbrad does about copies that are lost, or had to be given up. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/util.h"
#include "coordinator_rig.h"
#include "daemon/lost.h"
#include "snapshot/engine.h"

static char lock[80];

static void setup(void)
{
	rig_begin();
	snprintf(lock, sizeof(lock), "%s/lock", place);
}

TestSuite(lost, .init = setup, .fini = place_end, .timeout = 60);

/* The only set. NULL: there is none. */
static struct umbra_set *load(void)
{
	_cleanup_engine_ struct umbra_engine *e = NULL;
	_cleanup_set_list_ struct umbra_set_list list = {0};

	cr_assert_eq(umbra_engine_open(rig_state, UMBRA_CATALOG_READ, &e, NULL), 0);
	cr_assert_eq(umbra_engine_sets(e, UMBRA_LOAD_FULL, &list, NULL), 0);
	cr_assert_leq(list.n, 1);
	if (list.n == 0)
		return NULL;
	list.n = 0;
	return TAKE_PTR(list.sets[0]);
}

static struct umbra_set *create(void)
{
	struct umbra_error err = {0};
	struct umbra_id id;

	cr_assert_eq(rig_create(&id, &err), 0, "%s", err.text);
	return load();
}

/* From now on the provider is asked what became of its copies. */
static struct umbra_lost *begin(void)
{
	setenv(FAKE_STORAGE, "1", 1);
	return umbra_lost_new(rig_state);
}

static char *path_in(const struct umbra_shadow *shadow, const char *name)
{
	return umbra_asprintf("%s/fake/%s/%s", rig_state, shadow->id.s, name);
}

static void write_file(const char *path, const char *text)
{
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	cr_assert_eq(umbra_write_all(fd, text, strlen(text)), 0);
}

static void give_up(const struct umbra_shadow *shadow)
{
	static const char *const names[] = {"data", "shadow.json", ""};
	size_t i;

	for (i = 0; i < UMBRA_ARRAY_SIZE(names); i++) {
		_cleanup_free_ char *path = path_in(shadow, names[i]);

		cr_assert_eq(remove(path), 0);
	}
}

static void lose(const struct umbra_shadow *shadow, const char *why)
{
	_cleanup_free_ char *path = path_in(shadow, "lost");

	write_file(path, why);
}

static void settle(struct umbra_lost *l)
{
	int ms;

	for (ms = 0; ms < 20000 && umbra_lost_settle(l); ms += 10)
		usleep(10000);
	cr_assert_lt(ms, 20000);
}

static bool is_there(void)
{
	_cleanup_set_ struct umbra_set *set = load();

	return set != NULL;
}

/* Copies of several volumes are seldom given up at once. */
Test(lost, a_set_goes_with_the_last_of_its_copies)
{
	_cleanup_set_ struct umbra_set *set = create(), *left = NULL;
	struct umbra_lost *l = begin();

	give_up(set->shadows[0]);
	settle(l);
	left = load();
	cr_assert_str_eq(left->shadows[0]->why, "given up");
	cr_assert_eq(left->shadows[1]->condition, UMBRA_CONDITION_GOOD);
	give_up(set->shadows[1]);
	umbra_lost_notice(l);
	settle(l);
	cr_assert(!is_there());
	umbra_lost_free(l);
}

/* Nothing but what the provider has says so: the umbrad that found it out may be dead. */
Test(lost, a_new_umbrad_finds_out_what_the_last_one_did_not_come_to)
{
	_cleanup_set_ struct umbra_set *set = create(), *lost = NULL;
	struct umbra_lost *l = umbra_lost_free(begin());

	lose(set->shadows[0], "a test");
	lose(set->shadows[1], "another one");
	l = begin();
	settle(l);
	lost = load();
	cr_assert_str_eq(lost->shadows[0]->why, "a test");
	cr_assert_str_eq(lost->shadows[1]->why, "another one");
	cr_assert_eq(umbra_set_condition(lost), UMBRA_CONDITION_LOST);
	umbra_lost_free(l);
}

/* A volume may be there again. */
Test(lost, what_is_there_again_is_lost_no_more)
{
	_cleanup_set_ struct umbra_set *set = create(), *again = NULL;
	_cleanup_free_ char *path = path_in(set->shadows[0], "lost");
	struct umbra_lost *l = begin();

	lose(set->shadows[0], "a test");
	settle(l);
	cr_assert_eq(unlink(path), 0);
	umbra_lost_notice(l);
	settle(l);
	again = load();
	cr_assert_eq(again->shadows[0]->condition, UMBRA_CONDITION_GOOD);
	umbra_lost_free(l);
}

Test(lost, what_the_provider_cannot_tell_now_is_asked_again)
{
	_cleanup_set_ struct umbra_set *set = create(), *lost = NULL;
	_cleanup_free_ char *path = umbra_asprintf("%s/unsure", rig_state);
	struct umbra_lost *l = begin();
	int ms;

	write_file(path, "");
	lose(set->shadows[0], "a test");
	for (ms = 0; ms < 300; ms += 10) {
		cr_assert(umbra_lost_settle(l));
		usleep(10000);
	}
	unlink(path);
	settle(l);
	lost = load();
	cr_assert_str_eq(lost->shadows[0]->why, "a test");
	umbra_lost_free(l);
}

Test(lost, what_cannot_be_now_is_tried_again)
{
	_cleanup_set_ struct umbra_set *set = create();
	_cleanup_free_ char *path = umbra_asprintf("%s/lock", rig_state);
	struct umbra_lost *l = begin();
	int fd = open(path, O_RDWR | O_CLOEXEC), ms;

	cr_assert_eq(flock(fd, LOCK_EX), 0);
	give_up(set->shadows[0]);
	give_up(set->shadows[1]);
	for (ms = 0; ms < 300; ms += 10) {
		cr_assert(umbra_lost_settle(l));
		usleep(10000);
	}
	cr_assert(is_there());
	close(fd);
	settle(l);
	cr_assert(!is_there());
	umbra_lost_free(l);
}

/* How often the provider was asked. */
static off_t times_asked(void)
{
	_cleanup_free_ char *path = umbra_asprintf("%s/asked", rig_state);
	struct stat st;

	return stat(path, &st) == 0 ? st.st_size / (off_t)strlen("fates\n") : 0;
}

static void settle_for(struct umbra_lost *l, int ms)
{
	for (; ms > 0; ms -= 10) {
		cr_assert(umbra_lost_settle(l));
		usleep(10000);
	}
}

Test(lost, what_fails_again_and_again_is_tried_more_and_more_seldom)
{
	_cleanup_set_ struct umbra_set *set = create();
	_cleanup_free_ char *path = umbra_asprintf("%s/unsure", rig_state);
	struct umbra_lost *l = begin();
	off_t before = times_asked(), then;

	cr_assert_not_null(set);
	write_file(path, "");
	settle_for(l, 4000);
	then = times_asked() - before;
	cr_assert(then >= 2 && then <= 4, "%jd", (intmax_t)then);
	umbra_lost_notice(l);
	settle_for(l, 1000);
	cr_assert_gt(times_asked() - before, then, "there is something new");
	umbra_lost_free(l);
}

/* Who deletes may wait for the volume that umbrad is to look after meanwhile. */
Test(lost, umbrad_waits_for_nobody_and_leaves_its_lock_to_nobody)
{
	_cleanup_set_ struct umbra_set *set = create();
	int mine = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600), next, ms;
	struct umbra_lost *l = begin();
	int64_t begun = umbra_now_us();

	cr_assert_eq(flock(mine, LOCK_EX), 0);
	fake_plan.dawdle = FAKE_REMOVE;
	fake_plan.only = "/a";
	give_up(set->shadows[0]);
	give_up(set->shadows[1]);
	cr_assert(umbra_lost_settle(l));
	cr_assert_lt(umbra_now_us() - begun, 1000000);
	close(mine);
	next = open(lock, O_RDWR | O_CLOEXEC);
	for (ms = 0; ms < 2000 && flock(next, LOCK_EX | LOCK_NB) < 0; ms += 10)
		usleep(10000);
	cr_assert_lt(ms, 2000);
	cr_assert(umbra_lost_settle(l), "is at it still");
	settle(l);
	cr_assert(!is_there());
	close(next);
	umbra_lost_free(l);
}

/* Deleted, it is nothing that anybody has to be told of. */
Test(lost, what_is_deleted_leaves_no_note)
{
	_cleanup_set_ struct umbra_set *set = create();
	_cleanup_free_ char *path = umbra_asprintf("%s/conditions", rig_state);
	struct umbra_lost *l = begin();

	lose(set->shadows[0], "a test");
	settle(l);
	cr_assert_eq(access(path, F_OK), 0);
	cr_assert_eq(rig_delete(&set->id, NULL), 0);
	cr_assert_eq(access(path, F_OK), -1);
	umbra_lost_free(l);
}
