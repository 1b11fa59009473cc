/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "snapshot/document.h"

static struct umbra_set *make(void)
{
	struct umbra_set *set = umbra_set_new();
	struct umbra_shadow *shadow = umbra_shadow_new("/srv/\xff\n", "copy");

	set->seq = 7;
	set->time = 1795143000;
	set->state = UMBRA_SET_CREATED;
	set->label = UMBRA_LABEL_CRASH;
	set->comment = strdup("\xfe");
	set->skew_us = 12;
	umbra_set_add_step(set, "instant", 34);
	umbra_set_add_shadow(set, shadow);
	shadow->index = 3;
	shadow->label = UMBRA_LABEL_CRASH;
	shadow->begin_us = 5;
	shadow->end_us = 6;
	shadow->above = calloc(2, sizeof(*shadow->above));
	shadow->n_above = 2;
	shadow->above[0].mode = 0755;
	shadow->above[1].mode = 01770;
	shadow->above[1].uid = 1000;
	shadow->above[1].acl = strdup("0200");
	umbra_shadow_note(shadow, UMBRA_NOTE_CHANGED, "a\xff", "why");
	return set;
}

Test(document, a_record_comes_back)
{
	_cleanup_set_ struct umbra_set *set = make(), *back = NULL;
	_cleanup_json_ json_t *doc = umbra_shadow_record(set, set->shadows[0], "/var/\xfd");
	_cleanup_json_ json_t *again = NULL;
	_cleanup_free_ char *dir = NULL;
	struct umbra_error err = {0};
	size_t members = 0;

	cr_assert_not_null(doc);
	cr_assert_eq(umbra_shadow_record_parse(doc, &back, &dir, &members, &err), 0, "%s",
		     err.text);
	cr_assert_str_eq(dir, "/var/\xfd");
	cr_assert_eq(members, 1);
	cr_assert_str_eq(back->comment, "\xfe");
	again = umbra_shadow_record(back, back->shadows[0], dir);
	cr_assert(json_equal(doc, again));
}

/* Whatever single value of a record is replaced, it is refused or taken, never a crash. */
static void spoil(json_t *root, json_t *obj)
{
	static const char *const values[] = {"null", "-1",  "99999999999999", "\"\"", "\"x\"", "[]",
					     "{}",   "[1]", "[{}]",           "true"};
	const char *key;
	json_t *value;
	void *next;

	json_object_foreach_safe (obj, next, key, value) {
		json_t *kept = json_incref(value);

		for (size_t i = 0; i < UMBRA_ARRAY_SIZE(values); i++) {
			struct umbra_error err = {0};
			struct umbra_set *out = NULL;
			char *dir = NULL;

			json_object_set_new(obj, key, json_loads(values[i], JSON_DECODE_ANY, NULL));
			if (umbra_shadow_record_parse(root, &out, &dir, NULL, &err) == 0) {
				cr_assert_eq(out->n_shadows, 1);
				cr_assert_eq(out->shadows[0]->path[0], '/');
				umbra_set_free(out);
				free(dir);
			} else {
				cr_assert_neq(err.text[0], '\0');
			}
		}
		json_object_set_new(obj, key, kept);
		if (json_is_object(kept))
			spoil(root, kept);
	}
}

Test(document, spoiled_records_are_refused)
{
	_cleanup_set_ struct umbra_set *set = make();
	_cleanup_json_ json_t *doc = umbra_shadow_record(set, set->shadows[0], "/s");

	spoil(doc, doc);
}

Test(document, the_public_form_has_what_the_manual_promises)
{
	static const char *const keys[] = {"set",     "timestamp", "consistency", "freeze_us",
					   "hold_us", "skew_us",   "volumes",     "writers"};
	static const char *const volume_keys[] = {"shadow", "path", "provider", "consistency"};
	_cleanup_set_ struct umbra_set *set = make();
	_cleanup_json_ json_t *doc = umbra_set_public(set, true);
	json_t *volume = json_array_get(json_object_get(doc, "volumes"), 0);

	for (size_t i = 0; i < UMBRA_ARRAY_SIZE(keys); i++)
		cr_assert_not_null(json_object_get(doc, keys[i]), "%s", keys[i]);
	for (size_t i = 0; i < UMBRA_ARRAY_SIZE(volume_keys); i++)
		cr_assert_not_null(json_object_get(volume, volume_keys[i]), "%s", volume_keys[i]);
	cr_assert_str_eq(umbra_doc_string(doc, "timestamp"), "@GMT-2026.11.20-02.50.00");
	cr_assert_null(json_object_get(volume, "notes"));
}

Test(document, notes_are_bounded)
{
	_cleanup_shadow_ struct umbra_shadow *shadow = umbra_shadow_new("/", "copy");
	json_t *last;

	for (int i = 0; i < UMBRA_NOTES_MAX + 10; i++)
		cr_assert_eq(umbra_shadow_note(shadow, UMBRA_NOTE_CHANGED, "x", NULL), 0);
	cr_assert_eq(json_array_size(shadow->notes), UMBRA_NOTES_MAX + 1);
	last = json_array_get(shadow->notes, UMBRA_NOTES_MAX);
	cr_assert_eq(umbra_doc_int(last, "count", 0), 10);
}

Test(document, the_covering_volume_is_the_nearest)
{
	_cleanup_set_ struct umbra_set *set = umbra_set_new();

	umbra_set_add_shadow(set, umbra_shadow_new("/", "copy"));
	umbra_set_add_shadow(set, umbra_shadow_new("/srv/data", "copy"));
	cr_assert_str_eq(umbra_set_covering(set, "/srv/data/x")->path, "/srv/data");
	cr_assert_str_eq(umbra_set_covering(set, "/srv/data")->path, "/srv/data");
	cr_assert_str_eq(umbra_set_covering(set, "/srv/database")->path, "/");
}
