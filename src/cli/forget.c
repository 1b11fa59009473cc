/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Giving up what cannot be deleted, because its filesystem is gone. */
#include "cli/forget.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/observe.h"
#include "cli/output.h"
#include "cli/settable.h"

/* Words that mean another set tomorrow are no names for what is given up. */
static int check_word(const char *word, struct umbra_error *err)
{
	if (strncmp(word, "latest", 6) != 0 && strcmp(word, "oldest") != 0)
		return 0;
	return umbra_fail(err, UMBRA_E_USAGE, EINVAL,
			  "'%s' can be any set: name what to forget by its time or id", word);
}

static int choose(const struct umbra_set_list *all, const char *word, const struct umbra_set **out,
		  struct umbra_error *err)
{
	int r = check_word(word, err);

	if (r == 0)
		r = umbra_set_list_find(all, word, out, err);
	if (r < 0 || (*out)->state != UMBRA_SET_CREATED)
		return r;
	return umbra_fail(
		err, UMBRA_E_UNSUPPORTED, EINVAL,
		"set %s was not deleted yet: 'umbra delete %s' does that, and only what it "
		"cannot delete can be forgotten",
		word, word);
}

/* A disk that lies on the shelf is not to be given up by a slip. */
static int confirm(const struct umbra_set **sets, size_t n, struct umbra_error *err)
{
	struct umbra_table *table;
	char answer[16] = "";
	size_t i;
	int r;

	if (!isatty(STDIN_FILENO))
		return umbra_fail(
			err, UMBRA_E_USAGE, EINVAL,
			"what cannot be deleted stays on its filesystem and is forgotten: "
			"if that is only not mounted, mount it; say --yes if it is gone "
			"for good");
	table = umbra_set_table_new();
	for (i = 0; i < n; i++)
		umbra_set_table_add(table, sets[i]);
	r = umbra_table_print_to(table, stderr, err);
	if (r < 0)
		return r;
	fputs("What of this cannot be deleted now stays where it is and is forgotten. If its\n"
	      "filesystem is only not mounted, mount it instead: then it is deleted.\n"
	      "Is it gone for good? [y/N] ",
	      stderr);
	if (!fgets(answer, sizeof(answer), stdin))
		fputc('\n', stderr);
	if (answer[0] == 'y' || answer[0] == 'Y')
		return 0;
	return umbra_fail(err, UMBRA_E_INTERRUPTED, ECANCELED, "nothing was forgotten");
}

static int forget(const struct umbra_cli *cli, const struct umbra_set **sets, size_t n, int wait_s,
		  json_t **forgotten, struct umbra_error *err)
{
	_cleanup_coordinator_ struct umbra_coordinator *coordinator = NULL;
	_cleanup_free_ struct umbra_id *ids = calloc(n, sizeof(*ids));
	struct umbra_terminal terminal;
	json_t *warnings = NULL;
	size_t i;
	int r;

	if (!ids)
		return umbra_oom(err);
	for (i = 0; i < n; i++)
		ids[i] = sets[i]->id;
	r = umbra_coordinator_connect(cli->state, &coordinator, err);
	if (r < 0)
		return r;
	umbra_terminal_init(&terminal);
	r = umbra_coordinator_forget(coordinator, ids, n, wait_s, &terminal.observer, forgotten,
				     &warnings, err);
	umbra_terminal_finish(&terminal);
	umbra_terminal_warnings(warnings);
	return r;
}

static bool is_in(const json_t *ids, const char *id)
{
	const json_t *one;
	size_t i;

	json_array_foreach (ids, i, one)
		if (strcmp(json_string_value(one), id) == 0)
			return true;
	return false;
}

/* Of those that are not in forgotten nothing is left. */
static int report(const struct umbra_cli *cli, const struct umbra_set **sets, size_t n,
		  const json_t *forgotten, struct umbra_error *err)
{
	json_t *deleted = json_array(), *left = json_array();
	_cleanup_json_ json_t *doc = NULL;
	char token[UMBRA_TOKEN_LEN + 1];
	bool is_left;
	size_t i;

	doc = json_pack("{s:o,s:o}", "deleted", deleted, "forgotten", left);
	if (!doc)
		return umbra_oom(err);
	for (i = 0; i < n; i++) {
		is_left = is_in(forgotten, sets[i]->id.s);
		umbra_token_format(sets[i]->time, token);
		if (!cli->json)
			printf("%s %s\n", is_left ? "forgotten" : "deleted", token);
		else if (json_array_append_new(is_left ? left : deleted,
					       json_pack("{s:s,s:s}", "set", sets[i]->id.s,
							 "timestamp", token)) < 0)
			return umbra_oom(err);
	}
	return cli->json ? umbra_output_json(TAKE_PTR(doc), err) : 0;
}

static int choose_all(const struct umbra_set_list *all, const struct umbra_args *args,
		      const struct umbra_set **sets, size_t *n, struct umbra_error *err)
{
	size_t i, k;
	int r = 0;

	for (i = 0; r == 0 && i < args->n_words; i++) {
		r = choose(all, args->words[i], &sets[*n], err);
		for (k = 0; r == 0 && sets[k] != sets[*n];)
			k++;
		*n += r == 0 && k == *n;
	}
	return r;
}

int umbra_cli_forget(const struct umbra_cli *cli, const struct umbra_args *args,
		     struct umbra_error *err)
{
	_cleanup_free_ const struct umbra_set **sets = calloc(args->n_words + 1, sizeof(*sets));
	_cleanup_engine_ struct umbra_engine *engine = NULL;
	_cleanup_set_list_ struct umbra_set_list all = {0};
	_cleanup_json_ json_t *forgotten = NULL;
	long long wait_s = 0;
	size_t n = 0;
	int r;

	if (!sets)
		return umbra_oom(err);
	if (args->n_words == 0 || umbra_args_has(args, "oldest") || umbra_args_has(args, "all"))
		return umbra_fail(err, UMBRA_E_USAGE, EINVAL,
				  "say which SETs to forget, by their times or ids");
	r = umbra_args_number(args, "wait", 0, 1000000, &wait_s, err);
	if (r == 0)
		r = umbra_cli_engine(cli, UMBRA_CATALOG_READ, &engine, err);
	if (r == 0)
		r = umbra_catalog_load(umbra_engine_catalog(engine), UMBRA_LOAD_BRIEF, &all, err);
	if (r == 0)
		r = choose_all(&all, args, sets, &n, err);
	if (r == 0 && !umbra_args_has(args, "yes"))
		r = confirm(sets, n, err);
	if (r == 0)
		r = forget(cli, sets, n, (int)wait_s, &forgotten, err);
	return r < 0 ? r : report(cli, sets, n, forgotten, err);
}
