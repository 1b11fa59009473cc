/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/command.h"
#include "cli/located.h"
#include "cli/output.h"
#include "cli/paths.h"
#include "cli/settable.h"
#include "common/log.h"
#include "common/text.h"
#include "coordinator/client.h"

static int as_json(const struct umbra_set_list *list, struct umbra_scope *scope,
		   struct umbra_error *err)
{
	_cleanup_json_ json_t *doc = json_object();
	json_t *sets = json_array();
	size_t i;

	if (!doc || json_object_set_new(doc, "sets", sets) < 0)
		return umbra_oom(err);
	for (i = 0; i < list->n; i++)
		if (umbra_scope_has(scope, list->sets[i]) &&
		    json_array_append_new(sets, umbra_set_public(list->sets[i], true)) < 0)
			return umbra_oom(err);
	return umbra_output_json(TAKE_PTR(doc), err);
}

static void tell_none(const struct umbra_set_list *list, const char *path,
		      const struct umbra_engine *e)
{
	const char *other = umbra_located_otherwise(umbra_engine_state_fd(e), list, path);

	if (other)
		umbra_log_info("no shadow copy set covers '%s', but some cover its volume as it "
			       "was mounted at '%s': 'umbra list %s'",
			       path, other, UMBRA_WORD(other));
	else
		umbra_log_info("no shadow copy set covers '%s' (in '%s' there %s)", path,
			       umbra_engine_state_dir(e),
			       list->n == 1 ? "is one of other volumes"
					    : "are some of other volumes");
}

static int as_table(const struct umbra_set_list *list, struct umbra_scope *scope,
		    const struct umbra_engine *e, struct umbra_error *err)
{
	struct umbra_table *table = umbra_set_table_new();
	size_t i, shown = 0;

	for (i = 0; i < list->n; i++) {
		if (!umbra_scope_has(scope, list->sets[i]))
			continue;
		shown++;
		umbra_set_table_add(table, list->sets[i]);
	}
	if (list->n == 0)
		umbra_log_info("there are no shadow copy sets yet in '%s' ('umbra create PATH' "
			       "makes one)",
			       umbra_engine_state_dir(e));
	else if (shown == 0)
		tell_none(list, scope->path, e);
	return umbra_table_print(table, err);
}

static int run(const struct umbra_cli *cli, const struct umbra_args *args, struct umbra_error *err)
{
	_cleanup_engine_ struct umbra_engine *e = NULL;
	_cleanup_set_list_ struct umbra_set_list list = {0};
	char token[UMBRA_TOKEN_LEN + 1];
	_cleanup_free_ char *path = NULL;
	struct umbra_scope scope;
	int r;

	r = umbra_cli_engine(cli, UMBRA_CATALOG_READ, &e, err);
	if (r == 0 && args->n_words > 0)
		r = umbra_cli_path_in(e, args->words[0], &path, token, err);
	if (r == 0)
		r = umbra_engine_sets(e, UMBRA_LOAD_BRIEF, &list, err);
	if (r == 0)
		r = umbra_coordinator_find_out(e, list.sets, list.n, err);
	if (r < 0)
		return r;
	umbra_scope_init(&scope, umbra_engine_state_fd(e), path);
	return cli->json ? as_json(&list, &scope, err) : as_table(&list, &scope, e, err);
}

const struct umbra_command umbra_command_list = {
	.name = "list",
	.words = "[PATH]",
	.summary = "List the shadow copy sets, oldest first",
	.help = "With PATH only those that cover it; PATH need not exist any more. WHY: copies "
		"that "
		"cannot\n"
		"be read now, or never again; 'umbra show SET' says more.",
	.max_words = 1,
	.word = UMBRA_WORD_PATH,
	.run = run,
};
