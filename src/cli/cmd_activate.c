/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>
#include <string.h>

#include "cli/areas.h"
#include "cli/command.h"
#include "cli/observe.h"
#include "cli/output.h"
#include "common/log.h"

static const struct umbra_option options[] = {
	{"early", 0, NULL, "nothing is mounted yet: leave it to the system to start umbrad",
	 UMBRA_WORD_NONE},
	{"present", 'p', NULL, "leave out volumes that are not there", UMBRA_WORD_NONE},
	{"wait", 'w', "SECONDS", "wait that long for volumes that are not there yet",
	 UMBRA_WORD_NONE},
	{0},
};

/* By the names that people know, where the catalog can be read. */
static void tell_one(const struct umbra_set_list *sets, const json_t *lost)
{
	const char *id = umbra_doc_string(lost, "shadow"), *why = umbra_doc_string(lost, "why");
	const struct umbra_set *set = umbra_set_of_shadow(sets, id);
	char token[UMBRA_TOKEN_LEN + 1];
	size_t i;

	if (!set) {
		umbra_log_warning("shadow copy %s is lost: %s", id, why);
		return;
	}
	for (i = 0; strcmp(set->shadows[i]->id.s, id) != 0;)
		i++;
	umbra_token_format(set->time, token);
	umbra_log_warning("the shadow copy of '%s' in set %s is lost: %s", set->shadows[i]->path,
			  token, why);
}

/* The lost first: they are what somebody has to know. */
static void tell_lost(const struct umbra_cli *cli, const json_t *lost)
{
	_cleanup_engine_ struct umbra_engine *e = NULL;
	_cleanup_set_list_ struct umbra_set_list sets = {0};
	const json_t *one;
	size_t i;

	if (json_array_size(lost) > 0 && umbra_cli_engine(cli, UMBRA_CATALOG_READ, &e, NULL) == 0)
		umbra_engine_sets(e, UMBRA_LOAD_BRIEF, &sets, NULL);
	json_array_foreach (lost, i, one)
		tell_one(&sets, one);
}

static int run(const struct umbra_cli *cli, const struct umbra_args *args, struct umbra_error *err)
{
	_cleanup_coordinator_ struct umbra_coordinator *coordinator = NULL;
	_cleanup_json_ json_t *report = NULL;
	struct umbra_terminal terminal;
	struct umbra_activate_call call = {.early = umbra_args_has(args, "early"),
					   .present = umbra_args_has(args, "present")};
	long long wait_s = 0;
	int r = umbra_args_number(args, "wait", 0, UMBRA_ACTIVATE_WAIT_MAX, &wait_s, err);

	if (r == 0)
		r = umbra_coordinator_connect(cli->state, &coordinator, err);
	if (r < 0)
		return r;
	umbra_terminal_init(&terminal);
	call.wait_s = (int)wait_s;
	r = umbra_coordinator_activate(coordinator, &call, &terminal.observer, &report, err);
	umbra_terminal_finish(&terminal);
	if (r < 0)
		return r;
	if (cli->json)
		return umbra_output_json(json_pack("{s:O,s:O}", "areas",
						   json_object_get(report, "areas"), "lost",
						   json_object_get(report, "lost")),
					 err);
	tell_lost(cli, json_object_get(report, "lost"));
	return umbra_areas_print(json_object_get(report, "areas"), err);
}

const struct umbra_command umbra_command_activate = {
	.name = "activate",
	.words = "",
	.summary = "After a start of the machine: put volumes with block copies under their layer",
	.help = "Run before the volumes are mounted: what is written before that is not in the\n"
		"copies, and then they are lost. umbra-activate.service does it at every start, "
		"and\n"
		"scripts of the initramfs for the volume that is root.",
	.options = options,
	.run = run,
};
