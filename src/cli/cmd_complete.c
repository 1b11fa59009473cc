/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the shells' completion scripts ask: `umbra __complete WORD…` gets the words after
 * "umbra", the last one as far as it is typed ("" when nothing is), and prints the candidates one a
 * line, each with a tab and a description. A line ":path" or ":dir" means that the shell's own
 * completion of file or directory names is wanted. Never fails and never says anything else.
 */
#include <stdio.h>
#include <string.h>

#include "cli/command.h"
#include "cli/paths.h"
#include "common/text.h"
#include "snapshot/provider.h"

/* The command line as far as it goes. */
struct line {
	char **words;
	size_t n; /* at least 1; the last is being typed */
	const char *state;
	const struct umbra_command *command;
	const struct umbra_option *pending; /* whose argument is being typed */
	const char *path;                   /* first word of a command that takes paths, or NULL */
	size_t n_words;                     /* positional ones before the last */
	bool ended;                         /* by "--" */
	bool forget;                        /* only sets that could not be deleted are meant */
};

static void offer(const char *typed, const char *prefix, const char *candidate,
		  const char *description)
{
	_cleanup_free_ char *shown = umbra_text_printable_dup(description ? description : "");

	if (strncmp(candidate, typed, strlen(typed)) == 0)
		printf("%s%s\t%s\n", prefix, candidate, shown ? shown : "");
}

static void offer_commands(const char *typed)
{
	const struct umbra_command *const *commands;
	size_t n, i;

	commands = umbra_commands(&n);
	for (i = 0; i < n; i++)
		if (!commands[i]->hidden)
			offer(typed, "", commands[i]->name, commands[i]->summary);
}

static void offer_set(const char *typed, const char *prefix, const struct umbra_set *set)
{
	char token[UMBRA_TOKEN_LEN + 1], local[32];
	_cleanup_free_ char *text = NULL;

	umbra_token_format(set->time, token);
	umbra_time_local(set->time, local, sizeof(local));
	text = umbra_asprintf("%s %s", local, set->comment ? set->comment : "");
	offer(typed, prefix, token, text);
}

static void offer_unfinished(struct umbra_engine *e, const char *typed, const char *prefix)
{
	_cleanup_set_list_ struct umbra_set_list sets = {0};
	size_t i;

	if (umbra_catalog_load_unfinished(umbra_engine_catalog(e), &sets, NULL) < 0)
		return;
	for (i = sets.n; i-- > 0;)
		offer_set(typed, prefix, sets.sets[i]);
}

/* Newest first; those that cover the path, when there is one. */
static void offer_sets(const struct line *l, const char *typed, const char *prefix)
{
	_cleanup_set_list_ struct umbra_set_list sets = {0};
	_cleanup_engine_ struct umbra_engine *e = NULL;
	_cleanup_free_ char *path = NULL;
	char token[UMBRA_TOKEN_LEN + 1];
	size_t i;

	if (umbra_engine_open(l->state, UMBRA_CATALOG_READ, &e, NULL) < 0)
		return;
	if (l->forget) {
		offer_unfinished(e, typed, prefix);
		return;
	}
	if (umbra_engine_sets(e, UMBRA_LOAD_BRIEF, &sets, NULL) < 0 || sets.n == 0)
		return;
	if (l->path && umbra_cli_path_in(e, l->path, &path, token, NULL) < 0)
		path = NULL;
	offer(typed, prefix, "latest", "the newest set");
	offer(typed, prefix, "oldest", "the oldest set");
	for (i = sets.n; i-- > 0;)
		if (!path || umbra_set_covering(sets.sets[i], path))
			offer_set(typed, prefix, sets.sets[i]);
}

static void offer_providers(const char *typed, const char *prefix)
{
	const struct umbra_provider *const *providers;
	size_t n, i;

	providers = umbra_providers(&n);
	for (i = 0; i < n; i++)
		offer(typed, prefix, providers[i]->name, providers[i]->summary);
}

static void offer_words(const struct line *l, enum umbra_word word, const char *typed,
			const char *prefix)
{
	switch (word) {
	case UMBRA_WORD_PATH:
		puts(":path");
		break;
	case UMBRA_WORD_DIR:
		puts(":dir");
		break;
	case UMBRA_WORD_SET:
		offer_sets(l, typed, prefix);
		break;
	case UMBRA_WORD_PROVIDER:
		offer_providers(typed, prefix);
		break;
	case UMBRA_WORD_COMMAND:
		offer_commands(typed);
		break;
	case UMBRA_WORD_TEXT:
	case UMBRA_WORD_NONE:
		break;
	}
}

static void offer_verbs(const char *const *verbs, const char *typed)
{
	for (; *verbs; verbs++)
		offer(typed, "", *verbs, "");
}

static void offer_options(const struct umbra_command *command, const char *typed)
{
	const struct umbra_option *lists[] = {command->options, umbra_common_options}, *o;
	char name[64];
	size_t i;

	for (i = 0; i < UMBRA_ARRAY_SIZE(lists); i++) {
		for (o = lists[i]; o && o->name; o++) {
			if (command->no_json && strcmp(o->name, "json") == 0)
				continue;
			snprintf(name, sizeof(name), "--%s", o->name);
			offer(typed, "", name, o->help);
		}
	}
}

/* By "--name", "--name=…" or "-x". */
static const struct umbra_option *find_option(const struct umbra_command *command, const char *word)
{
	const struct umbra_option *lists[] = {command->options, umbra_common_options}, *o;
	size_t len = strcspn(word, "="), i;

	for (i = 0; i < UMBRA_ARRAY_SIZE(lists); i++)
		for (o = lists[i]; o && o->name; o++)
			if ((len > 2 && strncmp(word, "--", 2) == 0 && strlen(o->name) == len - 2 &&
			     strncmp(o->name, word + 2, len - 2) == 0) ||
			    (len == 2 && o->letter && word[1] == o->letter))
				return o;
	return NULL;
}

static void scan_option(struct line *l, const char *word, const char *next, size_t *at)
{
	const struct umbra_option *o = find_option(l->command, word);
	const char *value = strchr(word, '=');

	if (o && strcmp(o->name, "forget") == 0)
		l->forget = true;
	if (!o || !o->arg)
		return;
	if (!value && !next) {
		l->pending = o;
		return;
	}
	if (strcmp(o->name, "state") == 0)
		l->state = value ? value + 1 : next;
	if (!value)
		(*at)++;
}

/* All words but the last. */
static void scan(struct line *l)
{
	size_t last = l->n - 1, i = 0;

	for (; i < last && strncmp(l->words[i], "--state", 7) == 0; i++) {
		if (l->words[i][7] == '=')
			l->state = l->words[i] + 8;
		else if (i + 1 < last)
			l->state = l->words[++i];
		else
			l->pending = &umbra_common_options[0];
	}
	if (i >= last)
		return;
	l->command = umbra_command_find(l->words[i]);
	for (i++; l->command && i < last; i++) {
		if (!l->ended && strcmp(l->words[i], "--") == 0) {
			l->ended = true;
		} else if (!l->ended && l->words[i][0] == '-' && l->words[i][1]) {
			scan_option(l, l->words[i], i + 1 < last ? l->words[i + 1] : NULL, &i);
		} else {
			if (l->n_words++ == 0 && l->command->word == UMBRA_WORD_PATH)
				l->path = l->words[i];
		}
	}
}

static void offer_argument(const struct line *l, const char *typed)
{
	const struct umbra_option *o = find_option(l->command, typed);
	_cleanup_free_ char *prefix = NULL;
	const char *value = strchr(typed, '=') + 1;

	prefix = strndup(typed, (size_t)(value - typed));
	if (o && o->arg && prefix)
		offer_words(l, o->word, value, prefix);
}

static void offer_all(const struct line *l)
{
	const char *typed = l->words[l->n - 1];

	if (l->pending)
		offer_words(l, l->pending->word, typed, "");
	else if (!l->command && l->n > 1 && !l->state)
		return; /* a command that there is not */
	else if (!l->command && typed[0] == '-') {
		offer(typed, "", "--help", "show all commands");
		offer(typed, "", "--version", "show the version");
		offer(typed, "", "--state", umbra_common_options[0].help);
	} else if (!l->command)
		offer_commands(typed);
	else if (!l->ended && strncmp(typed, "--", 2) == 0 && strchr(typed, '='))
		offer_argument(l, typed);
	else if (!l->ended && typed[0] == '-')
		offer_options(l->command, typed);
	else if (l->n_words == 0 && l->command->verbs)
		offer_verbs(l->command->verbs, typed);
	else if (l->n_words < l->command->max_words)
		offer_words(l, l->command->word, typed, "");
}

static int run(const struct umbra_cli *cli, const struct umbra_args *args, struct umbra_error *err)
{
	static char nothing[] = "";
	static char *none[] = {nothing};
	struct line l = {.words = none, .n = 1, .state = cli->state};

	(void)err;
	if (args->n_words > 0) {
		l.words = args->words;
		l.n = args->n_words;
	}
	scan(&l);
	offer_all(&l);
	return 0;
}

const struct umbra_command umbra_command_complete = {
	.name = "__complete",
	.words = "[WORD…]",
	.summary = "Candidates for the last WORD, for shells",
	.max_words = (size_t)-1,
	.hidden = true,
	.no_json = true,
	.raw = true,
	.run = run,
};
