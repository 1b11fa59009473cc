/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>
#include <string.h>

#include "cli/command.h"
#include "cli/output.h"
#include "cli/paths.h"
#include "common/log.h"

#define VOLUMES_SHOWN 3

/* path NULL: every set. */
static bool wanted(const struct umbra_set *set, const char *path)
{
	return !path || umbra_set_covering(set, path);
}

static int as_json(const struct umbra_set_list *list, const char *path, struct umbra_error *err)
{
	_cleanup_json_ json_t *doc = json_object();
	json_t *sets = json_array();
	size_t i;

	if (!doc || json_object_set_new(doc, "sets", sets) < 0)
		return umbra_oom(err);
	for (i = 0; i < list->n; i++)
		if (wanted(list->sets[i], path) &&
		    json_array_append_new(sets, umbra_set_public(list->sets[i], true)) < 0)
			return umbra_oom(err);
	return umbra_output_json(TAKE_PTR(doc), err);
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

static int row(struct umbra_table *table, const struct umbra_set *set)
{
	_cleanup_free_ char *text = volumes(set);
	char token[UMBRA_TOKEN_LEN + 1], local[32];

	if (!text)
		return -ENOMEM;
	umbra_token_format(set->time, token);
	umbra_time_local(set->time, local, sizeof(local));
	umbra_table_row(table, (const char *[]){token, local, umbra_label_name(set->label), text,
						set->comment});
	return 0;
}

static int as_table(const struct umbra_set_list *list, const char *path, struct umbra_error *err)
{
	static const struct umbra_column columns[] = {{.title = "SET"},
						      {.title = "LOCAL TIME"},
						      {.title = "CONSISTENCY"},
						      {.title = "VOLUMES"},
						      {.title = "COMMENT", .last_cut = true}};
	struct umbra_table *table = umbra_table_new(columns, UMBRA_ARRAY_SIZE(columns));
	size_t i, shown = 0;

	for (i = 0; i < list->n; i++) {
		if (!wanted(list->sets[i], path))
			continue;
		shown++;
		if (row(table, list->sets[i]) < 0)
			table = umbra_table_free(table);
	}
	if (list->n == 0)
		umbra_log_info("there are no shadow copy sets yet ('umbra create PATH' makes one)");
	else if (shown == 0)
		umbra_log_info("none of the %zu shadow copy sets covers '%s'", list->n, path);
	return umbra_table_print(table, err);
}

static int run(const struct umbra_cli *cli, const struct umbra_args *args, struct umbra_error *err)
{
	_cleanup_engine_ struct umbra_engine *e = NULL;
	_cleanup_set_list_ struct umbra_set_list list = {0};
	char token[UMBRA_TOKEN_LEN + 1];
	_cleanup_free_ char *path = NULL;
	int r;

	r = umbra_cli_engine(cli, UMBRA_CATALOG_READ, &e, err);
	if (r == 0 && args->n_words > 0)
		r = umbra_cli_path_in(e, args->words[0], &path, token, err);
	if (r == 0)
		r = umbra_engine_sets(e, UMBRA_LOAD_BRIEF, &list, err);
	if (r < 0)
		return r;
	return cli->json ? as_json(&list, path, err) : as_table(&list, path, err);
}

const struct umbra_command umbra_command_list = {
	.name = "list",
	.words = "[PATH]",
	.summary = "List the shadow copy sets, oldest first",
	.help = "With PATH only those that cover it; PATH need not exist any more.",
	.max_words = 1,
	.word = UMBRA_WORD_PATH,
	.run = run,
};
