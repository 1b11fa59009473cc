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

/* Has nothing of the set what its label says? */
static bool is_all_bad(const struct umbra_set *set)
{
	return umbra_set_condition(set) > UMBRA_CONDITION_REVERTING;
}

/* " (lost)", where it is not said of the whole set. Returns out. */
static const char *mark(const struct umbra_set *set, const struct umbra_shadow *shadow,
			char out[UMBRA_TERM_MAX])
{
	bool said = shadow->condition == UMBRA_CONDITION_GOOD ||
		    (is_all_bad(set) && shadow->condition == umbra_set_condition(set));

	snprintf(out, UMBRA_TERM_MAX, " (%s)", umbra_condition_name(shadow->condition));
	return said ? "" : out;
}

/* "/home, /srv (lost), /var, +2" */
static char *volumes(const struct umbra_set *set)
{
	char *text = NULL, *more, marked[UMBRA_TERM_MAX];
	size_t i;

	for (i = 0; i < set->n_shadows && i < VOLUMES_SHOWN; i++) {
		more = umbra_asprintf("%s%s%s%s", text ? text : "", text ? ", " : "",
				      set->shadows[i]->path, mark(set, set->shadows[i], marked));
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

static bool is_in(const char *list, const char *term)
{
	size_t len = strlen(term);
	const char *at;

	for (at = list; (at = strstr(at, term)); at++)
		if ((at == list || at[-1] == ' ') && (!at[len] || at[len] == ','))
			return true;
	return false;
}

/* "volume missing, diff area removed": each once, as mostly it is the same for all. */
static char *reasons(const struct umbra_set *set)
{
	char *text = strdup(""), *more, term[UMBRA_TERM_MAX];
	size_t i;

	for (i = 0; text && i < set->n_shadows; i++) {
		if (!set->shadows[i]->why)
			continue;
		umbra_condition_term(set->shadows[i]->why, term);
		if (is_in(text, term))
			continue;
		more = umbra_asprintf("%s%s%s", text, *text ? ", " : "", term);
		free(text);
		text = more;
	}
	return text;
}

const char *umbra_set_consistency(const struct umbra_set *set)
{
	return is_all_bad(set) ? umbra_condition_name(umbra_set_condition(set))
			       : umbra_label_name(set->label);
}

void umbra_set_table_add(struct umbra_table *t, const struct umbra_set *set)
{
	_cleanup_free_ char *text = volumes(set), *why = reasons(set);
	char token[UMBRA_TOKEN_LEN + 1], local[32];

	umbra_token_format(set->time, token);
	umbra_time_local(set->time, local, sizeof(local));
	umbra_table_row(t, (const char *[]){token, local, umbra_set_consistency(set),
					    text ? text : "?", why ? why : "?", set->comment});
}
