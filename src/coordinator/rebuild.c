/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/fault.h"
#include "common/text.h"
#include "common/util.h"
#include "coordinator/check.h"
#include "coordinator/gather.h"
#include "coordinator/reconcile.h"
#include "coordinator/report.h"
#include "snapshot/conditions.h"
#include "snapshot/forgotten.h"

#define WORK_DIR "rebuild"
#define JOURNAL  UMBRA_CATALOG_NAME "-journal"
#define OLD      UMBRA_CATALOG_NAME ".old"

static int fill_catalog(struct umbra_session *s, const char *work, const struct umbra_gathering *g,
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
	/* A mounted tree may still know copies that are gone by their indexes. */
	if (r == 0 && g->old->last_index > 0)
		r = umbra_catalog_set_last_index(catalog, g->old->last_index, err);
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
	    fsync(state_fd) < 0 || unlinkat(work_fd, JOURNAL, 0) < 0)
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
 * Where the old catalog can still be read, what it knows to be half-made is undone first, and the
 * rest of it serves to carry over what providers cannot tell.
 */
static int read_old(struct umbra_session *s, json_t *repaired, struct umbra_old *old,
		    struct umbra_error *err)
{
	struct umbra_engine *without = s->engine, *whole;
	struct umbra_error why = {0};
	int r;

	if (umbra_engine_open(umbra_engine_state_dir(s->engine), UMBRA_CATALOG_READ, &whole, NULL) <
	    0)
		return 0;
	s->engine = whole;
	umbra_catalog_last_index(umbra_engine_catalog(whole), &old->last_index, NULL);
	r = umbra_catalog_verify(umbra_engine_catalog(whole), NULL);
	if (r == 0)
		r = umbra_reconcile(s, repaired, &why);
	if (r == 0)
		r = umbra_catalog_load(umbra_engine_catalog(whole), UMBRA_LOAD_FULL, &old->list,
				       &why);
	s->engine = without;
	umbra_engine_close(whole);
	if (r != -ECANCELED && r != -ENOMEM)
		return 0; /* damaged: what else is this for */
	return umbra_fail(err, why.code, r, "%s", why.text);
}

static int remove_one(struct umbra_session *s, const struct umbra_rubbish *one,
		      struct umbra_error *err)
{
	int state_fd = umbra_engine_state_fd(s->engine), r;

	r = one->forgotten
		    ? one->provider->remove(state_fd, one->forgotten->shadows[0], &s->watch, err)
		    : one->provider->discard(state_fd, umbra_engine_state_dir(s->engine), one->id.s,
					     &s->watch, err);
	if (r == 0) {
		umbra_fault("rebuild.removed"); /* too late to fail */
		umbra_forgotten_drop(state_fd, one->id.s);
		umbra_conditions_drop(state_fd, one->id.s);
	}
	return r;
}

static int remove_rubbish(struct umbra_session *s, const struct umbra_gathering *g,
			  json_t *repaired, struct umbra_error *err)
{
	size_t i;
	int r, said;

	for (i = 0; i < g->n_rubbish; i++) {
		struct umbra_error why = {0};

		r = remove_one(s, &g->rubbish[i], &why);
		if (r == -ECANCELED || r == -ENOMEM)
			return umbra_fail(err, why.code, r, "%s", why.text);
		said = r < 0 ? umbra_report(g->problems, "'%s' cannot be removed now: %s",
					    g->rubbish[i].where, why.text)
			     : umbra_report(repaired,
					    "'%s', the rest of a shadow copy, was removed",
					    g->rubbish[i].where);
		if (said < 0)
			return umbra_oom(err);
	}
	return 0;
}

static size_t count_created(const struct umbra_set_list *list)
{
	size_t i, n = 0;

	for (i = 0; i < list->n; i++)
		n += list->sets[i]->state == UMBRA_SET_CREATED;
	return n;
}

static int make_catalog(struct umbra_session *s, struct umbra_gathering *g, struct umbra_error *err)
{
	int state_fd = umbra_engine_state_fd(s->engine);
	const char *dir = umbra_engine_state_dir(s->engine);
	_cleanup_free_ char *work = umbra_asprintf("%s/%s", dir, WORK_DIR);
	_cleanup_close_ int work_fd = -1;
	int r;

	r = work ? empty_work(state_fd, &work_fd, err) : umbra_oom(err);
	if (r == 0)
		r = umbra_gather(s, g, err);
	if (r == 0)
		r = fill_catalog(s, work, g, err);
	if (r == 0)
		r = umbra_fault_fail("rebuild.filled", err);
	if (r == 0)
		r = swap(state_fd, work_fd, dir, err);
	unlinkat(state_fd, WORK_DIR, AT_REMOVEDIR);
	return r;
}

int umbra_rebuild(struct umbra_session *s, json_t *problems, json_t *repaired, size_t *sets,
		  struct umbra_error *err)
{
	struct umbra_old old = {0};
	struct umbra_gathering g = {.problems = problems, .old = &old};
	int r = read_old(s, repaired, &old, err);

	s->phase = "rebuilding";
	if (r == 0)
		r = make_catalog(s, &g, err);
	if (r == 0) {
		umbra_fault("rebuild.swapped"); /* too late to fail */
		*sets = count_created(&g.list);
		umbra_session_announce(s);
		if (umbra_report(repaired, "the catalog was made anew with %s",
				 UMBRA_COUNT(*sets, "set", "sets")) < 0)
			r = umbra_oom(err);
	}
	if (r == 0)
		r = remove_rubbish(s, &g, repaired, err);
	if (r == 0)
		r = umbra_check_areas(s, problems, repaired, err);
	umbra_gathering_finish(&g);
	umbra_set_list_finish(&old.list);
	return r;
}
