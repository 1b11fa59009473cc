/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/command.h"
#include "cli/observe.h"
#include "cli/output.h"
#include "common/text.h"
#include "snapshot/provider.h"

static const struct umbra_option options[] = {
	{"from", 'f', "SET", "the set to go back to", UMBRA_WORD_SET},
	{"unmount", 'u', NULL, "unmount the volume first, if nobody uses it", UMBRA_WORD_NONE},
	{"force", 0, NULL, "give newer copies up where there is no room to keep them",
	 UMBRA_WORD_NONE},
	{"yes", 'y', NULL, "do not ask", UMBRA_WORD_NONE},
	{"wait", 'w', "SECONDS", "wait that long for a creation or deletion to end",
	 UMBRA_WORD_NONE},
	{0},
};

/* One call of the command. */
struct call {
	const struct umbra_cli *cli;
	const struct umbra_args *args;
	struct umbra_engine *engine; /* while a set is chosen */
	struct umbra_set_list sets;
	const struct umbra_set *set; /* of sets */
	char *path;
	char token[UMBRA_TOKEN_LEN + 1];
};

/* Is all of what the person named in the set? For umbra_set_list_find_where(). */
static int has_volume(void *arg, const struct umbra_set *set, struct umbra_error *err)
{
	const struct call *c = arg;
	const struct umbra_provider *p;
	struct stat st;
	size_t i;
	int r = 0;
	bool device = stat(c->path, &st) == 0 && S_ISBLK(st.st_mode);

	for (i = 0; r == 0 && i < set->n_shadows; i++) {
		p = umbra_provider_find(set->shadows[i]->provider);
		if (!device)
			r = strcmp(set->shadows[i]->path, c->path) == 0;
		else if (p && p->revert)
			r = p->revert->on_device(umbra_engine_state_fd(c->engine), set->shadows[i],
						 st.st_rdev, err);
	}
	return r;
}

static int choose(struct call *c, struct umbra_error *err)
{
	_cleanup_engine_ struct umbra_engine *engine = NULL;
	const char *from = umbra_args_value(c->args, "from");
	int r;

	if (!from)
		return umbra_fail(err, UMBRA_E_USAGE, EINVAL,
				  "say to which set: --from SET ('umbra list PATH' shows them)");
	r = umbra_absolute_path(c->args->words[0], true, &c->path);
	if (r < 0)
		return umbra_fail_errno(err, r, "cannot reach '%s'", c->args->words[0]);
	r = umbra_cli_engine(c->cli, UMBRA_CATALOG_READ, &engine, err);
	if (r == 0) /* in full: providers need what they recorded */
		r = umbra_engine_sets(engine, UMBRA_LOAD_FULL, &c->sets, err);
	c->engine = engine;
	if (r == 0)
		r = umbra_set_list_find_where(&c->sets, from, has_volume, c, &c->set, err);
	c->engine = NULL;
	if (r == 0)
		umbra_token_format(c->set->time, c->token);
	return r;
}

/* A whole volume does not change by a slip. */
static int confirm(const struct call *c, struct umbra_error *err)
{
	_cleanup_free_ char *shown = umbra_text_printable_dup(c->path);
	char answer[16] = "", local[32];

	if (umbra_args_has(c->args, "yes"))
		return 0;
	if (!isatty(STDIN_FILENO))
		return umbra_fail(err, UMBRA_E_USAGE, EINVAL,
				  "this changes all of '%s': say --yes if that is meant", c->path);
	umbra_time_local(c->set->time, local, sizeof(local));
	fprintf(stderr,
		"All of '%s' becomes what it was at %s (%s).\n"
		"What was changed since is only in newer sets then: 'umbra create' makes one.\n",
		shown ? shown : "?", local, c->token);
	if (umbra_args_has(c->args, "force"))
		fputs("Newer copies of it are deleted if there is no room to keep them.\n", stderr);
	fputs("Revert it? [y/N] ", stderr);
	if (!fgets(answer, sizeof(answer), stdin))
		fputc('\n', stderr);
	if (answer[0] == 'y' || answer[0] == 'Y')
		return 0;
	return umbra_fail(err, UMBRA_E_INTERRUPTED, ECANCELED, "nothing was changed");
}

static const struct umbra_set *find(const struct umbra_set_list *sets, const char *id)
{
	size_t i;

	for (i = 0; id && i < sets->n; i++)
		if (strcmp(sets->sets[i]->id.s, id) == 0)
			return sets->sets[i];
	return NULL;
}

/* Sets as {"set","timestamp"}, like delete's. */
static json_t *given_up(const struct call *c, const json_t *ids)
{
	json_t *list = json_array();
	char token[UMBRA_TOKEN_LEN + 1];
	const struct umbra_set *set;
	const json_t *id;
	size_t i;

	json_array_foreach (ids, i, id) {
		set = find(&c->sets, json_string_value(id));
		if (!set)
			continue;
		umbra_token_format(set->time, token);
		json_array_append_new(list,
				      json_pack("{s:s,s:s}", "set", set->id.s, "timestamp", token));
	}
	return list;
}

static int print_json(const struct call *c, const json_t *report, json_t *gone,
		      struct umbra_error *err)
{
	_cleanup_json_ json_t *doc =
		json_pack("{s:s,s:s,s:O,s:O,s:O}", "set", c->set->id.s, "from", c->token, "bytes",
			  json_object_get(report, "bytes"), "resumed",
			  json_object_get(report, "resumed"), "given_up", gone);
	_cleanup_free_ char *path = NULL, *device = NULL;

	if (!doc || umbra_doc_get_path(report, "path", &path) < 0 ||
	    umbra_doc_set_path(doc, "path", path) < 0 ||
	    umbra_doc_get_path(report, "device", &device) < 0 ||
	    umbra_doc_set_path(doc, "device", device) < 0)
		return umbra_oom(err);
	return umbra_output_json(TAKE_PTR(doc), err);
}

/* It has to be unmounted to be reverted, and who mounts it wants to look at it first. */
static int print_mount(const json_t *report, struct umbra_error *err)
{
	_cleanup_free_ char *path = NULL, *device = NULL, *shown = NULL, *shown_device = NULL;

	if (umbra_doc_get_path(report, "path", &path) == 0 &&
	    umbra_doc_get_path(report, "device", &device) == 0) {
		shown = umbra_text_printable_dup(UMBRA_WORD(path));
		shown_device = umbra_text_printable_dup(UMBRA_WORD(device));
	}
	if (!shown || !shown_device)
		return umbra_oom(err);
	printf("it is not mounted: 'mount %s %s' mounts it again\n", shown_device, shown);
	return 0;
}

static int print(const struct call *c, const json_t *report, struct umbra_error *err)
{
	_cleanup_json_ json_t *gone = given_up(c, json_object_get(report, "given_up"));
	_cleanup_free_ char *shown = umbra_text_printable_dup(c->path);
	const json_t *one;
	char size[16];
	size_t i;

	if (!gone || !shown)
		return umbra_oom(err);
	if (c->cli->json)
		return print_json(c, report, gone, err);
	json_array_foreach (gone, i, one)
		printf("given up: %s\n", umbra_doc_string(one, "timestamp"));
	umbra_text_size((unsigned long long)umbra_doc_int(report, "bytes", 0), size, sizeof(size));
	printf("reverted '%s' to %s: %s written\n", shown, c->token, size);
	return print_mount(report, err);
}

static int revert(struct call *c, struct umbra_error *err)
{
	_cleanup_coordinator_ struct umbra_coordinator *coordinator = NULL;
	_cleanup_json_ json_t *report = NULL;
	struct umbra_revert_call call = {
		.path = c->path,
		.set = c->set->id,
		.force = umbra_args_has(c->args, "force"),
		.unmount = umbra_args_has(c->args, "unmount"),
	};
	struct umbra_terminal terminal;
	json_t *warnings = NULL;
	long long wait_s = 0;
	int r = umbra_args_number(c->args, "wait", 0, 1000000, &wait_s, err);

	call.wait_s = (int)wait_s;
	if (r == 0)
		r = umbra_coordinator_connect(c->cli->state, &coordinator, err);
	if (r < 0)
		return r;
	umbra_terminal_init(&terminal);
	r = umbra_coordinator_revert(coordinator, &call, &terminal.observer, &report, &warnings,
				     err);
	umbra_terminal_finish(&terminal);
	umbra_terminal_warnings(warnings);
	return r < 0 ? r : print(c, report, err);
}

static int run(const struct umbra_cli *cli, const struct umbra_args *args, struct umbra_error *err)
{
	struct call c = {.cli = cli, .args = args};
	int r = geteuid() == 0 ? choose(&c, err)
			       : umbra_fail(err, UMBRA_E_PERMISSION, EPERM,
					    "a volume is reverted by root only: 'umbra restore' "
					    "brings files back");

	if (r == 0)
		r = confirm(&c, err);
	if (r == 0)
		r = revert(&c, err);
	umbra_set_list_finish(&c.sets);
	free(c.path);
	return r;
}

const struct umbra_command umbra_command_revert = {
	.name = "revert",
	.words = "PATH --from SET",
	.summary = "Make a whole volume what it was in a set",
	.help = "PATH is the volume's mount point or its block device; it must not be mounted. "
		"The\n"
		"sets stay as they are, so that this can be reverted too. Interrupted, the volume "
		"is\n"
		"not to be used before the same command went on with it.",
	.options = options,
	.min_words = 1,
	.max_words = 1,
	.word = UMBRA_WORD_PATH,
	.run = run,
};
