/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reading sets out of the catalog. */
#include <string.h>

#include "snapshot/catalog_db.h"
#include "snapshot/document.h"

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
	r = umbra_db_prepare(c, a, sets, err, "listing sets");
	if (r == 0)
		r = umbra_db_prepare(c, b, shadows, err, "listing shadow copies");
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
		return umbra_db_fail(c, rc, err, "listing sets");
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
		return umbra_db_fail(c, rc, err, "listing shadow copies");
	for (at = 0; at < list.n; at++)
		if (list.sets[at]->n_shadows == 0) /* an index has lost them */
			return bad_row(c, err);
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
	r = umbra_db_exec(c, "BEGIN", err, "reading");
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
		r = umbra_db_prepare(
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
		return umbra_db_fail(c, rc, err, "looking for a shadow copy");
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

	r = umbra_db_prepare(
		c,
		"SELECT t.id, s.provider=?2 FROM shadows s JOIN sets t ON t.seq=s.set_seq "
		"WHERE s.path=?1 AND t.state='created' ORDER BY s.set_seq DESC",
		&s, err, "looking for the previous copy");
	if (r < 0)
		return r;
	umbra_db_bind_path(s, 1, path);
	sqlite3_bind_text(s, 2, provider, -1, SQLITE_STATIC);
	for (*count = 0; (rc = sqlite3_step(s)) == SQLITE_ROW; (*count)++) {
		if (id || !sqlite3_column_int(s, 1))
			continue;
		id = column_dup(s, 0);
		if (!id)
			return umbra_oom(err);
	}
	if (rc != SQLITE_DONE)
		return umbra_db_fail(c, rc, err, "looking for the previous copy");
	sqlite3_reset(s);
	*out = NULL;
	return id ? umbra_catalog_load_one(c, id, out, err) : 0;
}

int umbra_catalog_newest_time(struct umbra_catalog *c, int64_t *time, struct umbra_error *err)
{
	return umbra_db_int(c, "SELECT max(time) FROM sets", 0, 0, time, err);
}

int umbra_catalog_verify(struct umbra_catalog *c, struct umbra_error *err)
{
	_cleanup_stmt_ sqlite3_stmt *s = NULL;
	const char *text;
	int r, rc;

	if (!c->db)
		return 0;
	r = umbra_db_prepare(c, "PRAGMA integrity_check(1)", &s, err, "checking it");
	if (r < 0)
		return r;
	rc = sqlite3_step(s);
	if (rc != SQLITE_ROW)
		return umbra_db_fail(c, rc, err, "checking it");
	text = (const char *)sqlite3_column_text(s, 0);
	if (text && strcmp(text, "ok") == 0)
		return 0;
	return umbra_fail(err, UMBRA_E_DAMAGED, EUCLEAN,
			  "the catalog '%s' is damaged (%s); the shadow copies are still there: "
			  "'umbra check --rebuild' makes it anew from them",
			  c->path, text ? text : "?");
}
