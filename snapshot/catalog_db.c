/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/catalog_db.h"

#include <string.h>
#include <sys/statvfs.h>

/* SQLite says "cannot open" also when there is no room for its journal, and tries again in another
 * way, so that errno may not say it either. */
static int what_it_is(const struct umbra_catalog *c, int rc)
{
	int primary = rc & 0xff, errnum = c->db ? sqlite3_system_errno(c->db) : 0;
	struct statvfs fs;

	if (primary != SQLITE_CANTOPEN && primary != SQLITE_IOERR)
		return primary;
	if (errnum == ENOSPC || errnum == EDQUOT)
		return SQLITE_FULL;
	if (primary != SQLITE_CANTOPEN || statvfs(c->path, &fs) < 0)
		return primary;
	if (fs.f_flag & ST_RDONLY)
		return SQLITE_READONLY;
	return fs.f_bavail == 0 || (fs.f_files > 0 && fs.f_favail == 0) ? SQLITE_FULL : primary;
}

int umbra_db_fail(const struct umbra_catalog *c, int rc, struct umbra_error *err, const char *doing)
{
	const char *msg = c->db ? sqlite3_errmsg(c->db) : sqlite3_errstr(rc);

	switch (what_it_is(c, rc)) {
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
	case SQLITE_SCHEMA:
	case SQLITE_ERROR:
		return umbra_fail(
			err, UMBRA_E_DAMAGED, EUCLEAN,
			"the catalog '%s' is damaged (%s while %s); the shadow copies are "
			"still there: 'umbra check --rebuild' makes it anew from them",
			c->path, msg, doing);
	case SQLITE_FULL:
		return umbra_fail(err, UMBRA_E_NO_SPACE, ENOSPC,
				  "no space left for the catalog '%s' while %s: delete old sets or "
				  "make room on its filesystem",
				  c->path, doing);
	case SQLITE_READONLY:
		return umbra_fail(err, UMBRA_E_READ_ONLY, EROFS,
				  "the catalog '%s' cannot be written while %s: read-only "
				  "filesystem or file",
				  c->path, doing);
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return umbra_fail(err, UMBRA_E_BUSY, EBUSY,
				  "the catalog '%s' is in use by another process (%s): try again",
				  c->path, doing);
	case SQLITE_NOMEM:
		return umbra_oom(err);
	case SQLITE_CONSTRAINT:
		return umbra_fail(err, UMBRA_E_EXISTS, EEXIST, "catalog '%s': %s while %s", c->path,
				  msg, doing);
	case SQLITE_PERM:
	case SQLITE_AUTH:
	case SQLITE_CANTOPEN:
		return umbra_fail(err, UMBRA_E_PERMISSION, EACCES,
				  "cannot open the catalog '%s' (%s while %s)", c->path, msg,
				  doing);
	default:
		return umbra_fail(err, UMBRA_E_IO, EIO, "catalog '%s': %s while %s", c->path, msg,
				  doing);
	}
}

int umbra_db_exec(struct umbra_catalog *c, const char *sql, struct umbra_error *err,
		  const char *doing)
{
	int rc = sqlite3_exec(c->db, sql, NULL, NULL, NULL);

	return rc == SQLITE_OK ? 0 : umbra_db_fail(c, rc, err, doing);
}

int umbra_db_begin(struct umbra_catalog *c, struct umbra_error *err)
{
	return umbra_db_exec(c, "BEGIN IMMEDIATE", err, "starting a transaction");
}

int umbra_db_end(struct umbra_catalog *c, int r, struct umbra_error *err)
{
	if (r == 0)
		r = umbra_db_exec(c, "COMMIT", err, "committing");
	if (r < 0)
		sqlite3_exec(c->db, "ROLLBACK", NULL, NULL, NULL);
	return r;
}

int umbra_db_prepare(struct umbra_catalog *c, const char *sql, sqlite3_stmt **out,
		     struct umbra_error *err, const char *doing)
{
	int rc = sqlite3_prepare_v2(c->db, sql, -1, out, NULL);

	return rc == SQLITE_OK ? 0 : umbra_db_fail(c, rc, err, doing);
}

int umbra_db_run(struct umbra_catalog *c, sqlite3_stmt *s, struct umbra_error *err,
		 const char *doing)
{
	int rc = sqlite3_step(s);
	int r = rc == SQLITE_DONE ? 0 : umbra_db_fail(c, rc, err, doing);

	sqlite3_reset(s);
	return r;
}

int umbra_db_int(struct umbra_catalog *c, const char *sql, int64_t param, int64_t fallback,
		 int64_t *out, struct umbra_error *err)
{
	_cleanup_stmt_ sqlite3_stmt *s = NULL;
	int r = umbra_db_prepare(c, sql, &s, err, "reading"), rc;

	if (r < 0)
		return r;
	if (sqlite3_bind_parameter_count(s) > 0)
		sqlite3_bind_int64(s, 1, param);
	rc = sqlite3_step(s);
	if (rc == SQLITE_ROW && sqlite3_column_type(s, 0) != SQLITE_NULL)
		*out = sqlite3_column_int64(s, 0);
	else if (rc == SQLITE_ROW || rc == SQLITE_DONE)
		*out = fallback;
	else
		return umbra_db_fail(c, rc, err, "reading");
	return 0;
}

void umbra_db_bind_path(sqlite3_stmt *s, int i, const char *bytes)
{
	if (bytes)
		sqlite3_bind_blob(s, i, bytes, (int)strlen(bytes), SQLITE_STATIC);
	else
		sqlite3_bind_null(s, i);
}

int umbra_db_bind_json(sqlite3_stmt *s, int i, json_t *doc)
{
	char *text = doc ? json_dumps(doc, JSON_COMPACT) : NULL;

	json_decref(doc);
	if (!text)
		return -ENOMEM;
	return sqlite3_bind_text(s, i, text, -1, free) == SQLITE_OK ? 0 : -ENOMEM;
}
