/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/areas.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/output.h"
#include "common/text.h"
#include "snapshot/set.h"

#define NUMBER_MAX 32

/* "-" for what is not known. Returns out. */
static const char *number(const json_t *area, const char *key, bool is_size, char out[NUMBER_MAX])
{
	const json_t *value = json_object_get(area, key);

	if (!json_is_integer(value))
		snprintf(out, NUMBER_MAX, "-");
	else if (is_size)
		umbra_text_size((unsigned long long)json_integer_value(value), out, NUMBER_MAX);
	else
		snprintf(out, NUMBER_MAX, "%lld", (long long)json_integer_value(value));
	return out;
}

/* Do volumes have the same path? Then their ids tell them apart. */
static bool is_ambiguous(const json_t *areas, const char *path)
{
	const json_t *area;
	size_t i, n = 0;

	json_array_foreach (areas, i, area) {
		_cleanup_free_ char *volume = NULL;

		n += umbra_doc_get_path(area, "volume", &volume) == 0 && strcmp(volume, path) == 0;
	}
	return n > 1;
}

static void add_row(struct umbra_table *table, const json_t *areas, const json_t *area)
{
	_cleanup_free_ char *volume = NULL, *place = NULL;
	char size[NUMBER_MAX], used[NUMBER_MAX], copies[NUMBER_MAX], lost[NUMBER_MAX];
	char term[UMBRA_TERM_MAX];
	const char *why = umbra_doc_string(area, "why");

	if (umbra_doc_get_path(area, "volume", &volume) < 0 ||
	    umbra_doc_get_path(area, "place", &place) < 0)
		return;
	umbra_table_row(table,
			(const char *[]){
				volume, place,
				is_ambiguous(areas, volume) ? umbra_doc_string(area, "area") : NULL,
				number(area, "size", true, size), number(area, "used", true, used),
				number(area, "copies", false, copies),
				number(area, "lost", false, lost), umbra_doc_string(area, "state"),
				umbra_condition_term(why ? why : "", term)});
}

static void print_why(const json_t *area, bool *first)
{
	const char *why = umbra_doc_string(area, "why");
	_cleanup_free_ char *volume = NULL;

	if (why && umbra_doc_get_path(area, "volume", &volume) == 0)
		umbra_output_why(volume, why, first);
}

int umbra_areas_print(const json_t *areas, struct umbra_error *err)
{
	static const struct umbra_column columns[] = {
		{.title = "VOLUME"},
		{.title = "DIFF AREA"},
		{.title = "ID", .optional = true},
		{.title = "SIZE", .right = true},
		{.title = "USED", .right = true},
		{.title = "COPIES", .right = true},
		{.title = "LOST", .right = true},
		{.title = "STATE"},
		{.title = "WHY"},
	};
	struct umbra_table *table = umbra_table_new(columns, UMBRA_ARRAY_SIZE(columns));
	bool first = true;
	const json_t *area;
	size_t i;
	int r;

	json_array_foreach (areas, i, area)
		add_row(table, areas, area);
	r = umbra_table_print(table, err);
	json_array_foreach (areas, i, area)
		if (r == 0)
			print_why(area, &first);
	return r;
}

/* A volume that is not mounted is known by its path only. */
static bool is_of(const json_t *area, const char *path, const struct stat *st)
{
	_cleanup_free_ char *volume = NULL;
	struct stat root;

	if (umbra_doc_get_path(area, "volume", &volume) < 0)
		return false;
	return strcmp(volume, path) == 0 ||
	       (st && stat(volume, &root) == 0 && root.st_dev == st->st_dev);
}

int umbra_areas_choose(json_t *areas, const char *path, struct umbra_error *err)
{
	_cleanup_free_ char *absolute = NULL;
	struct stat st;
	bool there = stat(path, &st) == 0;
	size_t i;
	int r = umbra_absolute_path(path, true, &absolute);

	if (r < 0)
		return umbra_fail_errno(err, r, "cannot look at '%s'", path);
	for (i = json_array_size(areas); i-- > 0;)
		if (!is_of(json_array_get(areas, i), absolute, there ? &st : NULL))
			json_array_remove(areas, i);
	if (json_array_size(areas) > 0)
		return 0;
	if (!there)
		return umbra_fail(err, UMBRA_E_NOT_FOUND, ENOENT,
				  "'%s' does not exist, nor was a volume with a diff area mounted "
				  "there: 'umbra storage' lists all that there are",
				  path);
	return umbra_fail(err, UMBRA_E_NOT_FOUND, ENOENT,
			  "the volume of '%s' has no diff area: 'umbra storage' lists all that "
			  "there are",
			  path);
}
