/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/areas.h"
#include "cli/command.h"
#include "cli/observe.h"
#include "cli/output.h"
#include "common/log.h"

static const struct umbra_option options[] = {
	{"at", 0, "PLACE", "add: a file elsewhere or a block device, not a file in the volume",
	 UMBRA_WORD_PATH},
	{"size", 's', "SIZE", "add, resize: bytes, with K, M, G or T, or N% of the volume",
	 UMBRA_WORD_NONE},
	{"force", 'f', NULL, "also where shadow copies or what lies at PLACE would be lost",
	 UMBRA_WORD_NONE},
	{"wait", 'w', "SECONDS", "wait that long for a creation or deletion to end",
	 UMBRA_WORD_NONE},
	{0},
};

static int bad_size(const char *text, struct umbra_error *err)
{
	return umbra_fail(err, UMBRA_E_USAGE, EINVAL,
			  "--size wants a number of bytes, one with K, M, G or T behind it, or a "
			  "part of the volume, 1%% to 100%%, and not '%s'",
			  text);
}

static int parse_size(const char *text, struct umbra_storage_call *call, struct umbra_error *err)
{
	static const char units[] = "KMGT";
	unsigned long long n;
	const char *unit;
	char *end;
	int shift = 0;

	if (!text)
		return 0;
	errno = 0;
	n = strtoull(text, &end, 10);
	if (*text < '0' || *text > '9' || errno || n == 0)
		return bad_size(text, err);
	if (strcmp(end, "%") == 0 && n <= 100) {
		call->percent = (int)n;
		return 0;
	}
	unit = *end ? strchr(units, *end) : NULL;
	if (unit) {
		shift = 10 * (int)(unit - units + 1);
		end++;
	}
	if (*end || n > (unsigned long long)INT64_MAX >> shift)
		return bad_size(text, err);
	call->size = n << shift;
	return 0;
}

static int report(const struct umbra_cli *cli, const json_t *result, bool is_list,
		  struct umbra_error *err)
{
	json_t *areas = json_object_get(result, "areas");
	json_t *deleted = json_object_get(result, "deleted");
	const json_t *set;
	size_t i;

	if (cli->json)
		return umbra_output_json(
			json_pack("{s:O,s:O*}", "areas", areas, "deleted", deleted), err);
	json_array_foreach (deleted, i, set)
		printf("deleted %s\n", umbra_doc_string(set, "timestamp"));
	if (is_list && json_array_size(areas) == 0)
		umbra_log_info(
			"there are no diff areas yet (the first block copy of a volume makes "
			"one; so does 'umbra storage add PATH')");
	return umbra_areas_print(areas, err);
}

static const char *const verbs[] = {"list", "add", "resize", "remove", NULL};

static bool is_verb(const char *word)
{
	size_t i;

	for (i = 0; verbs[i] && strcmp(verbs[i], word) != 0;)
		i++;
	return verbs[i] != NULL;
}

static int check_words(const char *verb, const struct umbra_args *args, struct umbra_error *err)
{
	bool changes = strcmp(verb, "list") != 0;

	if (!is_verb(verb))
		return umbra_fail(err, UMBRA_E_USAGE, EINVAL,
				  "storage can list, add, resize or remove, and not '%s'%s", verb,
				  strchr(verb, '/') ? " ('umbra storage list PATH' shows one)"
						    : "");
	if (changes && args->n_words < 2)
		return umbra_fail(err, UMBRA_E_USAGE, EINVAL,
				  "storage %s wants the PATH of a volume", verb);
	if (strcmp(verb, "resize") == 0 && !umbra_args_has(args, "size"))
		return umbra_fail(err, UMBRA_E_USAGE, EINVAL, "storage resize wants --size SIZE");
	if (umbra_args_has(args, "at") && strcmp(verb, "add") != 0)
		return umbra_fail(err, UMBRA_E_USAGE, EINVAL, "--at is for storage add");
	if (umbra_args_has(args, "size") && strcmp(verb, "add") != 0 && strcmp(verb, "resize") != 0)
		return umbra_fail(err, UMBRA_E_USAGE, EINVAL,
				  "--size is for storage add and resize");
	if (umbra_args_has(args, "force") && !changes)
		return umbra_fail(err, UMBRA_E_USAGE, EINVAL,
				  "--force is for storage add and remove");
	return 0;
}

static int run(const struct umbra_cli *cli, const struct umbra_args *args, struct umbra_error *err)
{
	_cleanup_coordinator_ struct umbra_coordinator *coordinator = NULL;
	_cleanup_json_ json_t *result = NULL, *warnings = NULL;
	const char *verb = args->n_words ? args->words[0] : "list";
	const char *path = args->n_words > 1 ? args->words[1] : NULL;
	bool is_list = strcmp(verb, "list") == 0;
	struct umbra_storage_call call = {
		.verb = verb,
		.path = is_list ? NULL : path,
		.place = umbra_args_value(args, "at"),
		.force = umbra_args_has(args, "force"),
	};
	struct umbra_terminal terminal;
	long long wait_s = 0;
	int r;

	r = check_words(verb, args, err);
	if (r == 0)
		r = parse_size(umbra_args_value(args, "size"), &call, err);
	if (r == 0)
		r = umbra_args_number(args, "wait", 0, 1000000, &wait_s, err);
	call.wait_s = (int)wait_s;
	if (r == 0)
		r = umbra_coordinator_connect(cli->state, &coordinator, err);
	if (r < 0)
		return r;
	umbra_terminal_init(&terminal);
	r = umbra_coordinator_storage(coordinator, &call, &terminal.observer, &result, &warnings,
				      err);
	umbra_terminal_finish(&terminal);
	if (r < 0)
		return r;
	umbra_terminal_warnings(TAKE_PTR(warnings));
	if (is_list && path)
		r = umbra_areas_choose(json_object_get(result, "areas"), path, err);
	return r < 0 ? r : report(cli, result, is_list, err);
}

const struct umbra_command umbra_command_storage = {
	.name = "storage",
	.words = "[list [PATH]] | add PATH | resize PATH | remove PATH | remove --force ID",
	.summary = "Show and change diff areas: where block copies keep what was replaced",
	.help = "The first shadow copy of a volume makes a diff area by itself: a file in the "
		"volume.\nPATH names the volume that it lies on. ID is what the "
		"list has for a diff\narea that is out of reach; --force gives it up for good.",
	.options = options,
	.max_words = 2,
	.word = UMBRA_WORD_PATH,
	.verbs = verbs,
	.run = run,
};
