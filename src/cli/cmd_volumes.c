/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>
#include <string.h>

#include "cli/command.h"
#include "cli/located.h"
#include "cli/output.h"
#include "snapshot/provider.h"

/* One mounted filesystem and what umbra can do and has done there. */
struct line {
	const struct umbra_volume *volume;
	const struct umbra_provider *provider; /* NULL: none, see why */
	struct umbra_error why;
	size_t copies;
	char newest[UMBRA_TOKEN_LEN + 1];
};

/* The mounted volume that path lies on: the one with the longest path at or above it. */
static size_t lies_on(const struct umbra_volume_list *list, const char *path)
{
	size_t i, best = list->n, len, longest = 0;

	for (i = 0; i < list->n; i++) {
		len = strlen(list->v[i]->path);
		if (umbra_path_below(path, list->v[i]->path) && len >= longest) {
			longest = len;
			best = i;
		}
	}
	return best;
}

struct count {
	struct line *lines;
	const struct umbra_volume_list *volumes;
	struct umbra_located located;
};

/* A volume may be mounted at several places. */
static void count_copy(struct count *c, const struct umbra_set *set,
		       const struct umbra_shadow *shadow)
{
	dev_t device = 0;
	int r = umbra_located_device(&c->located, shadow, &device);
	size_t i = r == 0 ? lies_on(c->volumes, shadow->path) : c->volumes->n;

	if (i < c->volumes->n)
		device = c->volumes->v[i]->dev;
	else if (r <= 0)
		return;
	for (i = 0; i < c->volumes->n; i++) {
		if (c->volumes->v[i]->dev != device)
			continue;
		c->lines[i].copies++;
		umbra_token_format(set->time, c->lines[i].newest);
	}
}

static void count_copies(struct count *c, const struct umbra_set_list *sets)
{
	size_t i, k;

	for (i = 0; i < sets->n; i++)
		for (k = 0; k < sets->sets[i]->n_shadows; k++)
			count_copy(c, sets->sets[i], sets->sets[i]->shadows[k]);
}

static json_t *line_json(const struct line *l)
{
	_cleanup_json_ json_t *obj = json_object();

	if (!obj || umbra_doc_set_path(obj, "path", l->volume->path) < 0 ||
	    umbra_doc_set_string(obj, "fstype", l->volume->fstype) < 0 ||
	    (l->volume->source && umbra_doc_set_path(obj, "device", l->volume->source) < 0) ||
	    umbra_doc_set_string(obj, "uuid", l->volume->uuid) < 0 ||
	    json_object_set_new(obj, "read_only", json_boolean(l->volume->read_only)) < 0 ||
	    umbra_doc_set_string(obj, "provider", l->provider ? l->provider->name : NULL) < 0 ||
	    (!l->provider && umbra_doc_set_string(obj, "why", l->why.text) < 0) ||
	    json_object_set_new(obj, "copies", json_integer((json_int_t)l->copies)) < 0 ||
	    umbra_doc_set_string(obj, "newest", l->copies ? l->newest : NULL) < 0)
		return NULL;
	return TAKE_PTR(obj);
}

static int as_json(const struct line *lines, size_t n, struct umbra_error *err)
{
	_cleanup_json_ json_t *doc = json_object();
	json_t *list = json_array();
	size_t i;

	if (!doc || json_object_set_new(doc, "volumes", list) < 0)
		return umbra_oom(err);
	for (i = 0; i < n; i++)
		if (json_array_append_new(list, line_json(&lines[i])) < 0)
			return umbra_oom(err);
	return umbra_output_json(TAKE_PTR(doc), err);
}

static int as_table(const struct line *lines, size_t n, struct umbra_error *err)
{
	static const struct umbra_column columns[] = {{.title = "PATH"},
						      {.title = "TYPE"},
						      {.title = "DEVICE"},
						      {.title = "PROVIDER"},
						      {.title = "COPIES", .right = true},
						      {.title = "NEWEST"},
						      {.title = "WHY NONE"}};
	struct umbra_table *table = umbra_table_new(columns, UMBRA_ARRAY_SIZE(columns));
	const struct line *l;
	char copies[32];
	size_t i;

	for (i = 0; i < n; i++) {
		l = &lines[i];
		snprintf(copies, sizeof(copies), "%zu", l->copies);
		umbra_table_row(table,
				(const char *[]){l->volume->path, l->volume->fstype,
						 l->volume->source,
						 l->provider ? l->provider->name : "-", copies,
						 l->newest, l->provider ? NULL : l->why.text});
	}
	return umbra_table_print(table, err);
}

static int run(const struct umbra_cli *cli, const struct umbra_args *args, struct umbra_error *err)
{
	_cleanup_engine_ struct umbra_engine *e = NULL;
	_cleanup_volume_list_ struct umbra_volume_list volumes = {0};
	_cleanup_set_list_ struct umbra_set_list sets = {0};
	_cleanup_free_ struct line *lines = NULL;
	struct count count = {.volumes = &volumes};
	size_t i;
	int r;

	(void)args;
	r = umbra_cli_engine(cli, UMBRA_CATALOG_READ, &e, err);
	if (r == 0)
		r = umbra_engine_sets(e, UMBRA_LOAD_BRIEF, &sets, err);
	if (r == 0)
		r = umbra_volume_list_mounted(&volumes, err);
	if (r < 0)
		return r;
	lines = calloc(volumes.n + 1, sizeof(*lines));
	if (!lines)
		return umbra_oom(err);
	for (i = 0; i < volumes.n; i++) {
		lines[i].volume = volumes.v[i];
		if (umbra_provider_choose(volumes.v[i], NULL, &lines[i].provider, &lines[i].why) <
		    0)
			lines[i].provider = NULL;
	}
	count.lines = lines;
	count.located.state_fd = umbra_engine_state_fd(e);
	count_copies(&count, &sets);
	return cli->json ? as_json(lines, volumes.n, err) : as_table(lines, volumes.n, err);
}

const struct umbra_command umbra_command_volumes = {
	.name = "volumes",
	.words = "",
	.summary = "List the mounted volumes, who would copy them, and their shadow copies",
	.help = "COPIES counts shadow copies of the volume and of directories on it.",
	.run = run,
};
