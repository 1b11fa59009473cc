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
						      {.title = "COMMENT", .last_cut = true}};

	return umbra_table_new(columns, UMBRA_ARRAY_SIZE(columns));
}

/* "/home, /srv, /var, +2" */
static char *volumes(const struct umbra_set *set)
{
	char *text = NULL, *more;
	size_t i;

	for (i = 0; i < set->n_shadows && i < VOLUMES_SHOWN; i++) {
		more = umbra_asprintf("%s%s%s", text ? text : "", text ? ", " : "",
				      set->shadows[i]->path);
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

void umbra_set_table_add(struct umbra_table *t, const struct umbra_set *set)
{
	_cleanup_free_ char *text = volumes(set);
	char token[UMBRA_TOKEN_LEN + 1], local[32];

	umbra_token_format(set->time, token);
	umbra_time_local(set->time, local, sizeof(local));
	umbra_table_row(t, (const char *[]){token, local, umbra_label_name(set->label),
					    text ? text : "?", set->comment});
}
