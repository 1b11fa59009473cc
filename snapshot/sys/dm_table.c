/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/sys/dm_table.h"

#include <stdarg.h>
#include <string.h>

static void free_params(char **params)
{
	if (*params)
		explicit_bzero(*params, strlen(*params));
	free(*params);
}

void umbra_dm_table_finish(struct umbra_dm_table *table)
{
	while (table->n > 0)
		free_params(&table->v[--table->n].params);
	free(table->v);
	table->v = NULL;
}

/* Takes params. */
static int append(struct umbra_dm_table *table, uint64_t start, uint64_t length, const char *target,
		  char **params, struct umbra_error *err)
{
	struct umbra_dm_line *v = table->v, *line;

	if (strlen(target) > UMBRA_DM_TARGET_MAX)
		return umbra_fail(err, UMBRA_E_INTERNAL, EINVAL,
				  "'%s' is too long for the name of a device-mapper target",
				  target);
	if ((table->n & (table->n - 1)) == 0) { /* full: it holds a power of two */
		v = reallocarray(v, table->n ? table->n * 2 : 1, sizeof(*v));
		if (!v)
			return umbra_oom(err);
		table->v = v;
	}
	line = &v[table->n++];
	*line = (struct umbra_dm_line){.start = start, .length = length};
	memcpy(line->target, target, strlen(target));
	line->params = TAKE_PTR(*params);
	return 0;
}

int umbra_dm_table_add_line(struct umbra_dm_table *table, uint64_t start, uint64_t length,
			    const char *target, const char *params, struct umbra_error *err)
{
	_cleanup_(free_params) char *copy = strdup(params);

	if (!copy)
		return umbra_oom(err);
	return append(table, start, length, target, &copy, err);
}

int umbra_dm_table_add(struct umbra_dm_table *table, uint64_t length, const char *target,
		       struct umbra_error *err, const char *fmt, ...)
{
	_cleanup_(free_params) char *params = NULL;
	va_list ap;
	int n;

	if (length == 0)
		return 0;
	va_start(ap, fmt);
	n = vasprintf(&params, fmt, ap);
	va_end(ap);
	if (n < 0) {
		params = NULL;
		return umbra_oom(err);
	}
	return append(table, umbra_dm_table_sectors(table), length, target, &params, err);
}

uint64_t umbra_dm_table_sectors(const struct umbra_dm_table *table)
{
	const struct umbra_dm_line *last = table->n ? &table->v[table->n - 1] : NULL;

	return last ? last->start + last->length : 0;
}

static bool same_line(const struct umbra_dm_line *a, const struct umbra_dm_line *b)
{
	return a->start == b->start && a->length == b->length &&
	       strcmp(a->target, b->target) == 0 && strcmp(a->params, b->params) == 0;
}

bool umbra_dm_table_same(const struct umbra_dm_table *a, const struct umbra_dm_table *b)
{
	size_t i;

	if (a->n != b->n)
		return false;
	for (i = 0; i < a->n; i++)
		if (!same_line(&a->v[i], &b->v[i]))
			return false;
	return true;
}
