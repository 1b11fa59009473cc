/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "coordinator/activate.h"

#include <string.h>

#include "common/log.h"
#include "coordinator/daemon.h"

struct work {
	struct umbra_session *s;
	json_t *areas, *lost;
	int wait_ms;
	int r; /* of the first that failed */
};

static void on_lost(void *arg, const struct umbra_id *shadow, const char *why)
{
	struct work *w = arg;

	if (json_array_append_new(w->lost,
				  json_pack("{s:s,s:s}", "shadow", shadow->s, "why", why)) < 0)
		umbra_session_warn(w->s, "shadow copy %s is lost: %s", shadow->s, why);
}

static int activate_one(struct work *w, const struct umbra_storage_ops *ops,
			struct umbra_error *err)
{
	const struct umbra_storage_watch watch = {.state_fd = umbra_engine_state_fd(w->s->engine),
						  .state_dir = umbra_engine_state_dir(w->s->engine),
						  .lost = on_lost,
						  .requester = &w->s->watch,
						  .arg = w};
	struct umbra_error why = {0};
	int r = ops->activate(&watch, w->wait_ms, w->r == 0 ? err : &why);

	if (w->r == 0)
		w->r = r;
	return ops->list(watch.state_fd, watch.state_dir, w->areas, w->r == 0 ? err : &why);
}

/* What is active depends on umbrad, also when something else is not. r: what came before. */
static int start_daemon(struct umbra_session *s, int r, struct umbra_error *err)
{
	struct umbra_error why = {0};
	int started = umbra_daemon_start(s->engine, r < 0 ? &why : err);

	if (r < 0 && started < 0)
		umbra_log_error("%s", why.text);
	return r < 0 ? r : started;
}

int umbra_activate(struct umbra_session *s, bool early, int wait_s, json_t *result,
		   struct umbra_error *err)
{
	struct work w = {.s = s,
			 .areas = json_array(),
			 .lost = json_array(),
			 .wait_ms = wait_s < 0 ? -1 : wait_s * 1000};
	const struct umbra_provider *const *p;
	size_t n, i;
	int r = 0;

	if (json_object_set_new(result, "areas", w.areas) < 0 ||
	    json_object_set_new(result, "lost", w.lost) < 0)
		return umbra_oom(err);
	p = umbra_providers(&n);
	for (i = 0; r == 0 && i < n; i++)
		if (p[i]->storage && p[i]->storage->activate)
			r = activate_one(&w, p[i]->storage, err);
	if (w.r < 0)
		r = w.r;
	return !early && umbra_daemon_is_needed(w.areas) ? start_daemon(s, r, err) : r;
}
