/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>

#include "cli/command.h"
#include "cli/output.h"
#include "snapshot/provider.h"

static int as_json(struct umbra_error *err)
{
	_cleanup_json_ json_t *doc = json_object();
	json_t *list = json_array();
	const struct umbra_provider *const *p;
	size_t n, i;

	if (!doc || json_object_set_new(doc, "providers", list) < 0)
		return umbra_oom(err);
	p = umbra_providers(&n);
	for (i = 0; i < n; i++)
		if (json_array_append_new(list,
					  json_pack("{s:s,s:s,s:s}", "name", p[i]->name,
						    "consistency", umbra_label_name(p[i]->label),
						    "summary", p[i]->summary)) < 0)
			return umbra_oom(err);
	return umbra_output_json(TAKE_PTR(doc), err);
}

static int run(const struct umbra_cli *cli, const struct umbra_args *args, struct umbra_error *err)
{
	static const struct umbra_column columns[] = {
		{.title = "PROVIDER"}, {.title = "CONSISTENCY"}, {.title = "FOR"}};
	const struct umbra_provider *const *p;
	struct umbra_table *table;
	size_t n, i;

	(void)args;
	if (cli->json)
		return as_json(err);
	table = umbra_table_new(columns, UMBRA_ARRAY_SIZE(columns));
	p = umbra_providers(&n);
	for (i = 0; i < n; i++)
		umbra_table_row(table, (const char *[]){p[i]->name, umbra_label_name(p[i]->label),
							p[i]->summary});
	return umbra_table_print(table, err);
}

const struct umbra_command umbra_command_providers = {
	.name = "providers",
	.words = "",
	.summary = "List the providers: who makes shadow copies of which volumes",
	.run = run,
};
