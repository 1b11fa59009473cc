/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/output.h"

#include <libsmartcols.h>
#include <string.h>
#include <unistd.h>

#include "common/text.h"
#include "common/util.h"

int umbra_output_json(json_t *doc, struct umbra_error *err)
{
	int r;

	if (!doc)
		return umbra_oom(err);
	r = json_dumpf(doc, stdout, isatty(STDOUT_FILENO) ? JSON_INDENT(2) : JSON_COMPACT);
	json_decref(doc);
	if (r < 0)
		return umbra_fail_errno(err, errno ? errno : EIO, "cannot write the output");
	putchar('\n');
	return 0;
}

struct umbra_table {
	struct libscols_table *t;
	size_t columns, rows;
};

struct umbra_table *umbra_table_free(struct umbra_table *t)
{
	if (t) {
		scols_unref_table(t->t);
		free(t);
	}
	return NULL;
}

struct umbra_table *umbra_table_new(const struct umbra_column *columns, size_t n)
{
	struct umbra_table *t = calloc(1, sizeof(*t));
	size_t i;
	int flags;

	if (!t)
		return NULL;
	scols_init_debug(0);
	t->t = scols_new_table();
	if (!t->t)
		return umbra_table_free(t);
	t->columns = n;
	for (i = 0; i < n; i++) {
		flags = (columns[i].right ? SCOLS_FL_RIGHT : 0) |
			(columns[i].last_cut ? SCOLS_FL_TRUNC : 0);
		if (!scols_table_new_column(t->t, columns[i].title, 0, flags))
			return umbra_table_free(t);
	}
	return t;
}

int umbra_table_row(struct umbra_table *t, const char *const *cells)
{
	struct libscols_line *line = scols_table_new_line(t->t, NULL);
	char *text;
	size_t i;

	if (!line)
		return -ENOMEM;
	t->rows++;
	for (i = 0; i < t->columns; i++) {
		if (!cells[i])
			continue;
		text = umbra_text_printable_dup(cells[i]);
		if (!text || scols_line_refer_data(line, i, text) < 0) {
			free(text);
			return -ENOMEM;
		}
	}
	return 0;
}

int umbra_table_print(struct umbra_table *t, struct umbra_error *err)
{
	int r = t->rows > 0 ? scols_print_table(t->t) : 0;

	umbra_table_free(t);
	return r < 0 ? umbra_fail_errno(err, r, "cannot print the table") : 0;
}
