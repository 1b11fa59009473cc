/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/output.h"

#include <limits.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

#include "common/text.h"
#include "common/util.h"

int umbra_output_json(json_t *doc, struct umbra_error *err)
{
	if (!doc)
		return umbra_oom(err);
	json_dumpf(doc, stdout, isatty(STDOUT_FILENO) ? JSON_INDENT(2) : JSON_COMPACT);
	json_decref(doc);
	putchar('\n');
	return 0;
}

void umbra_output_why(const char *volume, const char *why, bool *first)
{
	_cleanup_free_ char *line = umbra_asprintf("%s: %s", volume, why);
	_cleanup_free_ char *shown = line ? umbra_text_printable_dup(line) : NULL;

	printf("%s%s\n", *first ? "\n" : "", shown ? shown : "");
	*first = false;
}

struct umbra_table {
	const struct umbra_column *columns; /* borrowed, as titles are */
	size_t *widths;
	bool *filled; /* some row has something in that column */
	size_t n_columns;
	char **cells; /* row after row; NULL: empty */
	size_t rows, room;
	bool incomplete; /* no memory */
};

struct umbra_table *umbra_table_free(struct umbra_table *t)
{
	size_t i;

	if (!t)
		return NULL;
	for (i = 0; i < t->rows * t->n_columns; i++)
		free(t->cells[i]);
	free(t->cells);
	free(t->widths);
	free(t->filled);
	free(t);
	return NULL;
}

/* Columns of a terminal. Nearly all text is ASCII, and ten thousand sets are fifty thousand cells,
 * so what is not is looked at only where it begins. */
static size_t text_width(const char *s)
{
	const char *p = s;
	mbstate_t state = {0};
	size_t width = 0, n;
	wchar_t c;
	int w;

	while (*p && (unsigned char)*p < 0x80)
		p++;
	width = (size_t)(p - s);
	for (; *p; p += n) {
		n = mbrtowc(&c, p, MB_LEN_MAX, &state);
		if (n == (size_t)-1 || n == (size_t)-2 || n == 0)
			return width + strlen(p); /* not in this locale */
		w = wcwidth(c);
		width += w > 0 ? (size_t)w : 0;
	}
	return width;
}

struct umbra_table *umbra_table_new(const struct umbra_column *columns, size_t n)
{
	struct umbra_table *t = calloc(1, sizeof(*t));
	size_t i;

	if (!t)
		return NULL;
	t->columns = columns;
	t->n_columns = n;
	t->widths = calloc(n, sizeof(*t->widths));
	t->filled = calloc(n, sizeof(*t->filled));
	if (!t->widths || !t->filled)
		return umbra_table_free(t);
	for (i = 0; i < n; i++)
		t->widths[i] = text_width(columns[i].title);
	return t;
}

static int make_room(struct umbra_table *t)
{
	size_t room = t->room ? t->room * 2 : 16;
	char **more;

	if (t->rows < t->room)
		return 0;
	more = reallocarray(t->cells, room * t->n_columns, sizeof(*more));
	if (!more)
		return -ENOMEM;
	t->cells = more;
	t->room = room;
	return 0;
}

void umbra_table_row(struct umbra_table *t, const char *const *cells)
{
	size_t i, width;
	char **row;

	if (!t)
		return;
	if (make_room(t) < 0) {
		t->incomplete = true;
		return;
	}
	row = &t->cells[t->rows++ * t->n_columns];
	memset(row, 0, t->n_columns * sizeof(*row));
	for (i = 0; i < t->n_columns; i++) {
		if (!cells[i] || !*cells[i])
			continue;
		row[i] = umbra_text_printable_dup(cells[i]);
		if (!row[i]) {
			t->incomplete = true;
			return;
		}
		t->filled[i] = true;
		width = text_width(row[i]);
		if (width > t->widths[i])
			t->widths[i] = width;
	}
}

/* Columns of the terminal that output goes to; 0: it goes elsewhere, and nothing is cut. */
static size_t terminal_width(FILE *f)
{
	struct winsize size;

	if (!isatty(fileno(f)) || ioctl(fileno(f), TIOCGWINSZ, &size) < 0)
		return 0;
	return size.ws_col;
}

/* Ends s where it would be wider than max. */
static void cut(char *s, size_t max)
{
	mbstate_t state = {0};
	size_t width = 0, n;
	wchar_t c;
	int w;

	for (; *s; s += n) {
		n = mbrtowc(&c, s, MB_LEN_MAX, &state);
		if (n == (size_t)-1 || n == (size_t)-2 || n == 0)
			n = 1;
		w = n == 1 ? 1 : wcwidth(c);
		width += w > 0 ? (size_t)w : 0;
		if (width > max) {
			*s = '\0';
			return;
		}
	}
}

static bool is_left_out(const struct umbra_table *t, size_t column)
{
	return t->columns[column].optional && !t->filled[column];
}

static void cut_last(struct umbra_table *t, FILE *f)
{
	size_t last = t->n_columns - 1, have = terminal_width(f), used = 0, i;

	for (i = 0; i < last; i++)
		used += is_left_out(t, i) ? 0 : t->widths[i] + 1;
	if (!t->columns[last].last_cut || have == 0 || used + t->widths[last] <= have)
		return;
	/* Where even the title does not fit the terminal may wrap all it likes. */
	t->widths[last] = text_width(t->columns[last].title);
	if (used + t->widths[last] < have)
		t->widths[last] = have - used;
	for (i = 0; i < t->rows; i++)
		if (t->cells[i * t->n_columns + last])
			cut(t->cells[i * t->n_columns + last], t->widths[last]);
}

static void print_spaces(FILE *f, size_t n)
{
	while (n-- > 0)
		putc_unlocked(' ', f);
}

/* cells NULL: the titles. Nothing follows the last cell that is not empty. */
static void print_row(const struct umbra_table *t, FILE *f, char *const *cells)
{
	size_t i, pending = 0, pad;
	const char *text;

	for (i = 0; i < t->n_columns; i++) {
		if (is_left_out(t, i))
			continue;
		text = cells ? cells[i] : t->columns[i].title;
		pad = t->widths[i] - (text ? text_width(text) : 0);
		if (text && *text) {
			print_spaces(f, pending + (t->columns[i].right ? pad : 0));
			fputs_unlocked(text, f);
			pending = t->columns[i].right ? 0 : pad;
		} else {
			pending += pad;
		}
		pending++;
	}
	putc_unlocked('\n', f);
}

int umbra_table_print_to(struct umbra_table *t, FILE *f, struct umbra_error *err)
{
	size_t i;

	if (!t || t->incomplete) {
		umbra_table_free(t);
		return umbra_oom(err);
	}
	if (t->rows > 0) {
		cut_last(t, f);
		print_row(t, f, NULL);
	}
	for (i = 0; i < t->rows; i++)
		print_row(t, f, &t->cells[i * t->n_columns]);
	umbra_table_free(t);
	return 0;
}

int umbra_table_print(struct umbra_table *t, struct umbra_error *err)
{
	return umbra_table_print_to(t, stdout, err);
}
