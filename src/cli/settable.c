/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/settable.h"

#include <string.h>

#define VOLUMES_SHOWN 3

struct umbra_table *umbra_set_table_new(void)
{
	static const struct umbra_column columns[] = {{.title = "SET"},
						      {.title = "LOCAL TIME"},
						      {.title = "CONSISTENCY"},
						      {.title = "VOLUMES"},
						      {.title = "WHY", .optional = true},
						      {.title = "COMMENT", .last_cut = true}};

	return umbra_table_new(columns, UMBRA_ARRAY_SIZE(columns));
}

/* "/home, /srv, /var, +2" */
static char *volumes(const struct umbra_set *set)
{
	bool some_lost = !umbra_set_is_lost(set);
	char *text = NULL, *more;
	size_t i;

	for (i = 0; i < set->n_shadows && i < VOLUMES_SHOWN; i++) {
		more = umbra_asprintf("%s%s%s%s", text ? text : "", text ? ", " : "",
				      set->shadows[i]->path,
				      some_lost && set->shadows[i]->lost ? " (lost)" : "");
		free(text);
		text = more;
		if (!text)
			return NULL;
	}
	if (set->n_shadows <= VOLUMES_SHOWN)
		return text ? text : strdup("");
	more = umbra_asprintf("%s, +%zu", text, set->n_shadows - VOLUMES_SHOWN);
	free(text);
	return more;
}

/* Of the first that is lost: mostly it is the same for all. */
static const char *why_lost(const struct umbra_set *set)
{
	size_t i;

	for (i = 0; i < set->n_shadows; i++)
		if (set->shadows[i]->lost)
			return set->shadows[i]->lost;
	return NULL;
}

void umbra_set_table_add(struct umbra_table *t, const struct umbra_set *set)
{
	const char *label = umbra_set_is_lost(set) ? "lost" : umbra_label_name(set->label);
	_cleanup_free_ char *text = volumes(set);
	char token[UMBRA_TOKEN_LEN + 1], local[32];

	umbra_token_format(set->time, token);
	umbra_time_local(set->time, local, sizeof(local));
	umbra_table_row(t, (const char *[]){token, local, label, text ? text : "?", why_lost(set),
					    set->comment});
}
