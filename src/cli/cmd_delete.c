/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/command.h"
#include "cli/observe.h"
#include "cli/output.h"
#include "cli/paths.h"

static const struct umbra_option options[] = {
	{"oldest", 0, "PATH", "the oldest set that covers PATH", UMBRA_WORD_PATH},
	{"all", 0, "PATH", "all sets that cover PATH", UMBRA_WORD_PATH},
	{"yes", 'y', NULL, "do not ask", UMBRA_WORD_NONE},
	{"wait", 'w', "SECONDS", "wait that long for a creation or deletion to end",
	 UMBRA_WORD_NONE},
	{0},
};

/* What is to go: borrowed from the list of all sets. */
struct choice {
	const struct umbra_set **sets;
	size_t n;
};

static void choose(struct choice *c, const struct umbra_set *set)
{
	size_t i;

	for (i = 0; i < c->n; i++)
		if (c->sets[i] == set)
			return;
	c->sets[c->n++] = set;
}

static int choose_covering(struct choice *c, const struct umbra_set_list *list, const char *path,
			   bool all, struct umbra_error *err)
{
	_cleanup_free_ char *real = NULL;
	size_t i;
	int r = umbra_cli_path(path, &real, err);

	if (r < 0)
		return r;
	for (i = 0; i < list->n && (all || c->n == 0); i++)
		if (umbra_set_covering(list->sets[i], real))
			choose(c, list->sets[i]);
	if (c->n == 0)
		return umbra_fail(err, UMBRA_E_NOT_FOUND, ENOENT, "no set covers '%s'", real);
	return 0;
}

static int choose_all(struct choice *c, const struct umbra_set_list *list,
		      const struct umbra_args *args, struct umbra_error *err)
{
	const char *oldest = umbra_args_value(args, "oldest"), *all = umbra_args_value(args, "all");
	const struct umbra_set *set;
	size_t i;
	int r = 0;

	if (!!oldest + !!all + (args->n_words > 0) != 1)
		return umbra_fail(err, UMBRA_E_USAGE, EINVAL,
				  "say what to delete: SETs, or --oldest PATH, or --all PATH");
	c->sets = calloc(list->n + 1, sizeof(*c->sets));
	if (!c->sets)
		return umbra_oom(err);
	if (oldest || all)
		return choose_covering(c, list, oldest ? oldest : all, all, err);
	for (i = 0; r == 0 && i < args->n_words; i++) {
		r = umbra_set_list_find(list, args->words[i], &set, err);
		if (r == 0)
			choose(c, set);
	}
	return r;
}

/* Many sets at once are not deleted by a slip. */
static int confirm(const struct choice *c, struct umbra_error *err)
{
	char token[UMBRA_TOKEN_LEN + 1], answer[16];
	size_t i;

	if (!isatty(STDIN_FILENO))
		return umbra_fail(err, UMBRA_E_USAGE, EINVAL,
				  "this deletes %zu sets: say --yes if that is meant", c->n);
	for (i = 0; i < c->n; i++) {
		umbra_token_format(c->sets[i]->time, token);
		fprintf(stderr, "%s\n", token);
	}
	fprintf(stderr, "Delete these %zu sets? [y/N] ", c->n);
	if (!fgets(answer, sizeof(answer), stdin) || (answer[0] != 'y' && answer[0] != 'Y'))
		return umbra_fail(err, UMBRA_E_INTERRUPTED, ECANCELED, "nothing was deleted");
	return 0;
}

static int delete_sets(const struct umbra_cli *cli, const struct umbra_id *ids, size_t n,
		       int wait_s, struct umbra_error *err)
{
	_cleanup_coordinator_ struct umbra_coordinator *coordinator = NULL;
	struct umbra_terminal terminal;
	json_t *warnings = NULL;
	int r = umbra_coordinator_connect(cli->state, &coordinator, err);

	if (r < 0)
		return r;
	umbra_terminal_init(&terminal);
	r = umbra_coordinator_delete(coordinator, ids, n, wait_s, &terminal.observer, &warnings,
				     err);
	umbra_terminal_finish(&terminal);
	umbra_terminal_warnings(warnings);
	return r;
}

static int report(const struct umbra_cli *cli, const struct choice *c, struct umbra_error *err)
{
	_cleanup_json_ json_t *doc = json_object();
	char token[UMBRA_TOKEN_LEN + 1];
	json_t *list = json_array();
	size_t i;

	if (!doc || json_object_set_new(doc, "deleted", list) < 0)
		return umbra_oom(err);
	for (i = 0; i < c->n; i++) {
		umbra_token_format(c->sets[i]->time, token);
		if (!cli->json)
			printf("deleted %s\n", token);
		else if (json_array_append_new(list, json_pack("{s:s,s:s}", "set", c->sets[i]->id.s,
							       "timestamp", token)) < 0)
			return umbra_oom(err);
	}
	return cli->json ? umbra_output_json(TAKE_PTR(doc), err) : 0;
}

static int run_chosen(const struct umbra_cli *cli, const struct umbra_args *args,
		      const struct choice *c, struct umbra_error *err)
{
	_cleanup_free_ struct umbra_id *ids = calloc(c->n + 1, sizeof(*ids));
	long long wait_s = 0;
	size_t i;
	int r;

	if (!ids)
		return umbra_oom(err);
	for (i = 0; i < c->n; i++)
		ids[i] = c->sets[i]->id;
	r = umbra_args_number(args, "wait", 0, 1000000, &wait_s, err);
	if (r == 0 && c->n > 1 && !umbra_args_has(args, "yes"))
		r = confirm(c, err);
	if (r == 0)
		r = delete_sets(cli, ids, c->n, (int)wait_s, err);
	return r < 0 ? r : report(cli, c, err);
}

static int run(const struct umbra_cli *cli, const struct umbra_args *args, struct umbra_error *err)
{
	_cleanup_engine_ struct umbra_engine *engine = NULL;
	_cleanup_set_list_ struct umbra_set_list list = {0};
	struct choice c = {0};
	int r = umbra_cli_engine(cli, UMBRA_CATALOG_READ, &engine, err);

	if (r == 0)
		r = umbra_engine_sets(engine, UMBRA_LOAD_BRIEF, &list, err);
	if (r == 0)
		r = choose_all(&c, &list, args, err);
	if (r == 0)
		r = run_chosen(cli, args, &c, err);
	free(c.sets);
	return r;
}

const struct umbra_command umbra_command_delete = {
	.name = "delete",
	.words = "SET… | --oldest PATH | --all PATH",
	.summary = "Delete shadow copy sets",
	.help = "\nMounted trees let go of a set before its copies are deleted. A deletion that "
		"was\n"
		"interrupted is finished by the next create, delete or check. More than one set "
		"is\n"
		"deleted only after a question, or with --yes.",
	.options = options,
	.max_words = (size_t)-1,
	.word = UMBRA_WORD_SET,
	.run = run,
};
