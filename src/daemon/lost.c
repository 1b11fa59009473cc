/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/lost.h"

#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/log.h"
#include "common/token.h"
#include "coordinator/client.h"
#include "snapshot/engine.h"

#define MAX      1024 /* more are not waited for: the copy says so itself when it is opened */
#define AGAIN_US 500000

enum outcome { SETTLED, NOT_NOW, FAILED };

/* What whoever takes this process' place has to know. Those that were settled stay, as a set goes
 * with the last of its copies. */
struct list {
	size_t n, settled;
	struct umbra_id ids[MAX];
};

struct umbra_lost {
	char *state_dir;
	struct list *list;
	pid_t child;  /* deletes sets of the first of the list; 0: there is none */
	size_t asked; /* so many */
	int64_t asked_us;
	bool complained;
};

struct umbra_lost *umbra_lost_new(const char *state_dir)
{
	struct umbra_lost *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->list = mmap(NULL, sizeof(*l->list), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		       -1, 0);
	if (l->list == MAP_FAILED)
		l->list = NULL;
	l->state_dir = strdup(state_dir);
	return l->list && l->state_dir ? l : umbra_lost_free(l);
}

struct umbra_lost *umbra_lost_free(struct umbra_lost *l)
{
	if (l) {
		if (l->list)
			munmap(l->list, sizeof(*l->list));
		free(l->state_dir);
		free(l);
	}
	return NULL;
}

static void make_room(struct list *list)
{
	size_t gone = (list->settled + 1) / 2;

	memmove(list->ids, list->ids + gone, (list->n - gone) * sizeof(*list->ids));
	list->n -= gone;
	list->settled -= gone;
}

void umbra_lost_add(struct umbra_lost *l, const struct umbra_id *shadow, const char *why)
{
	umbra_log_warning("shadow copy %s is gone: %s", shadow->s, why);
	if (l->list->n == MAX && l->child <= 0)
		make_room(l->list);
	if (l->list->n < MAX)
		l->list->ids[l->list->n++] = *shadow;
}

static bool is_lost(const struct umbra_lost *l, const char *id)
{
	size_t i;

	for (i = 0; i < l->asked; i++)
		if (strcmp(l->list->ids[i].s, id) == 0)
			return true;
	return false;
}

/* Has the set lost all its copies? */
static bool all_lost(const struct umbra_lost *l, const struct umbra_set *set)
{
	size_t i;

	for (i = 0; i < set->n_shadows; i++)
		if (!is_lost(l, set->shadows[i]->id.s))
			return false;
	return true;
}

static int delete_sets(const struct umbra_lost *l, const struct umbra_id *sets, size_t n,
		       struct umbra_error *err)
{
	_cleanup_coordinator_ struct umbra_coordinator *c = NULL;
	_cleanup_json_ json_t *warnings = NULL;
	int r;

	if (n == 0)
		return 0;
	r = umbra_coordinator_connect(l->state_dir, &c, err);
	return r < 0 ? r : umbra_coordinator_delete(c, sets, n, 0, NULL, &warnings, err);
}

static int settle(const struct umbra_lost *l, struct umbra_error *err)
{
	_cleanup_engine_ struct umbra_engine *e = NULL;
	_cleanup_set_list_ struct umbra_set_list list = {0};
	_cleanup_free_ struct umbra_id *sets = NULL;
	size_t i, n = 0;
	int r = umbra_engine_open(l->state_dir, UMBRA_CATALOG_READ, &e, err);

	if (r == 0)
		r = umbra_engine_sets(e, UMBRA_LOAD_BRIEF, &list, err);
	if (r < 0)
		return r;
	sets = calloc(list.n + 1, sizeof(*sets));
	if (!sets)
		return umbra_oom(err);
	for (i = 0; i < list.n; i++)
		if (all_lost(l, list.sets[i]))
			sets[n++] = list.sets[i]->id;
	return delete_sets(l, sets, n, err);
}

/* In a process of its own: the catalog may lie on a volume that waits for us. */
static _Noreturn void run_child(const struct umbra_lost *l)
{
	struct umbra_error err = {0};
	sigset_t none;
	int r;

	prctl(PR_SET_NAME, "umbra-forget");
	umbra_log_close();
	syscall(SYS_close_range, STDERR_FILENO + 1, ~0U, 0); /* our lock above all */
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	r = settle(l, &err);
	if (r == 0 || r == -EBUSY)
		_exit(r == 0 ? SETTLED : NOT_NOW);
	if (!l->complained)
		umbra_log_warning("forgetting lost sets: %s", err.text);
	_exit(FAILED);
}

static void look_at_child(struct umbra_lost *l)
{
	int status;
	pid_t r = waitpid(l->child, &status, WNOHANG);

	if (r == 0)
		return;
	l->child = 0;
	if (r < 0 || !WIFEXITED(status))
		return;
	if (WEXITSTATUS(status) == SETTLED)
		l->list->settled = l->asked;
	l->complained = WEXITSTATUS(status) == FAILED;
}

size_t umbra_lost_settle(struct umbra_lost *l)
{
	if (l->child > 0)
		look_at_child(l);
	if (l->child <= 0 && l->list->settled < l->list->n &&
	    umbra_now_us() - l->asked_us >= AGAIN_US) {
		l->asked = l->list->n;
		l->asked_us = umbra_now_us();
		l->child = fork();
		if (l->child == 0)
			run_child(l);
	}
	return l->list->n - l->list->settled;
}
