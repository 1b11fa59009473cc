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
#include "snapshot/conditions.h"
#include "snapshot/engine.h"
#include "snapshot/mounts.h"

/* From one child to the next: twice as long after each that could not do all, at most so long when
 * somebody was in the way, or when it failed. */
#define AGAIN_US 500000
#define BUSY_US  4000000
#define FAIL_US  32000000

enum outcome { SETTLED, NOT_NOW, FAILED };

/* What whoever takes this process' place has to know. */
struct shared {
	uint64_t noticed, settled; /* how often; equal: there is nothing to do */
};

struct umbra_lost {
	char *state_dir;
	struct shared *shared;
	pid_t child;      /* at it; 0: there is none */
	uint64_t asked;   /* noticed, when it was started */
	int64_t next_us;  /* the next one not before */
	int64_t again_us; /* after the present one, if that cannot do all */
	bool complained;
};

struct umbra_lost *umbra_lost_new(const char *state_dir)
{
	struct umbra_lost *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->shared = mmap(NULL, sizeof(*l->shared), PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (l->shared == MAP_FAILED)
		l->shared = NULL;
	l->state_dir = strdup(state_dir);
	if (!l->shared || !l->state_dir)
		return umbra_lost_free(l);
	umbra_lost_notice(l); /* what an earlier umbrad had not come to */
	return l;
}

struct umbra_lost *umbra_lost_free(struct umbra_lost *l)
{
	if (l) {
		if (l->shared)
			munmap(l->shared, sizeof(*l->shared));
		free(l->state_dir);
		free(l);
	}
	return NULL;
}

void umbra_lost_notice(struct umbra_lost *l)
{
	l->shared->noticed++;
	l->again_us = AGAIN_US;
	if (l->next_us > umbra_now_us() + AGAIN_US)
		l->next_us = umbra_now_us() + AGAIN_US;
}

/* --- the child --- */

static int delete_sets(const struct umbra_lost *l, const json_t *gone, struct umbra_error *err)
{
	_cleanup_coordinator_ struct umbra_coordinator *c = NULL;
	_cleanup_free_ struct umbra_id *ids = NULL;
	_cleanup_json_ json_t *warnings = NULL;
	size_t n = json_array_size(gone), i;
	int r;

	if (n == 0)
		return 0;
	ids = calloc(n, sizeof(*ids));
	if (!ids)
		return umbra_oom(err);
	for (i = 0; i < n; i++)
		snprintf(ids[i].s, sizeof(ids[i].s), "%s",
			 json_string_value(json_array_get(gone, i)));
	r = umbra_coordinator_connect(l->state_dir, &c, err);
	return r < 0 ? r : umbra_coordinator_delete(c, ids, n, 0, NULL, &warnings, err);
}

static int settle(const struct umbra_lost *l, struct umbra_error *err)
{
	_cleanup_engine_ struct umbra_engine *e = NULL;
	_cleanup_json_ json_t *gone = json_array();
	struct umbra_error why = {0};
	bool changed;
	int r = umbra_engine_open(l->state_dir, UMBRA_CATALOG_READ, &e, err), told;

	if (r < 0)
		return r;
	told = umbra_conditions_ask(e, &changed, gone, &why);
	if (changed)
		umbra_mounts_announce(umbra_engine_state_fd(e), UMBRA_MOUNTS_ANSWER_MS);
	r = delete_sets(l, gone, err);
	return r < 0 || told == 0 ? r : umbra_fail(err, why.code, told, "%s", why.text);
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
		umbra_log_warning("finding out what is lost: %s", err.text);
	_exit(FAILED);
}

static void try_again(struct umbra_lost *l, int64_t most_us)
{
	l->next_us = umbra_now_us() + l->again_us;
	l->again_us = 2 * l->again_us < most_us ? 2 * l->again_us : most_us;
}

static void look_at_child(struct umbra_lost *l)
{
	enum outcome outcome = FAILED;
	int status;
	pid_t r = waitpid(l->child, &status, WNOHANG);

	if (r == 0)
		return;
	l->child = 0;
	if (r > 0 && WIFEXITED(status)) {
		outcome = (enum outcome)WEXITSTATUS(status);
		l->complained = outcome == FAILED;
	}
	if (outcome == SETTLED) {
		l->shared->settled = l->asked;
		l->again_us = AGAIN_US;
	} else {
		try_again(l, outcome == NOT_NOW ? BUSY_US : FAIL_US);
	}
}

bool umbra_lost_settle(struct umbra_lost *l)
{
	if (l->child > 0)
		look_at_child(l);
	if (l->child <= 0 && l->shared->settled != l->shared->noticed &&
	    umbra_now_us() >= l->next_us) {
		l->asked = l->shared->noticed;
		l->next_us = umbra_now_us() + AGAIN_US;
		l->child = fork();
		if (l->child == 0)
			run_child(l);
	}
	return l->shared->settled != l->shared->noticed;
}
