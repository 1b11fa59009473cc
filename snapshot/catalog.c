/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "snapshot/catalog_db.h"
#include "snapshot/document.h"

#define BUSY_MS        10000
#define APPLICATION_ID 0x756d6272 /* "umbr": file(1) and we know our own */

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

static int make_schema(struct umbra_catalog *c, struct umbra_error *err)
{
	_cleanup_free_ char *pragmas = NULL;
	int64_t version;
	int r = umbra_db_begin(c, err);

	if (r < 0)
		return r;
	/* Another process may have made it between our look and our lock. */
	r = umbra_db_int(c, "PRAGMA user_version", 0, 0, &version, err);
	if (r == 0 && version == 0) {
		r = umbra_db_exec(c, schema, err, "making the tables");
		pragmas = umbra_asprintf("PRAGMA application_id=%d; PRAGMA user_version=%d",
					 APPLICATION_ID, UMBRA_CATALOG_VERSION);
		if (r == 0 && !pragmas)
			r = umbra_oom(err);
		if (r == 0)
			r = umbra_db_exec(c, pragmas, err, "making the tables");
	}
	return umbra_db_end(c, r, err);
}

static int check_schema(struct umbra_catalog *c, enum umbra_catalog_mode mode,
			struct umbra_error *err)
{
	int64_t version, id;
	int r = umbra_db_int(c, "PRAGMA user_version", 0, 0, &version, err);

	if (r == 0)
		r = umbra_db_int(c, "PRAGMA application_id", 0, 0, &id, err);
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

static int give(int fd, uid_t uid, gid_t gid)
{
	struct stat st;

	return fstat(fd, &st) == 0 && st.st_uid == uid && st.st_gid == gid ? 0
									   : fchown(fd, uid, gid);
}

/* SQLite gives a journal to the catalog's owner whenever root opens it, also to look whether it is
 * empty: a reader would write, and wait when the filesystem is frozen. */
static void read_without_writing(void)
{
	sqlite3_vfs *vfs = sqlite3_vfs_find(NULL);

	if (vfs && vfs->iVersion >= 3)
		vfs->xSetSystemCall(vfs, "fchown", (sqlite3_syscall_ptr)give);
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
	read_without_writing();
	rc = sqlite3_open_v2(c->path, &c->db, flags, NULL);
	if (rc != SQLITE_OK)
		return umbra_db_fail(c, rc, err, "opening it");
	sqlite3_extended_result_codes(c->db, 1);
	sqlite3_busy_timeout(c->db, BUSY_MS);
	/* Data from disk may be hostile: no triggers or views in it are trusted. */
	sqlite3_db_config(c->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	sqlite3_db_config(c->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
	/* A commit overwrites the journal's header, and syncs that: cheaper than to remove the
	 * journal, and to sync the directory so that it does not come back. */
	return umbra_db_exec(c,
			     "PRAGMA foreign_keys=ON; PRAGMA synchronous=FULL;"
			     "PRAGMA journal_mode=PERSIST; PRAGMA journal_size_limit=1048576",
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
	int r = umbra_db_int(c, sql, value, 0, &n, err);

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

int umbra_catalog_last_index(struct umbra_catalog *c, int64_t *index, struct umbra_error *err)
{
	int64_t value = 0;
	int r = c->db ? umbra_db_int(c, "SELECT value FROM last_index", 0, 0, &value, err) : 0;

	if (r == 0)
		*index = value < 0 || value > UMBRA_INDEX_MAX ? 0 : value;
	return r;
}

int umbra_catalog_set_last_index(struct umbra_catalog *c, int64_t value, struct umbra_error *err)
{
	_cleanup_stmt_ sqlite3_stmt *s = NULL;
	int r = umbra_db_prepare(c, "UPDATE last_index SET value=?", &s, err, "numbering a copy");

	if (r < 0)
		return r;
	sqlite3_bind_int64(s, 1, value);
	return umbra_db_run(c, s, err, "numbering a copy");
}

/* The next index after the last given one, around the end, that no copy has. */
static int next_index(struct umbra_catalog *c, unsigned int *out, struct umbra_error *err)
{
	int64_t last, i, candidate;
	bool used;
	int r = umbra_catalog_last_index(c, &last, err);

	for (i = 1; r == 0 && i <= UMBRA_INDEX_MAX; i++) {
		candidate = (last + i - 1) % UMBRA_INDEX_MAX + 1;
		r = taken(c, "SELECT count(*) FROM shadows WHERE idx=?", candidate, &used, err);
		if (r < 0 || used)
			continue;
		*out = (unsigned int)candidate;
		return umbra_catalog_set_last_index(c, candidate, err);
	}
	return r < 0 ? r
		     : umbra_fail(err, UMBRA_E_NO_SPACE, ENOSPC,
				  "there are %d shadow copies already, no more can be numbered: "
				  "delete old sets",
				  UMBRA_INDEX_MAX);
}

static int write_set(struct umbra_catalog *c, const struct umbra_set *set, const char *sql,
		     struct umbra_error *err)
{
	_cleanup_stmt_ sqlite3_stmt *s = NULL;
	int r = umbra_db_prepare(c, sql, &s, err, "recording a set");

	if (r < 0)
		return r;
	sqlite3_bind_text(s, 1, set->id.s, -1, SQLITE_STATIC);
	sqlite3_bind_int64(s, 2, set->time);
	sqlite3_bind_text(s, 3, umbra_set_state_name(set->state), -1, SQLITE_STATIC);
	sqlite3_bind_text(s, 4, umbra_label_name(set->label), -1, SQLITE_STATIC);
	umbra_db_bind_path(s, 5, set->comment);
	sqlite3_bind_int64(s, 6, set->freeze_us);
	sqlite3_bind_int64(s, 7, set->hold_us);
	sqlite3_bind_int64(s, 8, set->skew_us);
	if (umbra_db_bind_json(s, 9, umbra_set_detail(set)) < 0)
		return umbra_oom(err);
	if (set->seq > 0)
		sqlite3_bind_int64(s, 10, set->seq);
	return umbra_db_run(c, s, err, "recording a set");
}

static int write_shadow(struct umbra_catalog *c, sqlite3_stmt *s, const struct umbra_set *set,
			const struct umbra_shadow *shadow, struct umbra_error *err)
{
	sqlite3_bind_text(s, 1, shadow->id.s, -1, SQLITE_STATIC);
	sqlite3_bind_int64(s, 2, set->seq);
	sqlite3_bind_int64(s, 3, shadow->index);
	umbra_db_bind_path(s, 4, shadow->path);
	sqlite3_bind_text(s, 5, shadow->provider, -1, SQLITE_STATIC);
	umbra_db_bind_path(s, 6, shadow->volume);
	sqlite3_bind_text(s, 7, umbra_label_name(shadow->label), -1, SQLITE_STATIC);
	if (umbra_db_bind_json(s, 8, umbra_shadow_detail(shadow)) < 0)
		return umbra_oom(err);
	return umbra_db_run(c, s, err, "recording a shadow copy");
}

static int write_shadows(struct umbra_catalog *c, const struct umbra_set *set, const char *sql,
			 struct umbra_error *err)
{
	_cleanup_stmt_ sqlite3_stmt *s = NULL;
	size_t i;
	int r = umbra_db_prepare(c, sql, &s, err, "recording a shadow copy");

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
			r = umbra_catalog_set_last_index(c, set->shadows[i]->index, err);
		if (r < 0)
			return r;
	}
	return write_shadows(c, set, insert_shadow, err);
}

int umbra_catalog_add(struct umbra_catalog *c, struct umbra_set *set, struct umbra_error *err)
{
	size_t i;
	int r = umbra_db_begin(c, err);

	if (r < 0)
		return r;
	set->seq = 0;
	for (i = 0; i < set->n_shadows; i++)
		set->shadows[i]->index = 0;
	return umbra_db_end(c, insert(c, set, err), err);
}

int umbra_catalog_restore(struct umbra_catalog *c, struct umbra_set *set, struct umbra_error *err)
{
	bool used = false;
	int r = umbra_db_begin(c, err);

	if (r < 0)
		return r;
	if (set->seq > 0)
		r = taken(c, "SELECT count(*) FROM sets WHERE seq=?", set->seq, &used, err);
	if (used)
		set->seq = 0;
	return umbra_db_end(c, r < 0 ? r : insert(c, set, err), err);
}

int umbra_catalog_update(struct umbra_catalog *c, const struct umbra_set *set,
			 struct umbra_error *err)
{
	int r = umbra_db_begin(c, err);

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
	return umbra_db_end(c, r, err);
}

int umbra_catalog_set_state(struct umbra_catalog *c, const struct umbra_id *id,
			    enum umbra_set_state state, struct umbra_error *err)
{
	_cleanup_stmt_ sqlite3_stmt *s = NULL;
	int r = umbra_db_prepare(c, "UPDATE sets SET state=? WHERE id=?", &s, err, "marking a set");

	if (r < 0)
		return r;
	sqlite3_bind_text(s, 1, umbra_set_state_name(state), -1, SQLITE_STATIC);
	sqlite3_bind_text(s, 2, id->s, -1, SQLITE_STATIC);
	r = umbra_db_run(c, s, err, "marking a set");
	if (r == 0 && sqlite3_changes(c->db) == 0)
		return umbra_fail(err, UMBRA_E_NOT_FOUND, ENOENT, "set '%s' is not in the catalog",
				  id->s);
	return r;
}

int umbra_catalog_remove_shadow(struct umbra_catalog *c, const struct umbra_id *shadow,
				struct umbra_error *err)
{
	_cleanup_stmt_ sqlite3_stmt *s = NULL;
	int r = umbra_db_prepare(c, "DELETE FROM shadows WHERE id=?", &s, err,
				 "removing a shadow copy");

	if (r < 0)
		return r;
	sqlite3_bind_text(s, 1, shadow->s, -1, SQLITE_STATIC);
	return umbra_db_run(c, s, err, "removing a shadow copy");
}

int umbra_catalog_remove(struct umbra_catalog *c, const struct umbra_id *id,
			 struct umbra_error *err)
{
	_cleanup_stmt_ sqlite3_stmt *s = NULL;
	int r = umbra_db_prepare(c, "DELETE FROM sets WHERE id=?", &s, err, "removing a set");

	if (r < 0)
		return r;
	sqlite3_bind_text(s, 1, id->s, -1, SQLITE_STATIC);
	return umbra_db_run(c, s, err, "removing a set");
}
