/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>
#include <string.h>

#include "cli/command.h"
#include "cli/lookup.h"
#include "cli/output.h"
#include "cli/paths.h"
#include "common/text.h"
#include "snapshot/versions.h"

static json_t *tokens(const struct umbra_version *v)
{
	_cleanup_json_ json_t *list = json_array();
	char token[UMBRA_TOKEN_LEN + 1];
	size_t i;

	for (i = 0; list && i < v->n_sets; i++) {
		umbra_token_format(v->sets[i]->time, token);
		if (json_array_append_new(list, json_string(token)) < 0)
			return NULL;
	}
	return TAKE_PTR(list);
}

static json_t *version_json(const struct umbra_version *v)
{
	char newest[UMBRA_TOKEN_LEN + 1];

	umbra_token_format(v->sets[0]->time, newest);
	return json_pack("{s:s,s:I,s:I,s:I,s:s,s:I,s:I,s:I,s:b,s:b,s:o}", "timestamp", newest,
			 "size", (json_int_t)v->st.st_size, "mtime",
			 (json_int_t)v->st.st_mtim.tv_sec, "mtime_ns",
			 (json_int_t)v->st.st_mtim.tv_nsec, "type", umbra_type_name(v->st.st_mode),
			 "mode", (json_int_t)(v->st.st_mode & 07777), "uid",
			 (json_int_t)v->st.st_uid, "gid", (json_int_t)v->st.st_gid, "live", v->live,
			 "unreadable", v->unreadable, "sets", tokens(v));
}

static int as_json(const struct umbra_versions *versions, const char *path, struct umbra_error *err)
{
	_cleanup_json_ json_t *doc = json_object();
	json_t *list = json_array();
	size_t i;

	if (!doc || json_object_set_new(doc, "versions", list) < 0 ||
	    umbra_doc_set_path(doc, "path", path) < 0 ||
	    json_object_set_new(doc, "exists", json_boolean(versions->live_exists)) < 0 ||
	    json_object_set_new(doc, "damaged", json_integer((json_int_t)versions->damaged)) < 0)
		return umbra_oom(err);
	for (i = 0; i < versions->n; i++)
		if (json_array_append_new(list, version_json(&versions->v[i])) < 0)
			return umbra_oom(err);
	return umbra_output_json(TAKE_PTR(doc), err);
}

static void row(struct umbra_table *table, const struct umbra_version *v)
{
	char newest[UMBRA_TOKEN_LEN + 1], oldest[UMBRA_TOKEN_LEN + 1];
	char modified[32], size[32] = "", count[32];

	umbra_token_format(v->sets[0]->time, newest);
	umbra_token_format(v->sets[v->n_sets - 1]->time, oldest);
	umbra_time_local(v->st.st_mtim.tv_sec, modified, sizeof(modified));
	if (S_ISREG(v->st.st_mode))
		umbra_text_size((unsigned long long)v->st.st_size, size, sizeof(size));
	snprintf(count, sizeof(count), "%zu", v->n_sets);
	umbra_table_row(table, (const char *[]){newest, v->n_sets > 1 ? oldest : NULL, count,
						modified, size, umbra_type_name(v->st.st_mode),
						v->unreadable ? "content was not readable"
						: v->live     ? "as now"
							      : NULL});
}

static int as_table(const struct umbra_versions *versions, struct umbra_error *err)
{
	static const struct umbra_column columns[] = {{.title = "NEWEST SET"},
						      {.title = "OLDEST SET"},
						      {.title = "SETS", .right = true},
						      {.title = "MODIFIED"},
						      {.title = "SIZE", .right = true},
						      {.title = "TYPE"},
						      {.title = ""}};
	struct umbra_table *table = umbra_table_new(columns, UMBRA_ARRAY_SIZE(columns));
	size_t i;

	for (i = 0; i < versions->n; i++)
		row(table, &versions->v[i]);
	return umbra_table_print(table, err);
}

static int run(const struct umbra_cli *cli, const struct umbra_args *args, struct umbra_error *err)
{
	unsigned int flags =
		UMBRA_VERSIONS_LIVE | (umbra_args_has(args, "all") ? UMBRA_VERSIONS_ALL : 0);
	_cleanup_versions_ struct umbra_versions versions = {0};
	_cleanup_lookup_ struct umbra_lookup l = {0};
	_cleanup_free_ char *path = NULL;
	char token[UMBRA_TOKEN_LEN + 1];
	int r = umbra_lookup_begin(&l, cli, err);

	if (r == 0)
		r = umbra_cli_path_in(l.engine, args->words[0], &path, token, err);
	if (r == 0)
		r = umbra_versions_find(&l.opener, &l.sets, path, flags, umbra_lookup_warn, NULL,
					&versions, err);
	if (r < 0)
		return r;
	if (versions.n == 0)
		return umbra_versions_absent(&l.sets, path, versions.covering, versions.damaged,
					     err);
	return cli->json ? as_json(&versions, path, err) : as_table(&versions, err);
}

static const struct umbra_option options[] = {
	{"all", 'a', NULL, "one line for every set that has PATH", UMBRA_WORD_NONE},
	{0},
};

const struct umbra_command umbra_command_versions = {
	.name = "versions",
	.words = "PATH",
	.summary = "List the different versions of a file or directory, newest first",
	.help = "PATH may be deleted, and so may its parents. A symbolic link is listed itself.\n"
		"Type, size, time of modification and content make a version; for a directory\n"
		"its own entries do, not what is in them.",
	.options = options,
	.min_words = 1,
	.max_words = 1,
	.word = UMBRA_WORD_PATH,
	.run = run,
};
