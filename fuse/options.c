/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fuse/options.h"

#include <getopt.h>
#include <string.h>
#include <unistd.h>

static const char *const ignored[] = {
	/* what the tree is anyway; mount(8) says rw to helpers when nothing is asked for */
	"ro", "rw", "nosuid", "nodev", "async", "noiversion", "relatime", "norelatime",
	/* what is meant for mount(8), fstab and the boot */
	"defaults", "auto", "noauto", "user", "nouser", "users", "owner", "group", "nofail",
	"_netdev", "silent", "loud"};
static const char *const ignored_beginnings[] = {"x-", "X-", "comment=", "user=", "helper="};
static const char *const for_kernel[] = {"exec", "noexec", "noatime", "nodiratime"};
static const char *const for_kernel_beginnings[] = {
	"context=", "fscontext=", "defcontext=", "rootcontext="};

static bool among(const char *word, const char *const *list, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (strcmp(word, list[i]) == 0)
			return true;
	return false;
}

static bool begins(const char *word, const char *const *list, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (strncmp(word, list[i], strlen(list[i])) == 0)
			return true;
	return false;
}

static int set(char **to, const char *value, struct umbra_error *err)
{
	free(*to);
	*to = strdup(value);
	return *to ? 0 : umbra_oom(err);
}

static int add_kernel(struct umbra_mount_options *o, const char *word, struct umbra_error *err)
{
	char *more;

	if (strpbrk(word, ",\\")) /* would be two options to the kernel */
		return umbra_fail(err, UMBRA_E_USAGE, EINVAL,
				  "option '%s': it cannot have a comma or a backslash", word);
	more = umbra_asprintf("%s%s%s", o->kernel ? o->kernel : "", o->kernel ? "," : "", word);
	if (!more)
		return umbra_oom(err);
	free(o->kernel);
	o->kernel = more;
	return 0;
}

static int take(struct umbra_mount_options *o, const char *word, bool sloppy,
		struct umbra_error *err)
{
	if (!*word || among(word, ignored, UMBRA_ARRAY_SIZE(ignored)) ||
	    begins(word, ignored_beginnings, UMBRA_ARRAY_SIZE(ignored_beginnings)))
		return 0;
	if (among(word, for_kernel, UMBRA_ARRAY_SIZE(for_kernel)) ||
	    begins(word, for_kernel_beginnings, UMBRA_ARRAY_SIZE(for_kernel_beginnings)))
		return add_kernel(o, word, err);
	if (strncmp(word, "state=", 6) == 0 && word[6])
		return set(&o->state, word + 6, err);
	if (strcmp(word, "noothers") == 0) {
		o->others = false;
		return 0;
	}
	if (strcmp(word, "nonempty") == 0) {
		o->nonempty = true;
		return 0;
	}
	if (strcmp(word, "allow_other") == 0) {
		if (geteuid() != 0)
			return umbra_fail(err, UMBRA_E_PERMISSION, EPERM,
					  "option 'allow_other': only root may let others look "
					  "into shadow copies");
		o->others = true;
		return 0;
	}
	if (strcmp(word, "suid") == 0 || strcmp(word, "dev") == 0)
		return umbra_fail(err, UMBRA_E_USAGE, EINVAL,
				  "option '%s': the tree of shadow copies is always nosuid and "
				  "nodev",
				  word);
	if (strcmp(word, "remount") == 0)
		return umbra_fail(err, UMBRA_E_UNSUPPORTED, EOPNOTSUPP,
				  "a tree of shadow copies cannot be remounted, it always is "
				  "read-only: to give it other options unmount it ('umbra umount') "
				  "and mount it again");
	if (sloppy)
		return 0;
	return umbra_fail(err, UMBRA_E_USAGE, EINVAL,
			  "there is no mount option '%s' (see mount.umbra(8))", word);
}

/* Words are parted by commas; "\," is a comma and "\\" a backslash in a word. */
static int take_list(struct umbra_mount_options *o, const char *list, bool sloppy,
		     struct umbra_error *err)
{
	_cleanup_free_ char *word = malloc(strlen(list) + 1);
	size_t len = 0;
	int r;

	if (!word)
		return umbra_oom(err);
	for (;; list++) {
		if (list[0] == '\\' && (list[1] == ',' || list[1] == '\\')) {
			word[len++] = *++list;
			continue;
		}
		if (*list && *list != ',') {
			word[len++] = *list;
			continue;
		}
		word[len] = '\0';
		r = take(o, word, sloppy, err);
		if (r < 0 || !*list)
			return r;
		len = 0;
	}
}

static int take_words(struct umbra_mount_options *o, char **words, int n, struct umbra_error *err)
{
	const char *source;

	if (n != 2)
		return umbra_fail(err, UMBRA_E_USAGE, EINVAL,
				  "give what to mount (a state directory, or 'umbra') and where "
				  "(see 'mount.umbra --help')");
	source = words[0];
	if (strcmp(source, "umbra") != 0 && strcmp(source, "none") != 0) {
		if (!strchr(source, '/'))
			return umbra_fail(err, UMBRA_E_USAGE, EINVAL,
					  "'%s' is not a path: what is mounted is umbra's state "
					  "directory, or 'umbra' for the default",
					  source);
		if (o->state && strcmp(o->state, source) != 0)
			return umbra_fail(err, UMBRA_E_USAGE, EINVAL,
					  "'%s' and option 'state=%s' say different things", source,
					  o->state);
		if (set(&o->state, source, err) < 0)
			return -ENOMEM;
	}
	return set(&o->dir, words[1], err);
}

enum { FOREGROUND = 256, VERSION };

static int take_letters(int argc, char **argv, struct umbra_mount_options *o, const char *lists[64],
			size_t *n, bool *sloppy, struct umbra_error *err)
{
	static const struct option longs[] = {{"foreground", no_argument, NULL, FOREGROUND},
					      {"help", no_argument, NULL, 'h'},
					      {"version", no_argument, NULL, VERSION},
					      {0}};
	int c;

	unsetenv("POSIXLY_CORRECT"); /* mount(8) gives the options last, in any environment */
	optind = 0;
	opterr = 0;
	while ((c = getopt_long(argc, argv, ":o:t:sfnvh", longs, NULL)) != -1) {
		if (c == 'o' && *n < 64)
			lists[(*n)++] = optarg;
		else if (c == 's')
			*sloppy = true;
		else if (c == 'f')
			o->fake = true;
		else if (c == 'v')
			o->verbose = true;
		else if (c == 'h')
			o->help = true;
		else if (c == VERSION)
			o->version = true;
		else if (c == FOREGROUND)
			o->foreground = true;
		else if (c != 'n' && c != 't')
			return umbra_fail(err, UMBRA_E_USAGE, EINVAL,
					  c == ':' ? "'%s' needs an argument"
						   : "there is no option '%s' (see 'mount.umbra "
						     "--help')",
					  argv[optind - 1]);
	}
	return 0;
}

int umbra_mount_options_parse(int argc, char **argv, struct umbra_mount_options *out,
			      struct umbra_error *err)
{
	_cleanup_mount_options_ struct umbra_mount_options o = {.others = geteuid() == 0};
	const char *lists[64];
	bool sloppy = false;
	size_t n = 0, i;
	int r = take_letters(argc, argv, &o, lists, &n, &sloppy, err);

	for (i = 0; i < n && r == 0; i++)
		r = take_list(&o, lists[i], sloppy, err);
	if (r == 0 && !o.help && !o.version)
		r = take_words(&o, argv + optind, argc - optind, err);
	if (r < 0)
		return r;
	*out = o;
	o = (struct umbra_mount_options){0};
	return 0;
}

void umbra_mount_options_finish(struct umbra_mount_options *o)
{
	free(o->state);
	free(o->dir);
	free(o->kernel);
}
