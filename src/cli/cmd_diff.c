/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>
#include <string.h>

#include "cli/command.h"
#include "cli/lookup.h"
#include "cli/output.h"
#include "cli/pager.h"
#include "cli/paths.h"
#include "cli/textdiff.h"
#include "common/log.h"
#include "common/text.h"
#include "snapshot/difference.h"
#include "snapshot/versions.h"

/* One call: what is compared, and where the result goes. */
struct call {
	struct umbra_difference d; /* first */
	char *path;
	char from[UMBRA_TOKEN_LEN + 1], to[UMBRA_TOKEN_LEN + 1];
	json_t *changes; /* NULL: print lines */
	size_t n;
};

static void warn(struct umbra_difference *d, const struct umbra_error *why)
{
	(void)d;
	umbra_log_warning("%s", why->text);
}

static json_t *differs_array(int differs)
{
	_cleanup_json_ json_t *list = json_array();
	unsigned int bit;

	for (bit = 0; list && umbra_differs_word(bit); bit++)
		if ((differs & 1 << bit) &&
		    json_array_append_new(list, json_string(umbra_differs_word(bit))) < 0)
			return NULL;
	return TAKE_PTR(list);
}

static int add_json(json_t *changes, enum umbra_change change, const char *path,
		    const struct umbra_node *node, int differs)
{
	_cleanup_json_ json_t *obj = json_object();

	if (!obj || umbra_doc_set_string(obj, "change", umbra_change_name(change)) < 0 ||
	    umbra_doc_set_path(obj, "path", path) < 0 ||
	    umbra_doc_set_string(obj, "type", umbra_type_name(node->st.st_mode)) < 0 ||
	    json_object_set_new(obj, "differs", differs_array(differs)) < 0)
		return -ENOMEM;
	return json_array_append(changes, obj) < 0 ? -ENOMEM : 0;
}

/* "changed  etc/passwd (content, time)" */
static int on_change(struct umbra_difference *d, enum umbra_change change, const char *path,
		     const struct umbra_node *old, const struct umbra_node *new, int differs,
		     struct umbra_error *err)
{
	_cleanup_free_ char *shown = NULL, *what = umbra_differs_text(differs);
	struct call *c = (struct call *)d;
	const char *below = umbra_path_below(path, c->path);
	const struct umbra_node *node = new ? new : old;

	c->n++;
	if (c->changes)
		return add_json(c->changes, change, path, node, differs) < 0 ? umbra_oom(err) : 0;
	shown = umbra_text_printable_dup(*below ? below : ".");
	if (!shown || !what)
		return umbra_oom(err);
	printf("%-8s %s%s%s%s%s\n", umbra_change_name(change), shown,
	       S_ISDIR(node->st.st_mode) ? "/" : "", differs ? " (" : "", what, differs ? ")" : "");
	return 0;
}

static char *label(const char *path, const char *token)
{
	_cleanup_free_ char *shown = umbra_text_printable_dup(path);

	return shown ? umbra_asprintf("%s\t%s", shown, *token ? token : "live") : NULL;
}

/* What diff(1) does not show. Lines like these are skipped by patch(1). */
static void attributes(const struct umbra_node *old, const struct umbra_node *new, int differs)
{
	if (differs & UMBRA_DIFFERS_MODE)
		printf("mode %04o -> %04o\n", old->st.st_mode & 07777, new->st.st_mode & 07777);
	if (differs & UMBRA_DIFFERS_OWNER)
		printf("owner %u:%u -> %u:%u\n", old->st.st_uid, old->st.st_gid, new->st.st_uid,
		       new->st.st_gid);
	if (differs & UMBRA_DIFFERS_XATTRS)
		printf("extended attributes or ACLs differ\n");
}

static int open_side(const struct umbra_view *view, const struct umbra_node *node, const char *path,
		     int *fd, struct umbra_error *err)
{
	if (node->fd < 0)
		return 0;
	if (umbra_node_is_unreadable(node))
		return umbra_view_unreadable(view, path, err);
	*fd = umbra_node_open(node, 0);
	return *fd < 0 ? umbra_fail_errno(err, *fd, "cannot read '%s'", path) : 0;
}

static int regular(struct call *c, const struct umbra_node *old, const struct umbra_node *new,
		   struct umbra_error *err)
{
	_cleanup_free_ char *from = label(c->path, c->from), *to = label(c->path, c->to);
	_cleanup_close_ int a = -1, b = -1;
	int differs = 0, r;

	if (!from || !to)
		return umbra_oom(err);
	if (old->fd >= 0 && new->fd >= 0) {
		differs = umbra_compare(old, new, UMBRA_COMPARE_EXACT, c->path, err);
		if (differs < 0)
			return differs;
		attributes(old, new, differs);
		c->n = differs != 0;
		if (!(differs & UMBRA_DIFFERS_CONTENT))
			return 0;
	}
	c->n = 1;
	r = open_side(c->d.from, old, c->path, &a, err);
	if (r == 0)
		r = open_side(c->d.to, new, c->path, &b, err);
	return r < 0 ? r : umbra_text_diff(a, from, b, to, err);
}

/* Both sides, as far as they are there, are regular files? Then the text is shown. */
static int try_regular(struct call *c, struct umbra_error *err)
{
	_cleanup_node_ struct umbra_node old = UMBRA_NODE_NONE;
	_cleanup_node_ struct umbra_node new = UMBRA_NODE_NONE;
	int r = umbra_view_find(c->d.from, c->path, &old, err);

	if (r >= 0)
		r = umbra_view_find(c->d.to, c->path, &new, err);
	if (r < 0)
		return r;
	if ((old.fd < 0 && new.fd < 0) || (old.fd >= 0 && !S_ISREG(old.st.st_mode)) ||
	    (new.fd >= 0 && !S_ISREG(new.st.st_mode)))
		return 0;
	r = regular(c, &old, &new, err);
	return r < 0 ? r : 1;
}

static int print_json(struct call *c, struct umbra_error *err)
{
	_cleanup_json_ json_t *doc = json_object();

	if (!doc || umbra_doc_set_path(doc, "path", c->path) < 0 ||
	    umbra_doc_set_string(doc, "from", *c->from ? c->from : "live") < 0 ||
	    umbra_doc_set_string(doc, "to", *c->to ? c->to : "live") < 0 ||
	    json_object_set(doc, "changes", c->changes) < 0)
		return umbra_oom(err);
	return umbra_output_json(TAKE_PTR(doc), err);
}

static int compare(struct call *c, struct umbra_error *err)
{
	int r = c->changes ? 0 : try_regular(c, err);

	if (r == 0)
		r = umbra_difference_walk(&c->d, c->path, err);
	if (r == 0)
		return umbra_fail(err, UMBRA_E_NOT_FOUND, ENOENT, "'%s' is neither in %s nor %s%s",
				  c->path, c->from, *c->to ? "in " : "live", *c->to ? c->to : "");
	if (r < 0)
		return r;
	if (c->changes)
		return print_json(c, err);
	if (c->n == 0 && c->d.failed == 0)
		umbra_log_info("'%s' is the same in %s and %s", c->path, c->from,
			       *c->to ? c->to : "the live system");
	return 0;
}

/* The set that a word names, or, without one, the one to compare the live file with. */
static int find_from(const struct umbra_lookup *l, const struct call *c, const char *word,
		     bool to_live, const struct umbra_set **out, struct umbra_error *err)
{
	int r;

	if (word)
		return umbra_set_list_find_for(&l->sets, word, c->path, out, err);
	if (!to_live)
		return umbra_fail(err, UMBRA_E_USAGE, EINVAL,
				  "--to SET needs --from SET (see 'umbra diff --help')");
	r = umbra_versions_choose(&l->opener, &l->sets, c->path, umbra_lookup_warn, NULL, out, err);
	return r < 0 ? r : 0;
}

static int check_covers(const struct umbra_set *set, const char *path, struct umbra_error *err)
{
	char token[UMBRA_TOKEN_LEN + 1];

	if (umbra_set_covering(set, path))
		return 0;
	umbra_token_format(set->time, token);
	return umbra_fail(err, UMBRA_E_NOT_FOUND, ENOENT, "set %s does not cover '%s'", token,
			  path);
}

static int with_views(struct call *c, const struct umbra_opener *opener,
		      const struct umbra_set *from, const struct umbra_set *to,
		      struct umbra_error *err)
{
	_cleanup_view_ struct umbra_view *a = umbra_view_of_set(opener, from);
	_cleanup_view_ struct umbra_view *b =
		to ? umbra_view_of_set(opener, to) : umbra_view_live(opener);
	struct umbra_pager pager = {0};
	int r;

	if (!a || !b)
		return umbra_oom(err);
	umbra_token_format(from->time, c->from);
	if (to)
		umbra_token_format(to->time, c->to);
	c->d.from = a;
	c->d.to = b;
	if (!c->changes)
		umbra_pager_start(&pager);
	r = compare(c, err);
	umbra_pager_finish(&pager);
	return r < 0 ? r : c->d.failed > 0;
}

static int run(const struct umbra_cli *cli, const struct umbra_args *args, struct umbra_error *err)
{
	const char *from_word = umbra_args_value(args, "from"),
		   *to_word = umbra_args_value(args, "to");
	struct call c = {.d = {.change = on_change, .warn = warn, .how = UMBRA_COMPARE_QUICK}};
	_cleanup_json_ json_t *changes = cli->json ? json_array() : NULL;
	const struct umbra_set *from = NULL, *to = NULL;
	_cleanup_lookup_ struct umbra_lookup l = {0};
	_cleanup_free_ char *path = NULL;
	char token[UMBRA_TOKEN_LEN + 1] = "";
	int r = umbra_lookup_begin(&l, cli, err);

	if (r == 0)
		r = umbra_cli_path_in(l.engine, args->words[0], &path, token, err);
	if (r < 0)
		return r;
	c.path = path;
	c.changes = changes;
	if (umbra_args_has(args, "exact"))
		c.d.how = UMBRA_COMPARE_EXACT;
	if (!from_word && *token)
		from_word = token;
	if (to_word)
		r = umbra_set_list_find_for(&l.sets, to_word, path, &to, err);
	if (r < 0)
		return r;
	r = find_from(&l, &c, from_word, !to, &from, err);
	if (r < 0)
		return r;
	r = check_covers(from, path, err);
	if (r == 0 && to)
		r = check_covers(to, path, err);
	return r < 0 ? r : with_views(&c, &l.opener, from, to, err);
}

static const struct umbra_option options[] = {
	{"from", 'f', "SET", "the older side", UMBRA_WORD_SET},
	{"to", 't', "SET", "the newer side (default: the live file)", UMBRA_WORD_SET},
	{"exact", 'x', NULL, "below a directory, read files of equal size and time too",
	 UMBRA_WORD_NONE},
	{0},
};

const struct umbra_command umbra_command_diff = {
	.name = "diff",
	.words = "PATH",
	.summary = "Show how a file or directory has changed since a set was made",
	.help = "A file: a unified diff, made by diff(1), through $PAGER on a terminal. A "
		"directory:\n"
		"one line for each thing added, removed or changed in or below it; files of the "
		"same\n"
		"size and time of modification count as the same, unless --exact.\n"
		"Without --from: the newest set in which the file is not as it is now; for a\n"
		"directory, or a file that is gone, the newest set that has it.",
	.options = options,
	.min_words = 1,
	.max_words = 1,
	.word = UMBRA_WORD_PATH,
	.run = run,
};
