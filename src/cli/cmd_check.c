/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>

#include "cli/command.h"
#include "cli/observe.h"
#include "cli/output.h"
#include "common/text.h"

static const struct umbra_option options[] = {
	{"rebuild", 0, NULL, "make the catalog anew from the copies", UMBRA_WORD_NONE},
	{"thaw", 0, NULL, "only release volumes that a dead process holds", UMBRA_WORD_NONE},
	{"wait", 'w', "SECONDS", "wait that long for a creation or deletion to end",
	 UMBRA_WORD_NONE},
	{0},
};

static void print_list(const char *title, const json_t *list)
{
	const json_t *one;
	size_t i;

	json_array_foreach (list, i, one)
		printf("%s: %s\n", title, json_string_value(one));
}

static int report(const struct umbra_cli *cli, json_t *doc, struct umbra_error *err)
{
	size_t problems = json_array_size(json_object_get(doc, "problems"));
	int r = 0;

	if (cli->json) {
		json_object_del(doc, "type");
		json_object_del(doc, "warnings");
		r = umbra_output_json(json_incref(doc), err);
	} else {
		print_list("repaired", json_object_get(doc, "repaired"));
		print_list("problem", json_object_get(doc, "problems"));
		printf("%s, %s\n",
		       UMBRA_COUNT((unsigned long long)umbra_doc_int(doc, "sets", 0), "set",
				   "sets"),
		       UMBRA_COUNT(problems, "problem", "problems"));
	}
	return r < 0 ? r : problems > 0;
}

/* Nothing else is looked at: it may lie on what is held. */
static int thaw(const struct umbra_cli *cli, struct umbra_error *err)
{
	json_t *released = json_array(), *problems = json_array();
	_cleanup_json_ json_t *doc =
		json_pack("{s:o,s:o}", "repaired", released, "problems", problems);
	int r;

	if (!doc)
		return umbra_oom(err);
	r = umbra_coordinator_thaw(released, problems, err);
	if (r < 0)
		return r;
	if (cli->json) {
		r = umbra_output_json(json_incref(doc), err);
	} else {
		print_list("repaired", released);
		print_list("problem", problems);
	}
	return r < 0 ? r : json_array_size(problems) > 0;
}

static int run(const struct umbra_cli *cli, const struct umbra_args *args, struct umbra_error *err)
{
	_cleanup_coordinator_ struct umbra_coordinator *coordinator = NULL;
	_cleanup_json_ json_t *doc = NULL;
	struct umbra_terminal terminal;
	long long wait_s = 0;
	int r;

	r = umbra_args_number(args, "wait", 0, 1000000, &wait_s, err);
	if (r == 0 && umbra_args_has(args, "thaw"))
		return umbra_args_has(args, "rebuild")
			       ? umbra_fail(err, UMBRA_E_USAGE, EINVAL,
					    "--thaw and --rebuild are two things: first one, then "
					    "the other")
			       : thaw(cli, err);
	if (r == 0)
		r = umbra_coordinator_connect(cli->state, &coordinator, err);
	if (r < 0)
		return r;
	umbra_terminal_init(&terminal);
	r = umbra_coordinator_check(coordinator, umbra_args_has(args, "rebuild"), (int)wait_s,
				    &terminal.observer, &doc, err);
	umbra_terminal_finish(&terminal);
	return r < 0 ? r : report(cli, doc, err);
}

const struct umbra_command umbra_command_check = {
	.name = "check",
	.words = "",
	.summary = "Check catalog and copies, and undo what killed processes left",
	.help = "Exit status 1 when there are problems. --rebuild keeps the old catalog beside "
		"the new\n"
		"one as catalog.db.old. --thaw looks at nothing else.",
	.options = options,
	.run = run,
};
