/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/util.h"
#include "place.h"
#include "snapshot/catalog_db.h"

TestSuite(catalog, .init = place_begin, .fini = place_end, .timeout = 60);

static struct umbra_catalog *open_catalog(void)
{
	struct umbra_catalog *c = NULL;
	struct umbra_error err = {0};

	cr_assert_eq(umbra_catalog_open(place, UMBRA_CATALOG_WRITE, &c, &err), 0, "%s", err.text);
	return c;
}

static struct umbra_set *make_set(int64_t time, size_t copies)
{
	struct umbra_set *set = umbra_set_new();

	set->time = time;
	for (size_t i = 0; i < copies; i++) {
		_cleanup_free_ char *path = umbra_asprintf("/srv/\xff%zu", i);

		cr_assert_eq(umbra_set_add_shadow(set, umbra_shadow_new(path, "copy")), 0);
	}
	return set;
}

Test(catalog, everything_comes_back)
{
	_cleanup_catalog_ struct umbra_catalog *c = open_catalog();
	_cleanup_set_ struct umbra_set *set = make_set(1000, 2), *back = NULL;
	struct umbra_above above = {.mode = 0750, .uid = 1, .gid = 2, .acl = NULL};

	set->comment = strdup("before the update \xfe");
	cr_assert_eq(umbra_catalog_add(c, set, NULL), 0);
	set->state = UMBRA_SET_CREATED;
	set->label = UMBRA_LABEL_CRASH;
	set->hold_us = 557;
	umbra_set_add_step(set, "commit", 99);
	umbra_shadow_note(set->shadows[0], UMBRA_NOTE_CHANGED, "a/\xff", NULL);
	set->shadows[0]->above = malloc(sizeof(above));
	set->shadows[0]->above[0] = above;
	set->shadows[0]->n_above = 1;
	json_object_set_new(set->shadows[0]->data, "x", json_integer(7));
	cr_assert_eq(umbra_catalog_update(c, set, NULL), 0);
	cr_assert_eq(umbra_catalog_load_one(c, set->id.s, &back, NULL), 0);
	cr_assert_eq(back->seq, set->seq);
	cr_assert_eq(back->state, UMBRA_SET_CREATED);
	cr_assert_eq(back->label, UMBRA_LABEL_CRASH);
	cr_assert_str_eq(back->comment, set->comment);
	cr_assert_eq(back->n_shadows, 2);
	cr_assert_eq(back->n_steps, 1);
	cr_assert_str_eq(back->shadows[0]->path, "/srv/\xff"
						 "0");
	cr_assert_eq(back->shadows[0]->above[0].mode, 0750);
	cr_assert(json_equal(back->shadows[0]->data, set->shadows[0]->data));
	cr_assert(json_equal(back->shadows[0]->notes, set->shadows[0]->notes));
}

Test(catalog, a_taken_second_gives_the_next_free_one)
{
	_cleanup_catalog_ struct umbra_catalog *c = open_catalog();

	for (int i = 0; i < 3; i++) {
		_cleanup_set_ struct umbra_set *set = make_set(1000, 1);

		cr_assert_eq(umbra_catalog_add(c, set, NULL), 0);
		cr_assert_eq(set->time, 1000 + i);
	}
}

Test(catalog, an_index_is_not_used_again_soon)
{
	_cleanup_catalog_ struct umbra_catalog *c = open_catalog();
	unsigned int last = 0;

	for (int i = 0; i < 20; i++) {
		_cleanup_set_ struct umbra_set *set = make_set(1000, 1);

		cr_assert_eq(umbra_catalog_add(c, set, NULL), 0);
		cr_assert_gt(set->shadows[0]->index, last);
		last = set->shadows[0]->index;
		cr_assert_eq(umbra_catalog_remove(c, &set->id, NULL), 0);
	}
}

Test(catalog, removing_takes_the_copies_along)
{
	_cleanup_catalog_ struct umbra_catalog *c = open_catalog();
	_cleanup_set_ struct umbra_set *set = make_set(5, 3);
	struct umbra_set_list list = {0};
	struct umbra_error err = {0};
	struct umbra_set *out;

	cr_assert_eq(umbra_catalog_add(c, set, NULL), 0);
	cr_assert_eq(umbra_catalog_remove(c, &set->id, NULL), 0);
	cr_assert_eq(umbra_catalog_remove(c, &set->id, NULL), 0);
	cr_assert_eq(umbra_catalog_load(c, UMBRA_LOAD_FULL, &list, NULL), 0);
	cr_assert_eq(list.n, 0);
	cr_assert_eq(umbra_catalog_load_shadow(c, set->shadows[0]->id.s, &out, &err), -ENOENT);
}

Test(catalog, a_set_can_lose_one_of_its_copies)
{
	_cleanup_catalog_ struct umbra_catalog *c = open_catalog();
	_cleanup_set_ struct umbra_set *set = make_set(5, 3), *left = NULL;

	cr_assert_eq(umbra_catalog_add(c, set, NULL), 0);
	cr_assert_eq(umbra_catalog_remove_shadow(c, &set->shadows[1]->id, NULL), 0);
	cr_assert_eq(umbra_catalog_remove_shadow(c, &set->shadows[1]->id, NULL), 0);
	cr_assert_eq(umbra_catalog_load_one(c, set->id.s, &left, NULL), 0);
	cr_assert_eq(left->n_shadows, 2);
	cr_assert_str_eq(left->shadows[0]->id.s, set->shadows[0]->id.s);
	cr_assert_str_eq(left->shadows[1]->id.s, set->shadows[2]->id.s);
}

Test(catalog, a_missing_one_is_empty_for_readers)
{
	_cleanup_catalog_ struct umbra_catalog *c = NULL;
	struct umbra_set_list list = {0};

	cr_assert_eq(umbra_catalog_open(place, UMBRA_CATALOG_READ, &c, NULL), 0);
	cr_assert_eq(umbra_catalog_load(c, UMBRA_LOAD_BRIEF, &list, NULL), 0);
	cr_assert_eq(list.n, 0);
}

static void overwrite(const char *text, off_t at)
{
	_cleanup_free_ char *path = umbra_asprintf("%s/%s", place, UMBRA_CATALOG_NAME);
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	cr_assert_eq(pwrite(fd, text, strlen(text), at), (ssize_t)strlen(text));
}

Test(catalog, a_damaged_one_says_how_to_rebuild)
{
	struct umbra_catalog *c = NULL;
	struct umbra_error err = {0};

	umbra_catalog_close(open_catalog());
	overwrite("this is not a database at all, but text of enough length to be sure", 0);
	cr_assert_lt(umbra_catalog_open(place, UMBRA_CATALOG_READ, &c, &err), 0);
	cr_assert_eq(err.code, UMBRA_E_DAMAGED);
	cr_assert(strstr(err.text, "check --rebuild"), "%s", err.text);
}

Test(catalog, a_set_that_lost_its_copies_is_damage)
{
	_cleanup_catalog_ struct umbra_catalog *c = open_catalog();
	_cleanup_set_ struct umbra_set *set = make_set(1000, 1);
	struct umbra_set_list list;
	struct umbra_error err = {0};

	cr_assert_eq(umbra_catalog_add(c, set, NULL), 0);
	cr_assert_eq(umbra_db_exec(c, "DELETE FROM shadows", NULL, "spoiling it"), 0);
	cr_assert_eq(umbra_catalog_load(c, UMBRA_LOAD_BRIEF, &list, &err), -EUCLEAN);
	cr_assert_eq(err.code, UMBRA_E_DAMAGED);
}

Test(catalog, numbers_go_around_and_pass_over_those_in_use)
{
	_cleanup_catalog_ struct umbra_catalog *c = open_catalog();
	_cleanup_set_ struct umbra_set *first = make_set(1000, 1), *next = make_set(1001, 3);

	cr_assert_eq(umbra_catalog_add(c, first, NULL), 0);
	cr_assert_eq(umbra_db_exec(c, "UPDATE last_index SET value=65534", NULL, "winding"), 0);
	cr_assert_eq(umbra_catalog_add(c, next, NULL), 0);
	cr_assert_eq(first->shadows[0]->index, 1);
	cr_assert_eq(next->shadows[0]->index, UMBRA_INDEX_MAX);
	cr_assert_eq(next->shadows[1]->index, 2);
	cr_assert_eq(next->shadows[2]->index, 3);
}
