/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/command.h"
#include "cli/forget.h"
#include "cli/located.h"
#include "cli/observe.h"
#include "cli/output.h"
#include "cli/paths.h"
#include "cli/question.h"
#include "cli/readers.h"
#include "common/log.h"

static const struct umbra_option options[] = {
	{"oldest", 0, "PATH", "the oldest set that covers PATH", UMBRA_WORD_PATH},
	{"all", 0, "PATH", "all sets that cover PATH", UMBRA_WORD_PATH},
	{"forget", 0, NULL, "give up what could not be deleted", UMBRA_WORD_NONE},
	{"yes", 'y', NULL, "do not ask", UMBRA_WORD_NONE},
	{"wait", 'w', "SECONDS", "wait that long for a creation or deletion to end",
	 UMBRA_WORD_NONE},
	{0},
};

/* Keeps them in order, each once. There is room for all. */
static void choose(struct umbra_doomed *d, const struct umbra_set *set)
{
	size_t at = d->n;

	while (at > 0 && d->sets[at - 1]->seq > set->seq)
		at--;
	if (at > 0 && d->sets[at - 1] == set)
		return;
	memmove(&d->sets[at + 1], &d->sets[at], (d->n - at) * sizeof(*d->sets));
	d->sets[at] = set;
	d->n++;
}

static int none_covers(const struct umbra_doomed *d, const char *path, int state_fd,
		       struct umbra_error *err)
{
	const char *other = umbra_located_otherwise(state_fd, d->all, path);

	if (other)
		return umbra_fail(err, UMBRA_E_NOT_FOUND, ENOENT,
				  "no shadow copy set covers '%s', but some cover its volume as it "
				  "was mounted at '%s': name that path",
				  path, other);
	return umbra_fail(err, UMBRA_E_NOT_FOUND, ENOENT,
			  "no shadow copy set covers '%s' (see 'umbra list')", path);
}

static bool is_part_only(const struct umbra_doomed *d, const struct umbra_set *set)
{
	const struct umbra_shadow *shadow = umbra_set_covering(set, d->path);

	return shadow && !d->scope.whole && strcmp(shadow->path, d->path) != 0;
}

static int choose_covering(struct umbra_doomed *d, const char *path, bool all, int state_fd,
			   struct umbra_error *err)
{
	size_t i;
	int r = umbra_cli_path(path, &d->path, err);

	if (r < 0)
		return r;
	umbra_scope_init(&d->scope, state_fd, d->path);
	for (i = 0; i < d->all->n && (all || d->n == 0); i++)
		if (umbra_scope_has(&d->scope, d->all->sets[i]))
			choose(d, d->all->sets[i]);
	for (i = 0; i < d->n && all && !d->wider; i++)
		d->wider = is_part_only(d, d->sets[i]);
	return d->n == 0 ? none_covers(d, d->path, state_fd, err) : 0;
}

static int choose_all(struct umbra_doomed *d, const struct umbra_args *args, int state_fd,
		      struct umbra_error *err)
{
	const char *oldest = umbra_args_value(args, "oldest"), *all = umbra_args_value(args, "all");
	const struct umbra_set *set;
	size_t i;
	int r = 0;

	if (!!oldest + !!all + (args->n_words > 0) != 1)
		return umbra_fail(err, UMBRA_E_USAGE, EINVAL,
				  "say what to delete: SETs, or --oldest PATH, or --all PATH");
	d->sets = calloc(d->all->n + 1, sizeof(*d->sets));
	if (!d->sets)
		return umbra_oom(err);
	if (oldest || all)
		return choose_covering(d, oldest ? oldest : all, all, state_fd, err);
	for (i = 0; r == 0 && i < args->n_words; i++) {
		r = umbra_set_list_find(d->all, args->words[i], &set, err);
		if (r == 0)
			choose(d, set);
	}
	return r;
}

static int needs_yes(const struct umbra_doomed *d, struct umbra_error *err)
{
	if (d->n > 1)
		return umbra_fail(err, UMBRA_E_USAGE, EINVAL,
				  "this deletes %zu sets: say --yes if that is meant", d->n);
	return umbra_fail(err, UMBRA_E_USAGE, EINVAL,
			  "this deletes a set of '%s', of which '%s' is only a part: say --yes if "
			  "that is meant",
			  umbra_set_covering(d->sets[0], d->path)->path, d->path);
}

/* Many sets at once are not deleted by a slip, nor those of a whole volume by a slip in the path,
 * nor one that somebody reads. */
static int confirm(const struct umbra_doomed *d, bool yes, struct umbra_error *err)
{
	_cleanup_free_ char *besides = NULL;
	bool slip = d->n > 1 || d->wider;

	if (!yes && slip && !isatty(STDIN_FILENO))
		return needs_yes(d, err);
	if (!yes && (slip || d->readers) && isatty(STDIN_FILENO))
		return umbra_question(d, err);
	besides = umbra_doomed_besides(d);
	if (!besides)
		return umbra_oom(err);
	if (*besides)
		umbra_log_warning("copies of %s in the same %s go, too", besides,
				  d->n == 1 ? "set" : "sets");
	if (d->readers)
		umbra_log_warning("%s in use by %s, which may not be able to read on",
				  d->n == 1 ? "the set is" : "the sets are", d->readers);
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

static int report(const struct umbra_cli *cli, const struct umbra_doomed *d,
		  struct umbra_error *err)
{
	_cleanup_json_ json_t *doc = json_object();
	char token[UMBRA_TOKEN_LEN + 1];
	json_t *list = json_array();
	size_t i;

	if (!doc || json_object_set_new(doc, "deleted", list) < 0)
		return umbra_oom(err);
	for (i = 0; i < d->n; i++) {
		umbra_token_format(d->sets[i]->time, token);
		if (!cli->json)
			printf("deleted %s\n", token);
		else if (json_array_append_new(list, json_pack("{s:s,s:s}", "set", d->sets[i]->id.s,
							       "timestamp", token)) < 0)
			return umbra_oom(err);
	}
	return cli->json ? umbra_output_json(TAKE_PTR(doc), err) : 0;
}

static int run_chosen(const struct umbra_cli *cli, const struct umbra_args *args,
		      const struct umbra_doomed *d, struct umbra_error *err)
{
	_cleanup_free_ struct umbra_id *ids = calloc(d->n + 1, sizeof(*ids));
	long long wait_s = 0;
	size_t i;
	int r;

	if (!ids)
		return umbra_oom(err);
	for (i = 0; i < d->n; i++)
		ids[i] = d->sets[i]->id;
	r = umbra_args_number(args, "wait", 0, 1000000, &wait_s, err);
	if (r == 0)
		r = confirm(d, umbra_args_has(args, "yes"), err);
	if (r == 0)
		r = delete_sets(cli, ids, d->n, (int)wait_s, err);
	return r < 0 ? r : report(cli, d, err);
}

static int run(const struct umbra_cli *cli, const struct umbra_args *args, struct umbra_error *err)
{
	_cleanup_engine_ struct umbra_engine *engine = NULL;
	_cleanup_set_list_ struct umbra_set_list list = {0};
	_cleanup_free_ const struct umbra_set **sets = NULL;
	_cleanup_free_ char *readers = NULL, *path = NULL;
	struct umbra_doomed d = {.all = &list};
	int r;

	if (umbra_args_has(args, "forget"))
		return umbra_cli_forget(cli, args, err);
	r = umbra_cli_engine(cli, UMBRA_CATALOG_READ, &engine, err);
	if (r == 0)
		r = umbra_engine_sets(engine, UMBRA_LOAD_BRIEF, &list, err);
	if (r == 0)
		r = choose_all(&d, args, umbra_engine_state_fd(engine), err);
	sets = d.sets;
	path = d.path;
	if (r < 0)
		return r;
	readers = umbra_readers_of(umbra_engine_state_dir(engine), d.sets, d.n);
	d.readers = readers;
	return run_chosen(cli, args, &d, err);
}

const struct umbra_command umbra_command_delete = {
	.name = "delete",
	.words = "SET… | --oldest PATH | --all PATH | --forget SET…",
	.summary = "Delete shadow copy sets",
	.help = "Mounted trees let go of a set before its copies are deleted. A deletion that was\n"
		"interrupted is finished by the next create, delete or check. More than one set "
		"is\n"
		"deleted only after a question, or with --yes; on a terminal it is also asked "
		"when\n"
		"a process has files of the set open.",
	.options = options,
	.max_words = (size_t)-1,
	.word = UMBRA_WORD_SET,
	.run = run,
};
