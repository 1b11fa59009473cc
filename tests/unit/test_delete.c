/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Deleting and forgetting sets, with a provider that can be broken. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/util.h"
#include "coordinator_rig.h"
#include "points.h"
#include "snapshot/engine.h"

TestSuite(delete, .init = rig_begin, .fini = place_end, .timeout = 60);

Test(delete, a_deletion_killed_at_any_point_goes_on_or_never_began)
{
	char points[40][POINT_MAX];
	struct umbra_id id;
	size_t n, i;

	n = fault_points("delete.", points, UMBRA_ARRAY_SIZE(points));
	cr_assert_geq(n, 3);
	strcpy(points[n++], "set.forgotten");
	for (i = 0; i < n; i++) {
		struct umbra_error err = {0};

		cr_assert_eq(rig_create(&id, &err), 0, "%s", err.text);
		rig_break_at(points[i], "kill");
		cr_assert_lt(rig_delete(&id, &err), 0, "%s", points[i]);
		unsetenv("UMBRA_TEST_FAULT");
		cr_assert_eq(rig_check(false, &err), 0, "%s: %s", points[i], err.text);
		cr_assert_eq(rig_count_sets(), 0, "%s", points[i]);
		cr_assert_eq(rig_entries("fake"), 0, "%s", points[i]);
	}
}

Test(delete, a_deletion_killed_half_way_goes_on)
{
	struct umbra_error err = {0};
	struct umbra_id id;

	cr_assert_eq(rig_create(&id, &err), 0);
	fake_plan = (struct fake_plan){.die = FAKE_REMOVE, .only = "/b"};
	cr_assert_lt(rig_delete(&id, &err), 0);
	cr_assert_eq(rig_entries("fake"), 1);
	fake_plan = (struct fake_plan){0};
	cr_assert_eq(rig_check(false, &err), 0);
	cr_assert_eq(rig_entries("fake"), 0);
	cr_assert_eq(rig_count_sets(), 0);
}

Test(delete, a_set_that_cannot_be_deleted_now_does_not_keep_the_others)
{
	_cleanup_coordinator_ struct umbra_coordinator *c = NULL;
	struct umbra_error err = {0};
	struct umbra_id ids[2];
	json_t *warnings = NULL;
	const char *only_b[] = {rig_vol_b};
	struct umbra_create_request request = {.paths = only_b, .n_paths = 1};

	cr_assert_eq(rig_create(&ids[0], &err), 0);
	cr_assert_eq(umbra_coordinator_connect(rig_state, &c, &err), 0);
	cr_assert_eq(umbra_coordinator_create(c, &request, NULL, &ids[1], &warnings, &err), 0);
	json_decref(warnings);
	umbra_coordinator_close(c);
	fake_plan = (struct fake_plan){.fail = FAKE_REMOVE, .only = "/a"};
	cr_assert_eq(umbra_coordinator_connect(rig_state, &c, &err), 0);
	cr_assert_eq(umbra_coordinator_delete(c, ids, 2, 0, NULL, &warnings, &err), -EIO);
	cr_assert(strstr(err.text, "1 of 2 sets could not be deleted now, and is out of sight"),
		  "%s", err.text);
	cr_assert_eq(rig_count_sets(), 1);
	fake_plan = (struct fake_plan){0};
	cr_assert_eq(rig_check(false, &err), 0);
	cr_assert_eq(rig_count_sets(), 0);
	cr_assert_eq(rig_entries("fake"), 0);
}

Test(delete, a_set_that_went_meanwhile_does_not_keep_the_others)
{
	_cleanup_coordinator_ struct umbra_coordinator *c = NULL;
	struct umbra_error err = {0};
	struct umbra_id ids[2];
	json_t *warnings = NULL;

	cr_assert_eq(rig_create(&ids[0], &err), 0);
	cr_assert_eq(rig_create(&ids[1], &err), 0);
	cr_assert_eq(rig_delete(&ids[0], &err), 0);
	cr_assert_eq(umbra_coordinator_connect(rig_state, &c, &err), 0);
	cr_assert_eq(umbra_coordinator_delete(c, ids, 2, 0, NULL, &warnings, &err), 0, "%s",
		     err.text);
	json_decref(warnings);
	cr_assert_eq(rig_count_sets(), 0);
	cr_assert_eq(umbra_coordinator_delete(c, ids, 2, 0, NULL, &warnings, &err), -ENOENT);
}

static void sh(const char *fmt, const char *arg)
{
	_cleanup_free_ char *cmd = umbra_asprintf("%s '%s'", fmt, arg);

	cr_assert_eq(system(cmd), 0, "%s", cmd);
}

/* Deleting is what a person does when the disk is full. */
Test(delete, deleting_works_on_a_full_filesystem)
{
	_cleanup_free_ char *junk = umbra_asprintf("%s/junk", rig_state);
	static char noise[1 << 16];
	struct umbra_error err = {0};
	struct umbra_id id;
	int fd, r;

	place_need_root("to mount a small filesystem");
	cr_assert_eq(mkdir(rig_state, 0700), 0);
	sh("mount -t tmpfs -o size=4m,mode=700 umbra-test", rig_state);
	r = rig_create(&id, &err);
	fd = open(junk, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	while (write(fd, noise, sizeof(noise)) > 0)
		;
	while (write(fd, noise, 1) > 0)
		;
	close(fd);
	if (r == 0)
		r = rig_delete(&id, &err);
	cr_expect_eq(rig_entries("fake"), 0);
	cr_expect_eq(rig_count_sets(), 0);
	sh("umount -l", rig_state);
	cr_assert_eq(r, 0, "%s", err.text);
}

/* 0 or a negative errno; *left: how many sets are forgotten rather than deleted. */
static int forget(const struct umbra_id *id, size_t *left, struct umbra_error *err)
{
	_cleanup_coordinator_ struct umbra_coordinator *c = NULL;
	_cleanup_json_ json_t *warnings = NULL, *forgotten = NULL;
	int r = umbra_coordinator_connect(rig_state, &c, err);

	cr_assert_eq(r, 0);
	r = umbra_coordinator_forget(c, id, 1, 0, NULL, &forgotten, &warnings, err);
	*left = json_array_size(forgotten);
	cr_assert(r < 0 || (json_array_size(warnings) > 0) == (*left > 0));
	return r;
}

Test(delete, only_what_cannot_be_deleted_is_forgotten)
{
	struct umbra_error err = {0};
	struct umbra_id id;
	size_t left;

	cr_assert_eq(rig_create(&id, &err), 0);
	cr_assert_eq(forget(&id, &left, &err), -EINVAL);
	cr_assert(strstr(err.text, "was not deleted yet"), "%s", err.text);
	cr_assert_eq(rig_count_sets(), 1);
	fake_plan = (struct fake_plan){.fail = FAKE_REMOVE, .errnum = ENODEV};
	cr_assert_lt(rig_delete(&id, &err), 0);
	cr_assert(strstr(err.text, "umbra delete --forget @GMT-"), "%s", err.text);
	/* Frozen is not gone. */
	fake_plan.errnum = EBUSY;
	cr_assert_eq(forget(&id, &left, &err), -EBUSY);
	cr_assert_eq(rig_count_sets(), 1);
	/* Back again: then it is simply deleted. */
	fake_plan = (struct fake_plan){0};
	cr_assert_eq(forget(&id, &left, &err), 0, "%s", err.text);
	cr_assert_eq(left, 0);
	cr_assert_eq(rig_count_sets(), 0);
	cr_assert_eq(rig_entries("fake"), 0);
	cr_assert_eq(rig_entries("forgotten"), 0);
}

/* Both ways of losing sight of it; then its disk is found again. */
Test(delete, what_was_forgotten_does_not_come_back)
{
	struct umbra_error err = {0};
	struct umbra_id kept, id;
	size_t left;

	cr_assert_eq(rig_create(&kept, &err), 0);
	for (int lost = 0; lost < 2; lost++) {
		cr_assert_eq(rig_create(&id, &err), 0);
		fake_plan = (struct fake_plan){.fail = FAKE_REMOVE, .only = "/b", .errnum = ENODEV};
		cr_assert_lt(rig_delete(&id, &err), 0);
		cr_assert_eq(forget(&id, &left, &err), 0, "%s", err.text);
		cr_assert_eq(left, 1);
		cr_assert_eq(rig_count_sets(), 1);
		cr_assert_eq(rig_entries("fake"), 3);
		fake_plan = (struct fake_plan){0};
		cr_assert_eq(rig_check(false, &err), 1);
		if (lost)
			rig_remove_catalog();
		cr_assert_eq(rig_check(true, &err), 0, "%s", err.text);
		cr_assert_eq(rig_count_sets(), 1);
		cr_assert_eq(rig_entries("fake"), 2);
		cr_assert_eq(rig_entries("forgotten"), 0);
	}
}

Test(delete, an_unfinished_set_can_be_forgotten)
{
	struct umbra_error err = {0};
	struct umbra_id id;
	size_t left;

	fake_plan = (struct fake_plan){.die = FAKE_COMMIT, .only = "/b"};
	cr_assert_lt(rig_create(&id, NULL), 0);
	{
		_cleanup_catalog_ struct umbra_catalog *c = NULL;
		_cleanup_set_list_ struct umbra_set_list list = {0};

		cr_assert_eq(umbra_catalog_open(rig_state, UMBRA_CATALOG_READ, &c, NULL), 0);
		cr_assert_eq(umbra_catalog_load_unfinished(c, &list, NULL), 0);
		cr_assert_eq(list.n, 1);
		id = list.sets[0]->id;
	}
	fake_plan = (struct fake_plan){.fail = FAKE_ABORT, .errnum = ENODEV};
	cr_assert_eq(forget(&id, &left, &err), 0, "%s", err.text);
	cr_assert_eq(left, 1);
	cr_assert_eq(rig_count_sets(), 0);
	fake_plan = (struct fake_plan){0};
	cr_assert_eq(rig_check(true, &err), 0);
	cr_assert_eq(rig_entries("fake"), 0);
	cr_assert_eq(rig_entries("forgotten"), 0);
}

/* Killed when it was noted and still in the catalog. */
Test(delete, a_forgetting_that_is_killed_is_a_deletion_still)
{
	struct umbra_error err = {0};
	struct umbra_id id;
	size_t left;

	cr_assert_eq(rig_create(&id, &err), 0);
	fake_plan = (struct fake_plan){.fail = FAKE_REMOVE, .errnum = ENODEV};
	cr_assert_lt(rig_delete(&id, &err), 0);
	rig_break_at("forget.noted", "kill");
	cr_assert_lt(forget(&id, &left, &err), 0);
	unsetenv("UMBRA_TEST_FAULT");
	cr_assert_eq(rig_count_sets(), 1);
	cr_assert_eq(rig_entries("forgotten"), 1);
	fake_plan = (struct fake_plan){0};
	cr_assert_eq(rig_check(false, &err), 0);
	cr_assert_eq(rig_count_sets(), 0);
	cr_assert_eq(rig_entries("fake"), 0);
	cr_assert_eq(rig_entries("forgotten"), 0);
}
