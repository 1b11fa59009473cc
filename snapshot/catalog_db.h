/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The catalog's way to SQLite. For the files of the catalog only. */
#pragma once

#include <sqlite3.h>

#include "snapshot/catalog.h"

struct umbra_catalog {
	sqlite3 *db; /* NULL: opened for reading, and there is none yet */
	char *path;
};

static inline void umbra_cleanup_stmt(sqlite3_stmt **s)
{
	sqlite3_finalize(*s);
}
#define _cleanup_stmt_ _cleanup_(umbra_cleanup_stmt)

/* What an SQLite result means to a person. doing: "recording a set". Returns a negative errno. */
int umbra_db_fail(const struct umbra_catalog *c, int rc, struct umbra_error *err,
		  const char *doing);

int umbra_db_exec(struct umbra_catalog *c, const char *sql, struct umbra_error *err,
		  const char *doing);

/* A transaction that writes; nobody else writes until its end. */
int umbra_db_begin(struct umbra_catalog *c, struct umbra_error *err);
/* Commits when r is 0, else rolls back; r or what went wrong. */
int umbra_db_end(struct umbra_catalog *c, int r, struct umbra_error *err);

int umbra_db_prepare(struct umbra_catalog *c, const char *sql, sqlite3_stmt **out,
		     struct umbra_error *err, const char *doing);
/* Runs a statement that gives no rows and makes it ready to be bound again. */
int umbra_db_run(struct umbra_catalog *c, sqlite3_stmt *s, struct umbra_error *err,
		 const char *doing);

/* One integer; fallback where there is no row. param is bound when sql has a parameter. */
int umbra_db_int(struct umbra_catalog *c, const char *sql, int64_t param, int64_t fallback,
		 int64_t *out, struct umbra_error *err);

/* Bytes as a blob, borrowed until the statement is done; NULL as NULL. */
void umbra_db_bind_path(sqlite3_stmt *s, int i, const char *bytes);
/* doc as text; takes the reference, NULL is out of memory. */
int umbra_db_bind_json(sqlite3_stmt *s, int i, json_t *doc);
