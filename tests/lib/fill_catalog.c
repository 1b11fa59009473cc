/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * umbra-fill-catalog STATE SETS [PATH]: a catalog with that many sets of one volume, one an hour,
 * without the copies themselves: for what only reads the catalog.
 */
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "snapshot/snapshot.h"

#define FIRST 1600000000

static int add(struct umbra_catalog *catalog, long n, const char *path, struct umbra_error *error)
{
	_cleanup_set_ struct umbra_set *set = umbra_set_new();
	struct umbra_shadow *shadow = umbra_shadow_new(path, "copy");
	char comment[32];

	if (!set || !shadow || umbra_set_add_shadow(set, shadow) < 0)
		return umbra_oom(error);
	snprintf(comment, sizeof(comment), "set %ld", n);
	set->time = FIRST + n * 3600;
	set->state = UMBRA_SET_CREATED;
	set->label = shadow->label = UMBRA_LABEL_FUZZY;
	set->comment = strdup(comment);
	free(shadow->volume);
	shadow->volume = strdup("copy:test");
	if (!set->comment || !shadow->volume)
		return umbra_oom(error);
	return umbra_catalog_add(catalog, set, error);
}

int main(int argc, char **argv)
{
	_cleanup_engine_ struct umbra_engine *engine = NULL;
	struct umbra_error error = {0};
	long n, i;
	int r;

	if (argc < 3 || argc > 4)
		errx(2, "usage: umbra-fill-catalog STATE SETS [PATH]");
	n = strtol(argv[2], NULL, 10);
	r = umbra_engine_open(argv[1], UMBRA_CATALOG_WRITE, &engine, &error);
	for (i = 0; r == 0 && i < n; i++)
		r = add(umbra_engine_catalog(engine), i, argc > 3 ? argv[3] : "/srv/data", &error);
	if (r < 0)
		errx(1, "%s", error.text);
	return 0;
}
