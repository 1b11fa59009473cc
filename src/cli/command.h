/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The contract of a command. A command is one file, src/cli/cmd_NAME.c, that defines
 * `const struct umbra_command umbra_command_NAME`, and one word in the meson.build beside it.
 * Parsing, help and shell completion all come from this one description.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "snapshot/snapshot.h"

/* What a word stands for, for completion. */
enum umbra_word {
	UMBRA_WORD_NONE,
	UMBRA_WORD_TEXT, /* anything; the only one that may be empty */
	UMBRA_WORD_PATH,
	UMBRA_WORD_DIR,
	UMBRA_WORD_SET,
	UMBRA_WORD_PROVIDER,
	UMBRA_WORD_COMMAND,
};

struct umbra_option {
	const char *name; /* long name without dashes; NULL ends the list */
	char letter;      /* 0: none */
	const char *arg;  /* what help calls the argument; NULL: a flag */
	const char *help;
	enum umbra_word word; /* of the argument */
};

#define UMBRA_OPTIONS_MAX 24

/* The words of one call. Strings are borrowed from argv. */
struct umbra_args {
	const struct umbra_command *command;
	const char *value[UMBRA_OPTIONS_MAX]; /* by place in command->options; flags: "" */
	char **words;                         /* positional arguments */
	size_t n_words;
};

bool umbra_args_has(const struct umbra_args *args, const char *option);
/* NULL when not given. */
const char *umbra_args_value(const struct umbra_args *args, const char *option);
/* A whole number of seconds etc. *out is left alone when the option is not given. */
int umbra_args_number(const struct umbra_args *args, const char *option, long long min,
		      long long max, long long *out, struct umbra_error *err);

/* What every command gets. */
struct umbra_cli {
	const char *state; /* --state, or NULL: umbra_state_dir() decides */
	bool json;
};

struct umbra_command {
	const char *name;
	const char *words; /* "[PATH…]" as help shows it */
	const char *summary;
	const char *help;                   /* further lines for --help, or NULL */
	const struct umbra_option *options; /* ends with name NULL; may be NULL */
	size_t min_words, max_words;        /* max: (size_t)-1 for any number */
	enum umbra_word word;               /* of the positional arguments */
	const char *const *verbs;           /* what the first of them may be; NULL: as word */
	bool hidden;                        /* not in the list of commands */
	bool no_json;                       /* prints nothing: --json is not accepted */
	bool raw;                           /* gets all words unparsed (completion) */
	/* 0, a negative errno with err filled in, or a positive exit status. */
	int (*run)(const struct umbra_cli *cli, const struct umbra_args *args,
		   struct umbra_error *err);
};

const struct umbra_command *const *umbra_commands(size_t *n);
const struct umbra_command *umbra_command_find(const char *name);

/* Options every command has (--state, --json, --help). */
extern const struct umbra_option umbra_common_options[];

/* umbra_engine_open() with the state that the command line says. */
int umbra_cli_engine(const struct umbra_cli *cli, enum umbra_catalog_mode mode,
		     struct umbra_engine **out, struct umbra_error *err);
