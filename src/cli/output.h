/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Tables and JSON on standard output. What cannot be written is told by main(), at the end. */
#pragma once

#include <stdio.h>

#include "common/doc.h"

/* Prints doc, indented on a terminal. Takes the reference; NULL means out of memory. */
int umbra_output_json(json_t *doc, struct umbra_error *err);

/* A table as lsblk draws it. Cells are made printable; NULL is an empty cell. */
struct umbra_table;

struct umbra_column {
	const char *title;
	bool right;    /* numbers */
	bool last_cut; /* may be cut to the terminal's width */
	bool optional; /* left out when no row has anything in it; not the last one */
};

/* Where memory is short printing fails; nothing before has to be looked at (t may be NULL). */
struct umbra_table *umbra_table_new(const struct umbra_column *columns, size_t n);
void umbra_table_row(struct umbra_table *t, const char *const *cells);
/* Prints and frees, to standard output or to f. Nothing is printed for a table without rows. */
int umbra_table_print_to(struct umbra_table *t, FILE *f, struct umbra_error *err);
int umbra_table_print(struct umbra_table *t, struct umbra_error *err);
/* Below a table: what a term in it means for this volume, in full. *first: begins true. */
void umbra_output_why(const char *volume, const char *why, bool *first);
struct umbra_table *umbra_table_free(struct umbra_table *t);
