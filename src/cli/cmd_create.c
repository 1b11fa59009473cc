/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>

#include "cli/command.h"
#include "cli/observe.h"
#include "cli/output.h"
#include "common/text.h"

static const struct umbra_option options[] = {
	{"provider", 'p', "NAME", "use this provider (see 'umbra providers')", UMBRA_WORD_PROVIDER},
	{"recursive", 'r', NULL, "cover the filesystems mounted below PATH too", UMBRA_WORD_NONE},
	{"comment", 'm', "TEXT", "keep TEXT with the set", UMBRA_WORD_TEXT},
	{"wait", 'w', "SECONDS", "wait that long for another creation to end", UMBRA_WORD_NONE},
	{0},
};

static int report(const struct umbra_cli *cli, const struct umbra_id *id, struct umbra_error *err)
{
	_cleanup_engine_ struct umbra_engine *engine = NULL;
	_cleanup_set_ struct umbra_set *set = NULL;
	char token[UMBRA_TOKEN_LEN + 1];
	size_t i;
	int r = umbra_cli_engine(cli, UMBRA_CATALOG_READ, &engine, err);

	if (r < 0)
		return r;
	r = umbra_catalog_load_one(umbra_engine_catalog(engine), id->s, &set, err);
	if (r < 0)
		return r;
	if (cli->json)
		return umbra_output_json(umbra_set_public(set, false), err);
	umbra_token_format(set->time, token);
	printf("%s  %s", token, umbra_label_name(set->label));
	for (i = 0; i < set->n_shadows; i++) {
		_cleanup_free_ char *path = umbra_text_printable_dup(set->shadows[i]->path);

		printf("%s %s (%s)", i ? "," : " ", path ? path : "?", set->shadows[i]->provider);
	}
	putchar('\n');
	return 0;
}

static int run(const struct umbra_cli *cli, const struct umbra_args *args, struct umbra_error *err)
{
	_cleanup_coordinator_ struct umbra_coordinator *coordinator = NULL;
	static const char *const here[] = {"."};
	struct umbra_create_request request = {
		.paths = args->n_words ? (const char *const *)args->words : here,
		.n_paths = args->n_words ? args->n_words : 1,
		.provider = umbra_args_value(args, "provider"),
		.comment = umbra_args_value(args, "comment"),
		.recursive = umbra_args_has(args, "recursive"),
	};
	struct umbra_terminal terminal;
	json_t *warnings = NULL;
	long long wait_s = 0;
	struct umbra_id id;
	int r;

	r = umbra_args_number(args, "wait", 0, 1000000, &wait_s, err);
	request.wait_s = (int)wait_s;
	if (r == 0)
		r = umbra_coordinator_connect(cli->state, &coordinator, err);
	if (r < 0)
		return r;
	umbra_terminal_init(&terminal);
	r = umbra_coordinator_create(coordinator, &request, &terminal.observer, &id, &warnings,
				     err);
	umbra_terminal_finish(&terminal);
	umbra_coordinator_hang_up(coordinator);
	if (r < 0)
		return r;
	umbra_terminal_warnings(warnings);
	return report(cli, &id, err);
}

const struct umbra_command umbra_command_create = {
	.name = "create",
	.words = "[PATH…]",
	.summary = "Make a shadow copy set of the volumes that the PATHs lie on",
	.help = "One set holds all PATHs (default: the current directory) as of one creation. "
		"With\n"
		"provider 'copy' it is the directory PATH itself that is copied. Filesystems "
		"mounted\n"
		"below that are not covered are named. If one volume fails there is no set.",
	.options = options,
	.max_words = (size_t)-1,
	.word = UMBRA_WORD_DIR,
	.run = run,
};
