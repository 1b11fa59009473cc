/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/command.h"
#include "cli/lookup.h"
#include "cli/mounted.h"
#include "cli/observe.h"
#include "cli/output.h"
#include "cli/paths.h"
#include "common/log.h"
#include "common/text.h"
#include "snapshot/restore.h"
#include "snapshot/versions.h"

/* One call of the command. */
struct call {
	struct umbra_restore r; /* first; of the set at hand */
	const struct umbra_args *args;
	struct umbra_lookup l;
	struct umbra_terminal terminal;
	const char *from; /* --from, or NULL */
	char *to;         /* absolute, or NULL */
	bool to_is_dir;
	json_t *restored; /* NULL: print lines */
	json_t *actions;  /* of the path at hand; borrowed */
	size_t failed;
	/* Volumes that are plain directories now: how many, the first, what they were. */
	size_t n_plain;
	char *plain;
	const char *was;
};

static const char *const action_names[] = {
	[UMBRA_RESTORE_MADE] = "made",
	[UMBRA_RESTORE_REPLACED] = "replaced",
	[UMBRA_RESTORE_ATTRS] = "attributes",
	[UMBRA_RESTORE_SKIPPED] = "left alone",
};

static void on_done(struct umbra_restore *r, enum umbra_restored what, const char *path,
		    const struct umbra_node *node, const char *was)
{
	_cleanup_free_ char *shown = NULL;
	struct call *c = (struct call *)r;
	_cleanup_json_ json_t *action = NULL;

	if (was && c->n_plain++ == 0)
		c->plain = strdup(path);
	if (was)
		c->was = was;
	if (!c->actions) {
		shown = umbra_text_printable_dup(path);
		printf("%-10s %s%s%s%s%s\n", action_names[what], shown ? shown : "?",
		       S_ISDIR(node->st.st_mode) ? "/" : "", was ? " (was a " : "", was ? was : "",
		       was ? ")" : "");
		return;
	}
	action = json_pack("{s:s,s:s}", "action", action_names[what], "type",
			   umbra_type_name(node->st.st_mode));
	if (action && umbra_doc_set_path(action, "path", path) == 0 &&
	    (!was || umbra_doc_set_string(action, "was", was) == 0))
		json_array_append(c->actions, action);
}

static void on_warning(struct umbra_restore *r, const struct umbra_error *why)
{
	(void)r;
	umbra_log_warning("%s", why->text);
}

static int on_stop(struct umbra_restore *r)
{
	struct call *c = (struct call *)r;

	return c->terminal.observer.stop(&c->terminal.observer);
}

static void summary(const struct umbra_restore *r, const char *path, const char *token)
{
	_cleanup_free_ char *shown = umbra_text_printable_dup(path);

	printf("%s '%s' from %s: %zu made, %zu replaced, %zu there already",
	       r->dry_run ? "would restore" : "restored", shown ? shown : "?", token, r->made,
	       r->replaced, r->same);
	if (r->attrs)
		printf(", attributes of %zu", r->attrs);
	if (r->kept)
		printf(", %zu kept that the copy does not have", r->kept);
	if (r->failed)
		printf(", %zu FAILED", r->failed);
	putchar('\n');
}

static int add_json(struct call *c, const char *path, const char *dest, const char *token)
{
	const struct umbra_restore *r = &c->r;
	_cleanup_json_ json_t *obj = json_object();

	if (!obj || umbra_doc_set_path(obj, "path", path) < 0 ||
	    umbra_doc_set_path(obj, "to", dest) < 0 ||
	    umbra_doc_set_string(obj, "from", token) < 0 ||
	    json_object_update_new(
		    obj, json_pack("{s:b,s:I,s:I,s:I,s:I,s:I,s:I}", "dry_run", r->dry_run, "made",
				   (json_int_t)r->made, "replaced", (json_int_t)r->replaced, "same",
				   (json_int_t)r->same, "kept", (json_int_t)r->kept, "failed",
				   (json_int_t)r->failed, "bytes", (json_int_t)r->bytes)) < 0 ||
	    json_object_set(obj, "actions", c->actions) < 0)
		return -ENOMEM;
	return json_array_append(c->restored, obj) < 0 ? -ENOMEM : 0;
}

static void tell_lost(const struct umbra_restore *r)
{
	char names[128];

	if (r->incomplete == 0)
		return;
	umbra_log_warning("%s could not be given all attributes back (%s): only root may, or the "
			  "filesystem does not have them",
			  UMBRA_COUNT(r->incomplete, "restored file", "restored files"),
			  umbra_restore_lost(r, names, sizeof(names)));
}

static void tell_plain(const struct call *c)
{
	char more[48] = "";

	if (c->n_plain == 0 || !c->plain)
		return;
	if (c->n_plain > 1)
		snprintf(more, sizeof(more), " and %zu more", c->n_plain - 1);
	umbra_log_warning("'%s'%s: a %s in the set, a plain directory now; to have a %s "
			  "again, make an empty one there before restoring",
			  c->plain, more, c->was, c->was);
}

/* The full set to restore path from. *by_default: nobody said which. */
static int choose(struct call *c, const char *path, const char *token, bool *by_default,
		  struct umbra_set **out, struct umbra_error *err)
{
	const char *name = c->from ? c->from : *token ? token : NULL;
	const struct umbra_set *set = NULL;
	int r;

	*by_default = !name;
	if (name)
		r = umbra_set_list_find_for(&c->l.sets, name, path, &set, err);
	else
		r = umbra_versions_newest(&c->l.opener, &c->l.sets, path, umbra_lookup_warn, NULL,
					  &set, err);
	if (r < 0)
		return r;
	return umbra_catalog_load_one(umbra_engine_catalog(c->l.engine), set->id.s, out, err);
}

static char *destination(const struct call *c, const char *path)
{
	const char *name = strrchr(path, '/') + 1;

	if (!c->to)
		return strdup(path);
	return c->to_is_dir && *name ? umbra_path_join(c->to, name) : strdup(c->to);
}

static int refuse_own(const struct call *c, const char *dest, struct umbra_error *err)
{
	if (!umbra_engine_owns(c->l.engine, dest))
		return 0;
	return umbra_fail(err, UMBRA_E_PERMISSION, EPERM,
			  "nothing is restored into umbra's state directory '%s'",
			  umbra_engine_state_dir(c->l.engine));
}

/* One thing, which was there just as in the copy. */
static bool is_nothing(const struct umbra_restore *r)
{
	return r->same == 1 &&
	       r->made + r->replaced + r->attrs + r->skipped + r->kept + r->failed == 0;
}

/* Who asked for another version than the newest is told which there is. */
static int tell_nothing(struct call *c, const char *path, const struct umbra_set *newest,
			struct umbra_error *err)
{
	_cleanup_free_ char *shown = umbra_text_printable_dup(path);
	const struct umbra_set *other = NULL;
	char token[UMBRA_TOKEN_LEN + 1];
	int r = umbra_versions_choose(&c->l.opener, &c->l.sets, path, NULL, NULL, &other, err);

	if (r < 0)
		return r;
	umbra_token_format(newest->time, token);
	printf("'%s' is already as in the newest set %s", shown ? shown : "?", token);
	if (r == 1 && strcmp(other->id.s, newest->id.s) != 0) {
		umbra_token_format(other->time, token);
		printf("; the newest other version: --from %s", token);
	}
	putchar('\n');
	return 0;
}

static int interrupted(const struct umbra_restore *r, const char *path, struct umbra_error *err)
{
	if (r->dry_run)
		return umbra_fail(err, UMBRA_E_INTERRUPTED, ECANCELED, "interrupted");
	return umbra_fail(err, UMBRA_E_INTERRUPTED, ECANCELED,
			  "interrupted: of '%s' %zu were made and %zu replaced; the same command "
			  "again restores the rest",
			  path, r->made, r->replaced);
}

static int restore(struct call *c, const struct umbra_set *set, const char *path, const char *dest,
		   bool by_default, struct umbra_error *err)
{
	_cleanup_view_ struct umbra_view *view = umbra_view_of_set(&c->l.opener, set);
	_cleanup_json_ json_t *actions = c->restored ? json_array() : NULL;
	char token[UMBRA_TOKEN_LEN + 1];
	int r;

	if (!view || (c->restored && !actions))
		return umbra_oom(err);
	c->r = (struct umbra_restore){.view = view,
				      .state_dir = umbra_engine_state_dir(c->l.engine),
				      .dry_run = umbra_args_has(c->args, "dry-run"),
				      .done = on_done,
				      .warn = on_warning,
				      .stop = on_stop};
	c->actions = actions;
	umbra_token_format(set->time, token);
	r = umbra_restore_path(&c->r, path, dest, err);
	umbra_restore_finish(&c->r);
	c->failed += c->r.failed;
	tell_lost(&c->r);
	/* Also what one that failed or was interrupted has done. */
	if (c->restored && (r == 0 || c->r.made + c->r.replaced + c->r.attrs > 0) &&
	    add_json(c, path, dest, token) < 0)
		return umbra_oom(err);
	if (r < 0)
		return r == -ECANCELED ? interrupted(&c->r, path, err) : r;
	if (c->restored)
		return 0;
	if (by_default && !c->to && is_nothing(&c->r))
		return tell_nothing(c, path, set, err);
	summary(&c->r, path, token);
	return 0;
}

static int one(struct call *c, const char *word, struct umbra_error *err)
{
	_cleanup_free_ char *path = NULL, *dest = NULL;
	_cleanup_set_ struct umbra_set *set = NULL;
	char token[UMBRA_TOKEN_LEN + 1] = "";
	bool by_default;
	int r = umbra_cli_path_in(c->l.engine, word, &path, token, err);

	if (r < 0)
		return r;
	r = choose(c, path, token, &by_default, &set, err);
	if (r < 0)
		return r;
	dest = destination(c, path);
	if (!dest)
		return umbra_oom(err);
	r = refuse_own(c, dest, err);
	if (r == 0 && !c->to)
		r = umbra_cli_check_mounted(set, path, err);
	return r < 0 ? r : restore(c, set, path, dest, by_default, err);
}

/* --to: an existing directory, also through a link, is one to restore into. */
static int resolve_to(struct call *c, const char *word, struct umbra_error *err)
{
	struct stat st;
	int r;

	if (!word)
		return 0;
	if (stat(word, &st) == 0 && S_ISDIR(st.st_mode)) {
		c->to_is_dir = true;
		r = umbra_absolute_path(word, false, &c->to);
		return r < 0 ? umbra_fail_errno(err, r, "cannot reach '%s'", word) : 0;
	}
	if (c->args->n_words > 1)
		return umbra_fail(err, UMBRA_E_USAGE, ENOTDIR,
				  "several things can only be restored to a directory, which '%s' "
				  "is not",
				  word);
	/* /dev/stdout is one, and does not want to be replaced either. */
	if (lstat(word, &st) == 0 && S_ISLNK(st.st_mode))
		return umbra_fail(
			err, UMBRA_E_EXISTS, ELOOP,
			"'%s' is a symbolic link: name what it points to, or another place", word);
	return umbra_cli_path(word, &c->to, err);
}

/* Would it be the same with the next word? */
static bool ends_all(const struct umbra_error *err)
{
	return err->code == UMBRA_E_USAGE || err->code == UMBRA_E_INTERRUPTED ||
	       err->code == UMBRA_E_NO_SPACE || err->code == UMBRA_E_INTERNAL;
}

/* What fails does not keep the others from being restored. */
static int each(struct call *c, struct umbra_error *err)
{
	size_t i;
	int r;

	for (i = 0; i < c->args->n_words; i++) {
		r = one(c, c->args->words[i], err);
		if (r < 0 && ends_all(err))
			return r;
		if (r < 0) {
			umbra_log_error("%s", err->text);
			c->failed++;
		}
	}
	return 0;
}

/* Looked for before anything is done. */
static int check_from(const struct call *c, struct umbra_error *err)
{
	const struct umbra_set *set;

	return c->from ? umbra_set_list_find(&c->l.sets, c->from, &set, err) : 0;
}

static int run(const struct umbra_cli *cli, const struct umbra_args *args, struct umbra_error *err)
{
	_cleanup_json_ json_t *restored = cli->json ? json_array() : NULL;
	struct call c = {
		.args = args, .from = umbra_args_value(args, "from"), .restored = restored};
	int r = umbra_lookup_begin(&c.l, cli, err);

	if (r == 0)
		r = check_from(&c, err);
	if (r == 0)
		r = resolve_to(&c, umbra_args_value(args, "to"), err);
	if (r == 0) {
		umbra_terminal_init(&c.terminal);
		r = each(&c, err);
		umbra_terminal_finish(&c.terminal);
		tell_plain(&c);
	}
	if (json_array_size(restored) > 0) {
		int printed = umbra_output_json(json_pack("{s:O}", "restored", restored),
						r < 0 ? NULL : err);
		r = r < 0 ? r : printed;
	}
	umbra_lookup_finish(&c.l);
	free(c.to);
	free(c.plain);
	return r < 0 ? r : c.failed > 0;
}

static const struct umbra_option options[] = {
	{"from", 'f', "SET", "restore from this set", UMBRA_WORD_SET},
	{"to", 't', "DEST", "restore into the directory DEST, or as DEST", UMBRA_WORD_PATH},
	{"dry-run", 'n', NULL, "only say what would be done", UMBRA_WORD_NONE},
	{0},
};

const struct umbra_command umbra_command_restore = {
	.name = "restore",
	.words = "PATH…",
	.summary = "Bring files and directories back from a set",
	.help = "Without --from: each PATH from the newest set that has it; an older version\n"
		"needs --from ('umbra versions PATH' lists them).\n"
		"A file is replaced as a whole, at once, with all its attributes. Directories are\n"
		"merged: what is only live stays. What is there already is left as it is. Missing\n"
		"parents are made again. No symbolic link is followed.",
	.options = options,
	.min_words = 1,
	.max_words = (size_t)-1,
	.word = UMBRA_WORD_PATH,
	.run = run,
};
