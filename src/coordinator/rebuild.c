/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/util.h"
#include "coordinator/check.h"
#include "coordinator/reconcile.h"
#include "snapshot/document.h"

#define WORK_DIR "rebuild"
#define JOURNAL  UMBRA_CATALOG_NAME "-journal"
#define OLD      UMBRA_CATALOG_NAME ".old"

/* The sets found so far; a record is about one member, so sets grow together. */
struct gathering {
	struct umbra_set_list list;
	size_t *members; /* how many each set had */
	json_t *problems;
};

static int problem(json_t *list, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static int problem(json_t *list, const char *fmt, ...)
{
	struct umbra_error shown; /* makes it printable */
	char raw[UMBRA_ERROR_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(raw, sizeof(raw), fmt, ap);
	va_end(ap);
	umbra_fail(&shown, UMBRA_E_DAMAGED, 0, "%s", raw);
	return json_array_append_new(list, json_string(shown.text)) < 0 ? -ENOMEM : 0;
}

static bool has_shadow(const struct umbra_set *set, const char *id)
{
	size_t i;

	for (i = 0; i < set->n_shadows; i++)
		if (strcmp(set->shadows[i]->id.s, id) == 0)
			return true;
	return false;
}

/* Takes the one member of found over into the set of the same id, or found as a whole. */
static int merge(struct gathering *g, struct umbra_set *found, size_t members, const char *where)
{
	_cleanup_set_ struct umbra_set *owned = found;
	struct umbra_set **more;
	size_t *counts, i;

	for (i = 0; i < g->list.n; i++) {
		if (strcmp(g->list.sets[i]->id.s, found->id.s) != 0)
			continue;
		if (has_shadow(g->list.sets[i], found->shadows[0]->id.s))
			return problem(g->problems, "'%s' is a second record of shadow copy '%s'",
				       where, found->shadows[0]->id.s);
		found->n_shadows = 0;
		return umbra_set_add_shadow(g->list.sets[i], found->shadows[0]);
	}
	more = reallocarray(g->list.sets, g->list.n + 1, sizeof(*more));
	if (!more)
		return -ENOMEM;
	g->list.sets = more;
	counts = reallocarray(g->members, g->list.n + 1, sizeof(*counts));
	if (!counts)
		return -ENOMEM;
	g->members = counts;
	g->members[g->list.n] = members;
	g->list.sets[g->list.n++] = TAKE_PTR(owned);
	return 0;
}

static int gather(void *arg, const json_t *record, const char *where)
{
	struct gathering *g = arg;
	struct umbra_error why = {0};
	struct umbra_set *set;
	size_t members;
	int r = umbra_shadow_record_parse(record, &set, NULL, &members, &why);

	if (r == -ENOMEM)
		return r;
	if (r < 0)
		return problem(g->problems, "'%s' is left out: %s", where, why.text);
	return merge(g, set, members, where);
}

static int by_seq(const void *a, const void *b)
{
	const struct umbra_set *x = *(struct umbra_set *const *)a;
	const struct umbra_set *y = *(struct umbra_set *const *)b;

	if (x->seq != y->seq)
		return x->seq < y->seq ? -1 : 1;
	return x->time < y->time ? -1 : x->time > y->time;
}

static int name_incomplete(struct gathering *g)
{
	char token[UMBRA_TOKEN_LEN + 1];
	size_t i;
	int r = 0;

	for (i = 0; r == 0 && i < g->list.n; i++) {
		if (g->list.sets[i]->n_shadows == g->members[i])
			continue;
		umbra_token_format(g->list.sets[i]->time, token);
		r = problem(g->problems, "set %s: only %zu of its %zu shadow copies were found",
			    token, g->list.sets[i]->n_shadows, g->members[i]);
	}
	return r;
}

static bool was_found(const struct gathering *g, const struct umbra_set *set)
{
	size_t i;

	for (i = 0; i < g->list.n; i++)
		if (strcmp(g->list.sets[i]->id.s, set->id.s) == 0)
			return true;
	return false;
}

/* Providers find only what is on a mounted filesystem. */
static int name_lost(const struct gathering *g, const struct umbra_set_list *old)
{
	char token[UMBRA_TOKEN_LEN + 1];
	size_t i;
	int r = 0;

	for (i = 0; r == 0 && i < old->n; i++) {
		if (was_found(g, old->sets[i]))
			continue;
		umbra_token_format(old->sets[i]->time, token);
		r = problem(
			g->problems,
			"set %s of '%s' was in the old catalog, but no copy of it was found: if "
			"its filesystem is not mounted, mount it and rebuild again",
			token, old->sets[i]->shadows[0]->path);
	}
	return r;
}

static int gather_all(struct umbra_session *s, struct gathering *g, struct umbra_error *err)
{
	const struct umbra_provider *const *p;
	size_t n, i;
	int r = 0;

	p = umbra_providers(&n);
	for (i = 0; r == 0 && i < n; i++) {
		struct umbra_error why = {0};

		r = p[i]->scan(umbra_engine_state_fd(s->engine), umbra_engine_state_dir(s->engine),
			       gather, g, &why);
		if (r < 0)
			/* A catalog without a provider's copies would lose them from sight. */
			return umbra_fail(err, why.code, r, "provider '%s': %s", p[i]->name,
					  why.text[0] ? why.text : strerror(-r));
	}
	if (name_incomplete(g) < 0)
		return umbra_oom(err);
	if (g->list.n > 1)
		qsort(g->list.sets, g->list.n, sizeof(struct umbra_set *), by_seq);
	return 0;
}

static int fill_catalog(struct umbra_session *s, const char *work, const struct gathering *g,
			struct umbra_error *err)
{
	_cleanup_catalog_ struct umbra_catalog *catalog = NULL;
	size_t i;
	int r = umbra_catalog_open(work, UMBRA_CATALOG_WRITE, &catalog, err);

	for (i = 0; r == 0 && i < g->list.n; i++) {
		r = umbra_catalog_restore(catalog, g->list.sets[i], err);
		if (r == 0)
			r = umbra_watch_tick(&s->watch, NULL, err);
	}
	return r;
}

/* The old catalog stays as OLD; its journal must not be applied to the new one. */
static int swap(int state_fd, int work_fd, const char *dir, struct umbra_error *err)
{
	if (unlinkat(state_fd, OLD, 0) < 0 && errno != ENOENT)
		return umbra_fail_errno(err, errno, "cannot remove '%s/%s'", dir, OLD);
	if (linkat(state_fd, UMBRA_CATALOG_NAME, state_fd, OLD, 0) < 0 && errno != ENOENT)
		return umbra_fail_errno(err, errno, "cannot keep the old catalog as '%s/%s'", dir,
					OLD);
	if (unlinkat(state_fd, JOURNAL, 0) < 0 && errno != ENOENT)
		return umbra_fail_errno(err, errno, "cannot remove '%s/%s'", dir, JOURNAL);
	if (fsync(state_fd) < 0 ||
	    renameat(work_fd, UMBRA_CATALOG_NAME, state_fd, UMBRA_CATALOG_NAME) < 0 ||
	    fsync(state_fd) < 0)
		return umbra_fail_errno(err, errno, "cannot put the new catalog in place in '%s'",
					dir);
	return 0;
}

static int empty_work(int state_fd, int *fd_out, struct umbra_error *err)
{
	_cleanup_close_ int fd = umbra_open_dir_make(state_fd, WORK_DIR, 0700);

	if (fd < 0 || (unlinkat(fd, UMBRA_CATALOG_NAME, 0) < 0 && errno != ENOENT) ||
	    (unlinkat(fd, JOURNAL, 0) < 0 && errno != ENOENT))
		return umbra_fail_errno(err, fd < 0 ? fd : errno,
					"cannot make room for the new catalog");
	*fd_out = TAKE_FD(fd);
	return 0;
}

/*
 * Only the old catalog knows what was half-made: it has no record, and nobody would find it again.
 * Where the catalog can still be read that is undone first. *old: what it has then.
 */
static int undo_unfinished(struct umbra_session *s, json_t *repaired, struct umbra_set_list *old,
			   struct umbra_error *err)
{
	struct umbra_engine *without = s->engine, *whole;
	struct umbra_error why = {0};
	int r;

	if (umbra_engine_open(umbra_engine_state_dir(s->engine), UMBRA_CATALOG_READ, &whole, NULL) <
	    0)
		return 0;
	s->engine = whole;
	r = umbra_catalog_verify(umbra_engine_catalog(whole), NULL);
	if (r == 0)
		r = umbra_reconcile(s, repaired, &why);
	if (r == 0)
		r = umbra_catalog_load(umbra_engine_catalog(whole), UMBRA_LOAD_BRIEF, old, &why);
	s->engine = without;
	umbra_engine_close(whole);
	if (r != -ECANCELED && r != -ENOMEM)
		return 0; /* damaged: what else is this for */
	return umbra_fail(err, why.code, r, "%s", why.text);
}

int umbra_rebuild(struct umbra_session *s, json_t *problems, json_t *repaired, size_t *sets,
		  struct umbra_error *err)
{
	_cleanup_set_list_ struct umbra_set_list old = {0};
	struct gathering g = {.problems = problems};
	int state_fd = umbra_engine_state_fd(s->engine);
	const char *dir = umbra_engine_state_dir(s->engine);
	_cleanup_free_ char *work = umbra_asprintf("%s/%s", dir, WORK_DIR);
	_cleanup_close_ int work_fd = -1;
	int r;

	r = undo_unfinished(s, repaired, &old, err);
	s->phase = "rebuilding";
	if (r == 0)
		r = work ? empty_work(state_fd, &work_fd, err) : umbra_oom(err);
	if (r == 0)
		r = gather_all(s, &g, err);
	if (r == 0 && name_lost(&g, &old) < 0)
		r = umbra_oom(err);
	if (r == 0)
		r = fill_catalog(s, work, &g, err);
	if (r == 0)
		r = swap(state_fd, work_fd, dir, err);
	if (r == 0 && json_array_append_new(
			      repaired, json_sprintf("the catalog was made anew with %zu set(s)",
						     g.list.n)) < 0)
		r = umbra_oom(err);
	unlinkat(state_fd, WORK_DIR, AT_REMOVEDIR);
	*sets = g.list.n;
	umbra_set_list_finish(&g.list);
	free(g.members);
	if (r == 0)
		umbra_session_announce(s);
	return r;
}
