/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/catalog.h"

#include <sqlite3.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "snapshot/document.h"

#define BUSY_MS        10000
#define APPLICATION_ID 0x756d6272 /* "umbr": file(1) and we know our own */

struct umbra_catalog {
	sqlite3 *db; /* NULL: opened for reading, and there is none yet */
	char *path;
};

static const char schema[] =
	"CREATE TABLE sets("
	" seq INTEGER PRIMARY KEY AUTOINCREMENT,"
	" id TEXT NOT NULL UNIQUE,"
	" time INTEGER NOT NULL UNIQUE,"
	" state TEXT NOT NULL,"
	" consistency TEXT NOT NULL,"
	" comment BLOB,"
	" freeze_us INTEGER NOT NULL, hold_us INTEGER NOT NULL, skew_us INTEGER NOT NULL,"
	" detail TEXT NOT NULL);"
	"CREATE TABLE shadows("
	" id TEXT NOT NULL PRIMARY KEY,"
	" set_seq INTEGER NOT NULL REFERENCES sets(seq) ON DELETE CASCADE,"
	" idx INTEGER NOT NULL UNIQUE,"
	" path BLOB NOT NULL,"
	" provider TEXT NOT NULL,"
	" volume BLOB NOT NULL,"
	" consistency TEXT NOT NULL,"
	" detail TEXT NOT NULL) WITHOUT ROWID;"
	"CREATE INDEX shadows_by_set ON shadows(set_seq);"
	"CREATE INDEX shadows_by_path ON shadows(path, set_seq);"
	"CREATE TABLE last_index(value INTEGER NOT NULL);"
	"INSERT INTO last_index VALUES(0);";

static int db_fail(const struct umbra_catalog *c, int rc, struct umbra_error *err,
		   const char *doing)
{
	const char *msg = c->db ? sqlite3_errmsg(c->db) : sqlite3_errstr(rc);

	switch (rc & 0xff) {
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

static int exec(struct umbra_catalog *c, const char *sql, struct umbra_error *err,
		const char *doing)
{
	int rc = sqlite3_exec(c->db, sql, NULL, NULL, NULL);

	return rc == SQLITE_OK ? 0 : db_fail(c, rc, err, doing);
}

static int begin(struct umbra_catalog *c, struct umbra_error *err)
{
	return exec(c, "BEGIN IMMEDIATE", err, "starting a transaction");
}

/* Commits when r is 0, else rolls back; r or what went wrong. */
static int end(struct umbra_catalog *c, int r, struct umbra_error *err)
{
	if (r == 0)
		r = exec(c, "COMMIT", err, "committing");
	if (r < 0)
		sqlite3_exec(c->db, "ROLLBACK", NULL, NULL, NULL);
	return r;
}

static void cleanup_stmt(sqlite3_stmt **s)
{
	sqlite3_finalize(*s);
}
#define _cleanup_stmt_ _cleanup_(cleanup_stmt)

static int prepare(struct umbra_catalog *c, const char *sql, sqlite3_stmt **out,
		   struct umbra_error *err, const char *doing)
{
	int rc = sqlite3_prepare_v2(c->db, sql, -1, out, NULL);

	return rc == SQLITE_OK ? 0 : db_fail(c, rc, err, doing);
}

/* Runs a statement that gives no rows and makes it ready to be bound again. */
static int run(struct umbra_catalog *c, sqlite3_stmt *s, struct umbra_error *err, const char *doing)
{
	int rc = sqlite3_step(s);
	int r = rc == SQLITE_DONE ? 0 : db_fail(c, rc, err, doing);

	sqlite3_reset(s);
	return r;
}

/* One integer; fallback where there is no row. */
static int query_int(struct umbra_catalog *c, const char *sql, int64_t param, int64_t fallback,
		     int64_t *out, struct umbra_error *err)
{
	_cleanup_stmt_ sqlite3_stmt *s = NULL;
	int r = prepare(c, sql, &s, err, "reading"), rc;

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
		return db_fail(c, rc, err, "reading");
	return 0;
}

static int make_schema(struct umbra_catalog *c, struct umbra_error *err)
{
	_cleanup_free_ char *pragmas = NULL;
	int64_t version;
	int r = begin(c, err);

	if (r < 0)
		return r;
	/* Another process may have made it between our look and our lock. */
	r = query_int(c, "PRAGMA user_version", 0, 0, &version, err);
	if (r == 0 && version == 0) {
		r = exec(c, schema, err, "making the tables");
		pragmas = umbra_asprintf("PRAGMA application_id=%d; PRAGMA user_version=%d",
					 APPLICATION_ID, UMBRA_CATALOG_VERSION);
		if (r == 0 && !pragmas)
			r = umbra_oom(err);
		if (r == 0)
			r = exec(c, pragmas, err, "making the tables");
	}
	return end(c, r, err);
}

static int check_schema(struct umbra_catalog *c, enum umbra_catalog_mode mode,
			struct umbra_error *err)
{
	int64_t version, id;
	int r = query_int(c, "PRAGMA user_version", 0, 0, &version, err);

	if (r == 0)
		r = query_int(c, "PRAGMA application_id", 0, 0, &id, err);
	if (r < 0)
		return r;
	if (version == 0 && mode == UMBRA_CATALOG_WRITE && id == 0) {
		r = make_schema(c, err);
		return r < 0 ? r : check_schema(c, UMBRA_CATALOG_READ, err);
	}
	if (version == 0 && id == 0) { /* killed before it had tables: an empty catalog */
		sqlite3_close(c->db);
		c->db = NULL;
		return 0;
	}
	if (id != APPLICATION_ID)
		return umbra_fail(err, UMBRA_E_DAMAGED, EUCLEAN,
				  "'%s' is a database, but not a catalog of umbra: move it away, "
				  "then 'umbra check --rebuild'",
				  c->path);
	if (version != UMBRA_CATALOG_VERSION)
		return umbra_fail(
			err, UMBRA_E_UNSUPPORTED, EPROTONOSUPPORT,
			"the catalog '%s' has format %lld, this umbra knows format %d: use "
			"the umbra that wrote it",
			c->path, (long long)version, UMBRA_CATALOG_VERSION);
	return 0;
}

static int open_db(struct umbra_catalog *c, enum umbra_catalog_mode mode, struct umbra_error *err)
{
	bool writable = mode == UMBRA_CATALOG_WRITE || access(c->path, W_OK) == 0;
	int flags = (writable ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY) |
		    SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW;
	struct stat st;
	int rc;

	/* A reader opens for writing where it may: only so can it roll back a journal that a
	 * killed writer left. */
	if (mode == UMBRA_CATALOG_WRITE)
		flags |= SQLITE_OPEN_CREATE;
	else if (lstat(c->path, &st) < 0 && errno == ENOENT)
		return 0;
	rc = sqlite3_open_v2(c->path, &c->db, flags, NULL);
	if (rc != SQLITE_OK)
		return db_fail(c, rc, err, "opening it");
	sqlite3_extended_result_codes(c->db, 1);
	sqlite3_busy_timeout(c->db, BUSY_MS);
	/* Data from disk may be hostile: no triggers or views in it are trusted. */
	sqlite3_db_config(c->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	sqlite3_db_config(c->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
	return exec(c,
		    "PRAGMA foreign_keys=ON; PRAGMA synchronous=FULL; PRAGMA journal_mode=DELETE",
		    err, "opening it");
}

int umbra_catalog_open(const char *state_dir, enum umbra_catalog_mode mode,
		       struct umbra_catalog **out, struct umbra_error *err)
{
	_cleanup_catalog_ struct umbra_catalog *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return umbra_oom(err);
	c->path = umbra_asprintf("%s/%s", state_dir, UMBRA_CATALOG_NAME);
	if (!c->path)
		return umbra_oom(err);
	r = open_db(c, mode, err);
	if (r == 0 && c->db)
		r = check_schema(c, mode, err);
	if (r < 0)
		return r;
	*out = TAKE_PTR(c);
	return 0;
}

struct umbra_catalog *umbra_catalog_close(struct umbra_catalog *c)
{
	if (c) {
		sqlite3_close(c->db);
		free(c->path);
		free(c);
	}
	return NULL;
}

static int taken(struct umbra_catalog *c, const char *sql, int64_t value, bool *out,
		 struct umbra_error *err)
{
	int64_t n;
	int r = query_int(c, sql, value, 0, &n, err);

	*out = n > 0;
	return r;
}

static int free_second(struct umbra_catalog *c, int64_t *time, struct umbra_error *err)
{
	bool used;
	int r;

	for (;; (*time)++) {
		r = taken(c, "SELECT count(*) FROM sets WHERE time=?", *time, &used, err);
		if (r < 0 || !used)
			return r;
	}
}

static int set_last_index(struct umbra_catalog *c, int64_t value, struct umbra_error *err)
{
	_cleanup_stmt_ sqlite3_stmt *s = NULL;
	int r = prepare(c, "UPDATE last_index SET value=?", &s, err, "numbering a copy");

	if (r < 0)
		return r;
	sqlite3_bind_int64(s, 1, value);
	return run(c, s, err, "numbering a copy");
}

/* The next index after the last given one, around the end, that no copy has. */
static int next_index(struct umbra_catalog *c, unsigned int *out, struct umbra_error *err)
{
	int64_t last, i, candidate;
	bool used;
	int r = query_int(c, "SELECT value FROM last_index", 0, 0, &last, err);

	for (i = 1; r == 0 && i <= UMBRA_INDEX_MAX; i++) {
		candidate = (last + i - 1) % UMBRA_INDEX_MAX + 1;
		r = taken(c, "SELECT count(*) FROM shadows WHERE idx=?", candidate, &used, err);
		if (r < 0 || used)
			continue;
		*out = (unsigned int)candidate;
		return set_last_index(c, candidate, err);
	}
	return r < 0 ? r
		     : umbra_fail(err, UMBRA_E_NO_SPACE, ENOSPC,
				  "there are %d shadow copies already, no more can be numbered: "
				  "delete old sets",
				  UMBRA_INDEX_MAX);
}

static void bind_path(sqlite3_stmt *s, int i, const char *bytes)
{
	if (bytes)
		sqlite3_bind_blob(s, i, bytes, (int)strlen(bytes), SQLITE_STATIC);
	else
		sqlite3_bind_null(s, i);
}

static int bind_json(sqlite3_stmt *s, int i, json_t *doc)
{
	char *text = doc ? json_dumps(doc, JSON_COMPACT) : NULL;

	json_decref(doc);
	if (!text)
		return -ENOMEM;
	return sqlite3_bind_text(s, i, text, -1, free) == SQLITE_OK ? 0 : -ENOMEM;
}

static int write_set(struct umbra_catalog *c, const struct umbra_set *set, const char *sql,
		     struct umbra_error *err)
{
	_cleanup_stmt_ sqlite3_stmt *s = NULL;
	int r = prepare(c, sql, &s, err, "recording a set");

	if (r < 0)
		return r;
	sqlite3_bind_text(s, 1, set->id.s, -1, SQLITE_STATIC);
	sqlite3_bind_int64(s, 2, set->time);
	sqlite3_bind_text(s, 3, umbra_set_state_name(set->state), -1, SQLITE_STATIC);
	sqlite3_bind_text(s, 4, umbra_label_name(set->label), -1, SQLITE_STATIC);
	bind_path(s, 5, set->comment);
	sqlite3_bind_int64(s, 6, set->freeze_us);
	sqlite3_bind_int64(s, 7, set->hold_us);
	sqlite3_bind_int64(s, 8, set->skew_us);
	if (bind_json(s, 9, umbra_set_detail(set)) < 0)
		return umbra_oom(err);
	if (set->seq > 0)
		sqlite3_bind_int64(s, 10, set->seq);
	return run(c, s, err, "recording a set");
}

static int write_shadow(struct umbra_catalog *c, sqlite3_stmt *s, const struct umbra_set *set,
			const struct umbra_shadow *shadow, struct umbra_error *err)
{
	sqlite3_bind_text(s, 1, shadow->id.s, -1, SQLITE_STATIC);
	sqlite3_bind_int64(s, 2, set->seq);
	sqlite3_bind_int64(s, 3, shadow->index);
	bind_path(s, 4, shadow->path);
	sqlite3_bind_text(s, 5, shadow->provider, -1, SQLITE_STATIC);
	bind_path(s, 6, shadow->volume);
	sqlite3_bind_text(s, 7, umbra_label_name(shadow->label), -1, SQLITE_STATIC);
	if (bind_json(s, 8, umbra_shadow_detail(shadow)) < 0)
		return umbra_oom(err);
	return run(c, s, err, "recording a shadow copy");
}

static int write_shadows(struct umbra_catalog *c, const struct umbra_set *set, const char *sql,
			 struct umbra_error *err)
{
	_cleanup_stmt_ sqlite3_stmt *s = NULL;
	size_t i;
	int r = prepare(c, sql, &s, err, "recording a shadow copy");

	for (i = 0; r == 0 && i < set->n_shadows; i++)
		r = write_shadow(c, s, set, set->shadows[i], err);
	return r;
}

static const char insert_set[] =
	"INSERT INTO sets(id,time,state,consistency,comment,freeze_us,hold_us,skew_us,detail,seq) "
	"VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10)";
static const char insert_shadow[] =
	"INSERT INTO shadows(id,set_seq,idx,path,provider,volume,consistency,detail) "
	"VALUES(?1,?2,?3,?4,?5,?6,?7,?8)";

static int insert(struct umbra_catalog *c, struct umbra_set *set, struct umbra_error *err)
{
	bool used = false;
	size_t i;
	int r = free_second(c, &set->time, err);

	if (r == 0)
		r = write_set(c, set, insert_set, err);
	if (r < 0)
		return r;
	if (set->seq == 0)
		set->seq = sqlite3_last_insert_rowid(c->db);
	for (i = 0; i < set->n_shadows; i++) {
		if (set->shadows[i]->index > 0)
			r = taken(c, "SELECT count(*) FROM shadows WHERE idx=?",
				  set->shadows[i]->index, &used, err);
		if (r == 0 && (set->shadows[i]->index == 0 || used))
			r = next_index(c, &set->shadows[i]->index, err);
		else if (r == 0)
			r = set_last_index(c, set->shadows[i]->index, err);
		if (r < 0)
			return r;
	}
	return write_shadows(c, set, insert_shadow, err);
}

int umbra_catalog_add(struct umbra_catalog *c, struct umbra_set *set, struct umbra_error *err)
{
	size_t i;
	int r = begin(c, err);

	if (r < 0)
		return r;
	set->seq = 0;
	for (i = 0; i < set->n_shadows; i++)
		set->shadows[i]->index = 0;
	return end(c, insert(c, set, err), err);
}

int umbra_catalog_restore(struct umbra_catalog *c, struct umbra_set *set, struct umbra_error *err)
{
	bool used = false;
	int r = begin(c, err);

	if (r < 0)
		return r;
	if (set->seq > 0)
		r = taken(c, "SELECT count(*) FROM sets WHERE seq=?", set->seq, &used, err);
	if (used)
		set->seq = 0;
	return end(c, r < 0 ? r : insert(c, set, err), err);
}

int umbra_catalog_update(struct umbra_catalog *c, const struct umbra_set *set,
			 struct umbra_error *err)
{
	int r = begin(c, err);

	if (r < 0)
		return r;
	r = write_set(c, set,
		      "UPDATE sets SET time=?2,state=?3,consistency=?4,comment=?5,freeze_us=?6,"
		      "hold_us=?7,skew_us=?8,detail=?9 WHERE id=?1 AND seq=?10",
		      err);
	if (r == 0 && sqlite3_changes(c->db) == 0)
		r = umbra_fail(err, UMBRA_E_NOT_FOUND, ENOENT, "set '%s' is not in the catalog",
			       set->id.s);
	if (r == 0)
		r = write_shadows(c, set,
				  "UPDATE shadows SET idx=?3,path=?4,provider=?5,volume=?6,"
				  "consistency=?7,detail=?8 WHERE id=?1 AND set_seq=?2",
				  err);
	return end(c, r, err);
}

int umbra_catalog_set_state(struct umbra_catalog *c, const struct umbra_id *id,
			    enum umbra_set_state state, struct umbra_error *err)
{
	_cleanup_stmt_ sqlite3_stmt *s = NULL;
	int r = prepare(c, "UPDATE sets SET state=? WHERE id=?", &s, err, "marking a set");

	if (r < 0)
		return r;
	sqlite3_bind_text(s, 1, umbra_set_state_name(state), -1, SQLITE_STATIC);
	sqlite3_bind_text(s, 2, id->s, -1, SQLITE_STATIC);
	r = run(c, s, err, "marking a set");
	if (r == 0 && sqlite3_changes(c->db) == 0)
		return umbra_fail(err, UMBRA_E_NOT_FOUND, ENOENT, "set '%s' is not in the catalog",
				  id->s);
	return r;
}

int umbra_catalog_remove(struct umbra_catalog *c, const struct umbra_id *id,
			 struct umbra_error *err)
{
	_cleanup_stmt_ sqlite3_stmt *s = NULL;
	int r = prepare(c, "DELETE FROM sets WHERE id=?", &s, err, "removing a set");

	if (r < 0)
		return r;
	sqlite3_bind_text(s, 1, id->s, -1, SQLITE_STATIC);
	return run(c, s, err, "removing a set");
}

static int bad_row(const struct umbra_catalog *c, struct umbra_error *err)
{
	return umbra_fail(
		err, UMBRA_E_DAMAGED, EUCLEAN,
		"the catalog '%s' has a record that umbra did not write; the shadow copies "
		"are still there: 'umbra check --rebuild' makes it anew from them",
		c->path);
}

static char *column_dup(sqlite3_stmt *s, int i)
{
	const char *p = sqlite3_column_blob(s, i);
	int n = sqlite3_column_bytes(s, i);

	return strndup(p ? p : "", (size_t)n);
}

static int column_json(sqlite3_stmt *s, int i, json_t **out)
{
	const char *text = (const char *)sqlite3_column_text(s, i);

	return text ? umbra_doc_parse(text, strlen(text), "detail", out, NULL) : -EBADMSG;
}

static int read_set(sqlite3_stmt *s, enum umbra_load how, struct umbra_set **out)
{
	_cleanup_set_ struct umbra_set *set = calloc(1, sizeof(*set));
	_cleanup_json_ json_t *detail = NULL;
	const char *id = (const char *)sqlite3_column_text(s, 1);
	int r;

	if (!set)
		return -ENOMEM;
	if (!id || !umbra_id_valid(id))
		return -EBADMSG;
	memcpy(set->id.s, id, sizeof(set->id.s));
	set->seq = sqlite3_column_int64(s, 0);
	set->time = sqlite3_column_int64(s, 2);
	if (umbra_set_state_parse((const char *)sqlite3_column_text(s, 3), &set->state) < 0 ||
	    umbra_label_parse((const char *)sqlite3_column_text(s, 4), &set->label) < 0)
		return -EBADMSG;
	if (sqlite3_column_type(s, 5) != SQLITE_NULL && !(set->comment = column_dup(s, 5)))
		return -ENOMEM;
	set->freeze_us = sqlite3_column_int64(s, 6);
	set->hold_us = sqlite3_column_int64(s, 7);
	set->skew_us = sqlite3_column_int64(s, 8);
	if (how == UMBRA_LOAD_FULL) {
		r = column_json(s, 9, &detail);
		if (r == 0)
			r = umbra_set_set_detail(set, detail);
		if (r < 0)
			return r;
	}
	*out = TAKE_PTR(set);
	return 0;
}

static int read_shadow(sqlite3_stmt *s, enum umbra_load how, struct umbra_set *set)
{
	_cleanup_free_ char *path = column_dup(s, 3), *volume = column_dup(s, 5);
	const char *provider = (const char *)sqlite3_column_text(s, 4);
	const char *id = (const char *)sqlite3_column_text(s, 0);
	_cleanup_json_ json_t *detail = NULL;
	int64_t index = sqlite3_column_int64(s, 2);
	struct umbra_shadow *shadow;
	int r = 0;

	if (!path || !volume)
		return -ENOMEM;
	if (!id || !umbra_id_valid(id) || !provider || path[0] != '/' || index < 1 ||
	    index > UMBRA_INDEX_MAX)
		return -EBADMSG;
	shadow = umbra_shadow_known(id, path, provider);
	if (!shadow || umbra_set_add_shadow(set, shadow) < 0)
		return -ENOMEM;
	shadow->index = (unsigned int)index;
	free(shadow->volume);
	shadow->volume = TAKE_PTR(volume);
	if (umbra_label_parse((const char *)sqlite3_column_text(s, 6), &shadow->label) < 0)
		return -EBADMSG;
	shadow->brief = how == UMBRA_LOAD_BRIEF;
	if (!shadow->brief) {
		r = column_json(s, 7, &detail);
		if (r == 0)
			r = umbra_shadow_set_detail(shadow, detail);
	}
	return r;
}

static int list_append(struct umbra_set_list *list, size_t *room, struct umbra_set *set)
{
	struct umbra_set **more;

	if (list->n == *room) {
		*room = *room ? *room * 2 : 64;
		more = reallocarray(list->sets, *room, sizeof(*more));
		if (!more) {
			umbra_set_free(set);
			return -ENOMEM;
		}
		list->sets = more;
	}
	list->sets[list->n++] = set;
	return 0;
}

#define SET_COLUMNS                                                                                \
	"t.seq,t.id,t.time,t.state,t.consistency,t.comment,t.freeze_us,t.hold_us,t.skew_us,"       \
	"t.detail FROM sets t "
#define SHADOW_COLUMNS                                                                             \
	"s.id,s.set_seq,s.idx,s.path,s.provider,s.volume,s.consistency,s.detail FROM shadows s "   \
	"JOIN sets t ON t.seq=s.set_seq "

/* Which sets: a condition on sets t, with at most one parameter. */
struct choice {
	const char *where;
	const char *param;
};

static int prepare_list(struct umbra_catalog *c, const struct choice *which, sqlite3_stmt **sets,
			sqlite3_stmt **shadows, struct umbra_error *err)
{
	_cleanup_free_ char *a = NULL, *b = NULL;
	int r;

	a = umbra_asprintf("SELECT " SET_COLUMNS "WHERE %s ORDER BY t.seq", which->where);
	b = umbra_asprintf("SELECT " SHADOW_COLUMNS "WHERE %s ORDER BY t.seq, s.path",
			   which->where);
	if (!a || !b)
		return umbra_oom(err);
	r = prepare(c, a, sets, err, "listing sets");
	if (r == 0)
		r = prepare(c, b, shadows, err, "listing shadow copies");
	if (r == 0 && which->param) {
		sqlite3_bind_text(*sets, 1, which->param, -1, SQLITE_STATIC);
		sqlite3_bind_text(*shadows, 1, which->param, -1, SQLITE_STATIC);
	}
	return r;
}

/* Both queries are ordered by seq, so one pass joins them. */
static int load(struct umbra_catalog *c, const struct choice *which, enum umbra_load how,
		struct umbra_set_list *out, struct umbra_error *err)
{
	_cleanup_stmt_ sqlite3_stmt *sets = NULL, *shadows = NULL;
	_cleanup_set_list_ struct umbra_set_list list = {0};
	struct umbra_set *set;
	size_t room = 0, at = 0;
	int r = prepare_list(c, which, &sets, &shadows, err), rc;

	if (r < 0)
		return r;
	while ((rc = sqlite3_step(sets)) == SQLITE_ROW) {
		r = read_set(sets, how, &set);
		if (r == 0)
			r = list_append(&list, &room, set);
		if (r < 0)
			return r == -ENOMEM ? umbra_oom(err) : bad_row(c, err);
	}
	if (rc != SQLITE_DONE)
		return db_fail(c, rc, err, "listing sets");
	while ((rc = sqlite3_step(shadows)) == SQLITE_ROW) {
		while (at < list.n && list.sets[at]->seq < sqlite3_column_int64(shadows, 1))
			at++;
		if (at == list.n || list.sets[at]->seq != sqlite3_column_int64(shadows, 1))
			return bad_row(c, err);
		r = read_shadow(shadows, how, list.sets[at]);
		if (r < 0)
			return r == -ENOMEM ? umbra_oom(err) : bad_row(c, err);
	}
	if (rc != SQLITE_DONE)
		return db_fail(c, rc, err, "listing shadow copies");
	*out = list;
	list = (struct umbra_set_list){0};
	return 0;
}

/* Sets and their copies as of one moment. */
static int load_locked(struct umbra_catalog *c, const struct choice *which, enum umbra_load how,
		       struct umbra_set_list *out, struct umbra_error *err)
{
	int r;

	if (!c->db)
		return 0;
	r = exec(c, "BEGIN", err, "reading");
	if (r < 0)
		return r;
	r = load(c, which, how, out, err);
	sqlite3_exec(c->db, "ROLLBACK", NULL, NULL, NULL);
	return r;
}

int umbra_catalog_load(struct umbra_catalog *c, enum umbra_load how, struct umbra_set_list *out,
		       struct umbra_error *err)
{
	*out = (struct umbra_set_list){0};
	return load_locked(c, &(struct choice){"1", NULL}, how, out, err);
}

int umbra_catalog_load_unfinished(struct umbra_catalog *c, struct umbra_set_list *out,
				  struct umbra_error *err)
{
	*out = (struct umbra_set_list){0};
	return load_locked(c, &(struct choice){"t.state<>'created'", NULL}, UMBRA_LOAD_FULL, out,
			   err);
}

int umbra_catalog_load_one(struct umbra_catalog *c, const char *id, struct umbra_set **out,
			   struct umbra_error *err)
{
	_cleanup_set_list_ struct umbra_set_list list = {0};
	int r = load_locked(c, &(struct choice){"t.id=?", id}, UMBRA_LOAD_FULL, &list, err);

	if (r < 0)
		return r;
	if (list.n == 0)
		return umbra_fail(err, UMBRA_E_NOT_FOUND, ENOENT, "there is no set '%s'", id);
	*out = TAKE_PTR(list.sets[0]);
	return 0;
}

int umbra_catalog_load_shadow(struct umbra_catalog *c, const char *shadow_id,
			      struct umbra_set **out, struct umbra_error *err)
{
	_cleanup_stmt_ sqlite3_stmt *s = NULL;
	_cleanup_free_ char *id = NULL;
	int r, rc = SQLITE_DONE;

	if (c->db) {
		r = prepare(
			c, "SELECT t.id FROM sets t JOIN shadows s ON s.set_seq=t.seq WHERE s.id=?",
			&s, err, "looking for a shadow copy");
		if (r < 0)
			return r;
		sqlite3_bind_text(s, 1, shadow_id, -1, SQLITE_STATIC);
		rc = sqlite3_step(s);
	}
	if (rc == SQLITE_DONE)
		return umbra_fail(err, UMBRA_E_NOT_FOUND, ENOENT, "there is no shadow copy '%s'",
				  shadow_id);
	if (rc != SQLITE_ROW)
		return db_fail(c, rc, err, "looking for a shadow copy");
	id = column_dup(s, 0);
	if (!id)
		return umbra_oom(err);
	sqlite3_reset(s);
	return umbra_catalog_load_one(c, id, out, err);
}

int umbra_catalog_load_previous(struct umbra_catalog *c, const char *path, const char *provider,
				struct umbra_set **out, size_t *count, struct umbra_error *err)
{
	_cleanup_stmt_ sqlite3_stmt *s = NULL;
	_cleanup_free_ char *id = NULL;
	int r, rc;

	r = prepare(c,
		    "SELECT t.id, s.provider=?2 FROM shadows s JOIN sets t ON t.seq=s.set_seq "
		    "WHERE s.path=?1 AND t.state='created' ORDER BY s.set_seq DESC",
		    &s, err, "looking for the previous copy");
	if (r < 0)
		return r;
	bind_path(s, 1, path);
	sqlite3_bind_text(s, 2, provider, -1, SQLITE_STATIC);
	for (*count = 0; (rc = sqlite3_step(s)) == SQLITE_ROW; (*count)++) {
		if (id || !sqlite3_column_int(s, 1))
			continue;
		id = column_dup(s, 0);
		if (!id)
			return umbra_oom(err);
	}
	if (rc != SQLITE_DONE)
		return db_fail(c, rc, err, "looking for the previous copy");
	sqlite3_reset(s);
	*out = NULL;
	return id ? umbra_catalog_load_one(c, id, out, err) : 0;
}

int umbra_catalog_newest_time(struct umbra_catalog *c, int64_t *time, struct umbra_error *err)
{
	return query_int(c, "SELECT max(time) FROM sets", 0, 0, time, err);
}

int umbra_catalog_verify(struct umbra_catalog *c, struct umbra_error *err)
{
	_cleanup_stmt_ sqlite3_stmt *s = NULL;
	const char *text;
	int r, rc;

	if (!c->db)
		return 0;
	r = prepare(c, "PRAGMA integrity_check(1)", &s, err, "checking it");
	if (r < 0)
		return r;
	rc = sqlite3_step(s);
	if (rc != SQLITE_ROW)
		return db_fail(c, rc, err, "checking it");
	text = (const char *)sqlite3_column_text(s, 0);
	if (text && strcmp(text, "ok") == 0)
		return 0;
	return umbra_fail(err, UMBRA_E_DAMAGED, EUCLEAN,
			  "the catalog '%s' is damaged (%s); the shadow copies are still there: "
			  "'umbra check --rebuild' makes it anew from them",
			  c->path, text ? text : "?");
}
