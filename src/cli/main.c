/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <locale.h>
#include <stdio.h>
#include <string.h>

#include "cli/args.h"
#include "cli/command.h"
#include "common/fault.h"
#include "common/log.h"
#include "common/util.h"
#include "coordinator/client.h"
#include "version.h"

#define X(name) extern const struct umbra_command umbra_command_##name;
#include "cli/commands.inc"
#undef X

static const struct umbra_command *const table[] = {
#define X(name) &umbra_command_##name,
#include "cli/commands.inc"
#undef X
};

const struct umbra_command *const *umbra_commands(size_t *n)
{
	*n = UMBRA_ARRAY_SIZE(table);
	return table;
}

const struct umbra_command *umbra_command_find(const char *name)
{
	size_t i;

	for (i = 0; i < UMBRA_ARRAY_SIZE(table); i++)
		if (strcmp(table[i]->name, name) == 0)
			return table[i];
	return NULL;
}

int umbra_cli_engine(const struct umbra_cli *cli, enum umbra_catalog_mode mode,
		     struct umbra_engine **out, struct umbra_error *err)
{
	return umbra_engine_open(cli->state, mode, out, err);
}

static void help_all(FILE *f)
{
	size_t i;

	fputs("usage: umbra COMMAND [OPTION…] [WORD…]\n\n"
	      "Shadow copies of volumes and directories, browsable as read-only trees.\n\n",
	      f);
	for (i = 0; i < UMBRA_ARRAY_SIZE(table); i++)
		if (!table[i]->hidden)
			fprintf(f, "  %-10s %s\n", table[i]->name, table[i]->summary);
	fputs("\n'umbra COMMAND --help' tells more; manual: umbra(1).\n"
	      "A SET is named @GMT-YYYY.MM.DD-HH.MM.SS, by the beginning of its id, latest,\n"
	      "oldest, or latest~N. Times are UTC in names and local in tables.\n",
	      f);
}

static void help_options(const struct umbra_option *o, const struct umbra_command *command)
{
	char left[64];

	for (; o && o->name; o++) {
		if (command->no_json && strcmp(o->name, "json") == 0)
			continue;
		snprintf(left, sizeof(left), "%c%c%s--%s%s%s", o->letter ? '-' : ' ',
			 o->letter ? o->letter : ' ', o->letter ? ", " : "  ", o->name,
			 o->arg ? " " : "", o->arg ? o->arg : "");
		printf("  %-26s %s\n", left, o->help);
	}
}

static void help_one(const struct umbra_command *command)
{
	printf("usage: umbra %s [OPTION…]%s%s\n\n%s.\n", command->name, *command->words ? " " : "",
	       command->words, command->summary);
	if (command->help)
		printf("\n%s\n", command->help);
	printf("\n");
	help_options(command->options, command);
	help_options(umbra_common_options, command);
}

static int report(const struct umbra_error *err)
{
	umbra_log_error("%s", err->text);
	return err->code == UMBRA_E_USAGE ? 2 : 1;
}

/* What was printed must have arrived. That is looked at here alone: what could not be written is
 * still in the buffer, and is tried again. */
static int finish_output(int status)
{
	bool failed = ferror(stdout);

	errno = 0;
	if (fclose(stdout) == 0 && !failed)
		return status;
	if (errno != EPIPE)
		umbra_log_error("cannot write the output: %s", strerror(errno ? errno : EIO));
	return status ? status : 1;
}

static int run(const struct umbra_command *command, struct umbra_cli *cli, int argc, char **argv)
{
	struct umbra_error err = {0};
	struct umbra_args args;
	int r;

	if (command->raw) {
		args = (struct umbra_args){
			.command = command, .words = argv + 1, .n_words = (size_t)(argc - 1)};
	} else {
		r = umbra_args_parse(command, argc, argv, cli, &args, &err);
		if (r < 0)
			return report(&err);
		if (r > 0) {
			help_one(command);
			return 0;
		}
	}
	/* Before anything is looked at that may lie on what is held. */
	if (!command->hidden && !umbra_args_has(&args, "thaw"))
		umbra_coordinator_release_leftovers();
	r = command->run(cli, &args, &err);
	return r < 0 ? report(&err) : r;
}

static int no_command(const char *word)
{
	if (*word == '-')
		umbra_log_error("there is no option '%s' that can stand before the command (see "
				"'umbra --help')",
				word);
	else
		umbra_log_error("there is no command '%s' (see 'umbra --help')", word);
	return 2;
}

/* "help", or "help COMMAND" */
static int help(const char *word)
{
	const struct umbra_command *command = word ? umbra_command_find(word) : NULL;

	if (word && !command)
		return no_command(word);
	if (command)
		help_one(command);
	else
		help_all(stdout);
	return 0;
}

/* words[0] is the command, or stands in its place. */
static int run_words(struct umbra_cli *cli, int n, char **words)
{
	const struct umbra_command *command = umbra_command_find(words[0]);

	if (command)
		return run(command, cli, n, words);
	if (strcmp(words[0], "--help") == 0 || strcmp(words[0], "-h") == 0 ||
	    strcmp(words[0], "help") == 0)
		return help(words[1]);
	if (strcmp(words[0], "--version") != 0)
		return no_command(words[0]);
	puts("umbra " UMBRA_VERSION);
	return 0;
}

int main(int argc, char **argv)
{
	struct umbra_cli cli = {0};
	int at = 1;

	umbra_hold_standard_fds();
	setlocale(LC_ALL, "");
	umbra_log_init("umbra", UMBRA_LOG_INFO);
	umbra_fault_init();
	if (argc > 2 && strcmp(argv[1], "--state") == 0) {
		cli.state = argv[2];
		at = 3;
	} else if (argc > 1 && strncmp(argv[1], "--state=", 8) == 0) {
		cli.state = argv[1] + 8;
		at = 2;
	}
	if (cli.state && !*cli.state) {
		umbra_log_error("the argument of --state cannot be empty (see 'umbra --help')");
		return 2;
	}
	if (at >= argc) {
		help_all(stderr);
		return 2;
	}
	return finish_output(run_words(&cli, argc - at, argv + at));
}
