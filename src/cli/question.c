/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/question.h"

#include <stdio.h>
#include <string.h>

#include "cli/settable.h"
#include "common/text.h"
#include "common/util.h"

#define SHOWN_MAX  10 /* sets; of more, only some at each end */
#define SHOWN_ENDS 3

static int show_sets(const struct umbra_doomed *d, struct umbra_error *err)
{
	struct umbra_table *table = umbra_set_table_new();
	bool all = d->n <= SHOWN_MAX;
	char more[32];
	size_t i;

	snprintf(more, sizeof(more), "… %zu more …", d->n - 2 * SHOWN_ENDS);
	for (i = 0; i < d->n; i++) {
		if (all || i < SHOWN_ENDS || i >= d->n - SHOWN_ENDS)
			umbra_set_table_add(table, d->sets[i]);
		else if (i == SHOWN_ENDS)
			umbra_table_row(table,
					(const char *[]){more, NULL, NULL, NULL, NULL, NULL});
	}
	return umbra_table_print_to(table, stderr, err);
}

static bool has(const struct umbra_set *set, const char *path)
{
	size_t i;

	for (i = 0; i < set->n_shadows; i++)
		if (strcmp(set->shadows[i]->path, path) == 0)
			return true;
	return false;
}

static int by_seq(const void *a, const void *b)
{
	const struct umbra_set *x = *(const struct umbra_set *const *)a,
			       *y = *(const struct umbra_set *const *)b;

	return x->seq < y->seq ? -1 : x->seq > y->seq;
}

static bool is_doomed(const struct umbra_doomed *d, const struct umbra_set *set)
{
	return bsearch(&set, d->sets, d->n, sizeof(struct umbra_set *), by_seq) != NULL;
}

static bool stays(const struct umbra_doomed *d, const char *path)
{
	size_t i;

	for (i = d->all->n; i-- > 0;)
		if (has(d->all->sets[i], path) && !is_doomed(d, d->all->sets[i]))
			return true;
	return false;
}

/* Volumes of which nothing is left. Told of the newest set that has each. */
static void show_last(const struct umbra_doomed *d)
{
	size_t i, k, later;

	for (i = d->n; i-- > 0;) {
		for (k = 0; k < d->sets[i]->n_shadows; k++) {
			const char *path = d->sets[i]->shadows[k]->path;
			_cleanup_free_ char *shown = NULL;

			for (later = i + 1; later < d->n && !has(d->sets[later], path);)
				later++;
			if (later < d->n || stays(d, path))
				continue;
			shown = umbra_text_printable_dup(path);
			fprintf(stderr, "No shadow copy of '%s' will be left.\n",
				shown ? shown : "?");
		}
	}
}

/* A volume that is mounted at the path is in no copy of what it is mounted in. */
static bool is_of_path(const struct umbra_doomed *d, const struct umbra_set *set,
		       const struct umbra_shadow *shadow)
{
	return shadow == umbra_set_covering(set, d->path) &&
	       (!d->scope.whole || strcmp(shadow->path, d->path) == 0);
}

/* Is it of another volume than that of the path, and can be had again? */
static bool is_besides(const struct umbra_doomed *d, const struct umbra_set *set,
		       const struct umbra_shadow *shadow)
{
	struct umbra_scope scope = d->scope;

	return !is_of_path(d, set, shadow) && !umbra_scope_is_of(&scope, shadow) &&
	       shadow->condition != UMBRA_CONDITION_LOST;
}

/* Is there one of the same volume in a set before that one? */
static bool is_told(const struct umbra_doomed *d, size_t before, const char *path)
{
	size_t i, k;

	for (i = 0; i < before; i++)
		for (k = 0; k < d->sets[i]->n_shadows; k++)
			if (strcmp(d->sets[i]->shadows[k]->path, path) == 0 &&
			    is_besides(d, d->sets[i], d->sets[i]->shadows[k]))
				return true;
	return false;
}

char *umbra_doomed_besides(const struct umbra_doomed *d)
{
	char *list = strdup(""), *more;
	size_t i, k;

	for (i = 0; d->path && i < d->n; i++) {
		for (k = 0; list && k < d->sets[i]->n_shadows; k++) {
			const struct umbra_shadow *shadow = d->sets[i]->shadows[k];

			if (!is_besides(d, d->sets[i], shadow) || is_told(d, i, shadow->path))
				continue;
			more = umbra_asprintf("%s%s'%s'", list, *list ? ", " : "", shadow->path);
			free(list);
			list = more;
		}
	}
	return list;
}

static int show_besides(const struct umbra_doomed *d, struct umbra_error *err)
{
	_cleanup_free_ char *paths = umbra_doomed_besides(d);
	_cleanup_free_ char *shown = paths ? umbra_text_printable_dup(paths) : NULL;

	if (!shown)
		return umbra_oom(err);
	if (*shown)
		fprintf(stderr, "Copies of %s in the same sets go with them.\n", shown);
	return 0;
}

static void show_wider(const struct umbra_doomed *d)
{
	_cleanup_free_ char *shown = umbra_text_printable_dup(d->path);

	fprintf(stderr, "'%s' is only a part of what is copied there.\n", shown ? shown : "?");
}

int umbra_question(const struct umbra_doomed *d, struct umbra_error *err)
{
	char answer[16] = "";
	int r = show_sets(d, err);

	if (r == 0)
		r = show_besides(d, err);
	if (r < 0)
		return r;
	if (d->wider)
		show_wider(d);
	if (d->n == d->all->n)
		fprintf(stderr, "There are no other sets.\n");
	else
		show_last(d);
	if (d->readers)
		fprintf(stderr, "In use by %s, which may not be able to read on.\n", d->readers);
	if (d->n == 1)
		fprintf(stderr, "Delete this set? [y/N] ");
	else
		fprintf(stderr, "Delete these %zu sets? [y/N] ", d->n);
	if (!fgets(answer, sizeof(answer), stdin))
		fputc('\n', stderr);
	if (answer[0] == 'y' || answer[0] == 'Y')
		return 0;
	return umbra_fail(err, UMBRA_E_INTERRUPTED, ECANCELED, "nothing was deleted");
}
