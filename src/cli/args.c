/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/args.h"

#include <getopt.h>
#include <string.h>

#include "common/util.h"

const struct umbra_option umbra_common_options[] = {
	{"state", 0, "DIR", "umbra's state directory", UMBRA_WORD_DIR},
	{"json", 0, NULL, "print JSON", UMBRA_WORD_NONE},
	{"help", 'h', NULL, "show this help", UMBRA_WORD_NONE},
	{0},
};

static size_t count(const struct umbra_option *o)
{
	size_t n = 0;

	while (o && o[n].name)
		n++;
	return n;
}

static const struct umbra_option *find(const struct umbra_args *args, const char *option,
				       size_t *at)
{
	const struct umbra_option *o = args->command->options;

	for (*at = 0; o && o[*at].name; (*at)++)
		if (strcmp(o[*at].name, option) == 0)
			return &o[*at];
	return NULL;
}

const char *umbra_args_value(const struct umbra_args *args, const char *option)
{
	size_t at;

	return find(args, option, &at) ? args->value[at] : NULL;
}

bool umbra_args_has(const struct umbra_args *args, const char *option)
{
	return umbra_args_value(args, option) != NULL;
}

static int usage(const struct umbra_command *command, struct umbra_error *err, const char *what,
		 const char *word)
{
	return umbra_fail(err, UMBRA_E_USAGE, EINVAL, "%s%s%s%s (see 'umbra %s --help')", what,
			  word ? " '" : "", word ? word : "", word ? "'" : "", command->name);
}

int umbra_args_number(const struct umbra_args *args, const char *option, long long min,
		      long long max, long long *out, struct umbra_error *err)
{
	const char *text = umbra_args_value(args, option);
	long long v;
	char *end;

	if (!text)
		return 0;
	errno = 0;
	v = strtoll(text, &end, 10);
	if (end == text || *end || errno || v < min || v > max)
		return umbra_fail(err, UMBRA_E_USAGE, EINVAL,
				  "--%s takes a whole number from %lld to %lld, not '%s'", option,
				  min, max, text);
	*out = v;
	return 0;
}

/* getopt's table: our own options first, then the common ones. */
static void build(const struct umbra_command *command, struct option *longs, char *shorts)
{
	const struct umbra_option *lists[] = {command->options, umbra_common_options};
	size_t i, k, n = 0;

	*shorts++ = ':';
	for (i = 0; i < UMBRA_ARRAY_SIZE(lists); i++) {
		for (k = 0; k < count(lists[i]); k++) {
			longs[n] = (struct option){
				lists[i][k].name, lists[i][k].arg ? required_argument : no_argument,
				NULL, 256 + (int)n};
			n++;
			if (!lists[i][k].letter)
				continue;
			*shorts++ = lists[i][k].letter;
			if (lists[i][k].arg)
				*shorts++ = ':';
		}
	}
	longs[n] = (struct option){0};
	*shorts = '\0';
}

static int place(const struct umbra_command *command, int c)
{
	const struct umbra_option *lists[] = {command->options, umbra_common_options}, *o;
	size_t i;
	int n = 0;

	if (c >= 256)
		return c - 256;
	for (i = 0; i < UMBRA_ARRAY_SIZE(lists); i++)
		for (o = lists[i]; o && o->name; o++, n++)
			if (o->letter == c)
				return n;
	return -1;
}

/* "--yes" behind an option that wants an argument, as a word of its own. */
static bool is_option(const struct umbra_command *command, const char *word)
{
	const struct umbra_option *lists[] = {command->options, umbra_common_options}, *o;
	size_t i;

	if (strncmp(word, "--", 2) != 0)
		return false;
	for (i = 0; i < UMBRA_ARRAY_SIZE(lists); i++)
		for (o = lists[i]; o && o->name; o++)
			if (strcmp(o->name, word + 2) == 0)
				return true;
	return false;
}

/* apart: its argument is a word of its own. */
static int take(const struct umbra_command *command, int at, bool apart, struct umbra_cli *cli,
		struct umbra_args *args, struct umbra_error *err)
{
	size_t own = count(command->options);
	const struct umbra_option *o =
		(size_t)at < own ? &command->options[at] : &umbra_common_options[(size_t)at - own];
	const char *name = o->name;

	if (o->arg && o->word != UMBRA_WORD_TEXT && !*optarg)
		return umbra_fail(err, UMBRA_E_USAGE, EINVAL,
				  "the argument of --%s cannot be empty (see 'umbra %s --help')",
				  name, command->name);
	if (o->arg && apart && is_option(command, optarg))
		return umbra_fail(
			err, UMBRA_E_USAGE, EINVAL,
			"--%s wants %s right behind it, and not the option %s (or, if that "
			"is meant, --%s=%s)",
			name, o->arg, optarg, name, optarg);
	if ((size_t)at < own) {
		args->value[at] = o->arg ? optarg : "";
		return 0;
	}
	if (strcmp(name, "help") == 0)
		return 1;
	if (strcmp(name, "state") == 0)
		cli->state = optarg;
	else if (command->no_json)
		return usage(command, err, "this command prints no JSON", NULL);
	else
		cli->json = true;
	return 0;
}

/* What is empty is mostly a variable of a script that was not set. */
static int check_words(const struct umbra_command *command, const struct umbra_args *args,
		       struct umbra_error *err)
{
	size_t i;

	if (args->n_words < command->min_words)
		return usage(command, err, "a word is missing:", command->words);
	if (args->n_words > command->max_words)
		return usage(command, err, "unexpected", args->words[command->max_words]);
	for (i = 0; i < args->n_words; i++)
		if (!*args->words[i])
			return usage(command, err, "a word cannot be empty", NULL);
	return 0;
}

int umbra_args_parse(const struct umbra_command *command, int argc, char **argv,
		     struct umbra_cli *cli, struct umbra_args *args, struct umbra_error *err)
{
	struct option longs[UMBRA_OPTIONS_MAX + 8];
	char shorts[2 * (UMBRA_OPTIONS_MAX + 8) + 2], letter[3] = "-";
	int c, r;

	*args = (struct umbra_args){.command = command};
	build(command, longs, shorts);
	optind = 0;
	opterr = 0;
	while ((c = getopt_long(argc, argv, shorts, longs, NULL)) != -1) {
		letter[1] = (char)optopt;
		if (c == ':')
			return usage(command, err, "an argument is missing after",
				     argv[optind - 1]);
		if (c == '?')
			return usage(command, err, "there is no option",
				     optopt > 0 && optopt < 256 ? letter : argv[optind - 1]);
		r = take(command, place(command, c), optarg == argv[optind - 1], cli, args, err);
		if (r != 0)
			return r;
	}
	args->words = argv + optind;
	args->n_words = (size_t)(argc - optind);
	return check_words(command, args, err);
}
