/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "coordinator/count_lost.h"

#include <string.h>

#include "common/log.h"
#include "snapshot/conditions.h"
#include "snapshot/mounts.h"

/* A shadow's volume is PROVIDER:AREA. */
static bool is_in(const struct umbra_shadow *shadow, const char *area)
{
	size_t len = strlen(shadow->provider);

	return strncmp(shadow->volume, shadow->provider, len) == 0 && shadow->volume[len] == ':' &&
	       strcmp(shadow->volume + len + 1, area) == 0;
}

static int count_in(const struct umbra_set_list *sets, const char *area)
{
	const struct umbra_shadow *shadow;
	size_t i, k;
	int n = 0;

	for (i = 0; i < sets->n; i++)
		for (k = 0; k < sets->sets[i]->n_shadows; k++) {
			shadow = sets->sets[i]->shadows[k];
			n += shadow->condition == UMBRA_CONDITION_LOST && is_in(shadow, area);
		}
	return n;
}

/* As they are now, for all who are told. */
static int load(struct umbra_session *s, struct umbra_set_list *sets, struct umbra_error *err)
{
	_cleanup_json_ json_t *gone = json_array();
	struct umbra_error why = {0};
	bool changed = false;
	int r = gone ? 0 : umbra_oom(err);

	if (r == 0 && !umbra_engine_catalog(s->engine))
		r = umbra_engine_open_catalog(s->engine, UMBRA_CATALOG_READ, err);
	if (r < 0)
		return r;
	if (umbra_conditions_ask(s->engine, &changed, gone, &why) < 0)
		umbra_log_debug("%s", why.text);
	if (changed)
		umbra_mounts_announce(umbra_engine_state_fd(s->engine), UMBRA_MOUNTS_ANSWER_MS);
	return umbra_engine_sets(s->engine, UMBRA_LOAD_BRIEF, sets, err);
}

void umbra_count_lost(struct umbra_session *s, json_t *areas)
{
	_cleanup_set_list_ struct umbra_set_list sets = {0};
	struct umbra_error why = {0};
	const json_t *lost;
	json_t *area;
	size_t i;
	int n;

	if (json_array_size(areas) == 0)
		return;
	if (load(s, &sets, &why) < 0) {
		umbra_log_debug("%s", why.text);
		return;
	}
	json_array_foreach (areas, i, area) {
		n = count_in(&sets, umbra_doc_string(area, "area"));
		lost = json_object_get(area, "lost");
		if (json_is_integer(lost) && json_integer_value(lost) < n)
			json_object_set_new(area, "lost", json_integer(n));
	}
}
