/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>
#include <string.h>

#include "cli/command.h"
#include "cli/output.h"
#include "cli/settable.h"
#include "common/text.h"
#include "coordinator/client.h"
#include "snapshot/provider.h"

static void line(const char *what, const char *text)
{
	_cleanup_free_ char *shown = umbra_text_printable_dup(text);

	printf("%-12s %s\n", what, shown ? shown : "");
}

static void duration(const char *what, int64_t us)
{
	printf("%-12s %lld µs\n", what, (long long)us);
}

static void head(const struct umbra_set *set)
{
	char token[UMBRA_TOKEN_LEN + 1], local[32];

	umbra_token_format(set->time, token);
	umbra_time_local(set->time, local, sizeof(local));
	line("set", token);
	line("id", set->id.s);
	line("local time", local);
	line("consistency", umbra_set_consistency(set));
	if (set->comment)
		line("comment", set->comment);
	duration("freeze", set->freeze_us);
	duration("hold", set->hold_us);
	duration("skew", set->skew_us);
}

/* What deleting this copy alone would free, where the provider knows. */
static void usage(struct umbra_engine *e, const struct umbra_shadow *shadow, char *out, size_t size)
{
	const struct umbra_provider *p = umbra_provider_find(shadow->provider);
	int64_t bytes = -1;

	if (!p || shadow->condition > UMBRA_CONDITION_REVERTING ||
	    umbra_provider_usage(p, umbra_engine_state_fd(e), shadow, &bytes, NULL) < 0 ||
	    bytes < 0)
		snprintf(out, size, "-");
	else
		umbra_text_size((unsigned long long)bytes, out, size);
}

static void volume_row(struct umbra_table *table, struct umbra_engine *e,
		       const struct umbra_shadow *s)
{
	char begin[32], span[32], frees[32], term[UMBRA_TERM_MAX];
	bool good = s->condition == UMBRA_CONDITION_GOOD;

	snprintf(begin, sizeof(begin), "%lld", (long long)s->begin_us);
	snprintf(span, sizeof(span), "%lld", (long long)(s->end_us - s->begin_us));
	usage(e, s, frees, sizeof(frees));
	umbra_table_row(
		table, (const char *[]){s->path, s->provider, umbra_label_name(s->label), begin,
					span, frees, good ? "" : umbra_condition_name(s->condition),
					good ? "" : umbra_condition_term(s->why, term), s->id.s});
}

static int volumes(struct umbra_engine *e, const struct umbra_set *set, struct umbra_error *err)
{
	static const struct umbra_column columns[] = {
		{.title = "VOLUME"},
		{.title = "PROVIDER"},
		{.title = "CONSISTENCY"},
		{.title = "INSTANT µs", .right = true},
		{.title = "SPAN µs", .right = true},
		{.title = "FREES", .right = true},
		{.title = "STATE", .optional = true},
		{.title = "WHY", .optional = true},
		{.title = "SHADOW COPY"},
	};
	struct umbra_table *table = umbra_table_new(columns, UMBRA_ARRAY_SIZE(columns));
	bool first = true;
	size_t i;
	int r;

	for (i = 0; i < set->n_shadows; i++)
		volume_row(table, e, set->shadows[i]);
	putchar('\n');
	r = umbra_table_print(table, err);
	for (i = 0; r == 0 && i < set->n_shadows; i++)
		if (set->shadows[i]->why)
			umbra_output_why(set->shadows[i]->path, set->shadows[i]->why, &first);
	return r;
}

static int steps(const struct umbra_set *set, struct umbra_error *err)
{
	static const struct umbra_column columns[] = {{.title = "STEP"},
						      {.title = "µs", .right = true}};
	struct umbra_table *table;
	char us[32];
	size_t i;

	if (set->n_steps == 0)
		return 0;
	table = umbra_table_new(columns, UMBRA_ARRAY_SIZE(columns));
	for (i = 0; i < set->n_steps; i++) {
		snprintf(us, sizeof(us), "%lld", (long long)set->steps[i].us);
		umbra_table_row(table, (const char *[]){set->steps[i].name, us});
	}
	putchar('\n');
	return umbra_table_print(table, err);
}

static int note_row(struct umbra_table *table, const json_t *note)
{
	_cleanup_free_ char *path = NULL;
	const char *kind = umbra_doc_string(note, "kind");
	char count[48];

	if (umbra_doc_get_path(note, "path", &path) == -ENOMEM)
		return -ENOMEM;
	snprintf(count, sizeof(count), "%lld not recorded one by one",
		 (long long)umbra_doc_int(note, "count", 0));
	umbra_table_row(
		table, (const char *[]){kind, path ? path : count, umbra_doc_string(note, "text")});
	return 0;
}

static int notes(const struct umbra_set *set, struct umbra_error *err)
{
	static const struct umbra_column columns[] = {
		{.title = "NOTE"}, {.title = "PATH"}, {.title = "WHY"}};
	struct umbra_table *table = umbra_table_new(columns, UMBRA_ARRAY_SIZE(columns));
	size_t i, k, n = 0;
	json_t *note;

	for (i = 0; i < set->n_shadows; i++) {
		json_array_foreach (set->shadows[i]->notes, k, note) {
			n++;
			if (note_row(table, note) < 0)
				table = umbra_table_free(table);
		}
	}
	if (n > 0)
		putchar('\n');
	return umbra_table_print(table, err);
}

static int run(const struct umbra_cli *cli, const struct umbra_args *args, struct umbra_error *err)
{
	_cleanup_engine_ struct umbra_engine *e = NULL;
	_cleanup_set_ struct umbra_set *set = NULL;
	int r;

	r = umbra_cli_engine(cli, UMBRA_CATALOG_READ, &e, err);
	if (r < 0)
		return r;
	r = umbra_engine_find_set(e, args->words[0], &set, err);
	if (r == 0)
		r = umbra_coordinator_find_out(e, &set, 1, err);
	if (r < 0)
		return r;
	if (cli->json)
		return umbra_output_json(umbra_set_public(set, false), err);
	head(set);
	r = volumes(e, set, err);
	if (r == 0)
		r = steps(set, err);
	return r < 0 ? r : notes(set, err);
}

const struct umbra_command umbra_command_show = {
	.name = "show",
	.words = "SET",
	.summary = "Show all that is recorded about one shadow copy set",
	.help = "Volumes and their instants (microseconds after the set began), the steps of the\n"
		"creation, and notes: what is not in the copies as it was in the origin.\n"
		"FREES is what deleting that copy alone would free; - is not known. STATE: that "
		"copy "
		"cannot\n"
		"be read now (inactive, missing) or never again (lost), or its volume is reverted "
		"to "
		"it only\n"
		"in part (reverting).",
	.min_words = 1,
	.max_words = 1,
	.word = UMBRA_WORD_SET,
	.run = run,
};
