/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/paths.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "cli/shown.h"
#include "common/util.h"

#define LINKS_MAX 40 /* as the kernel */

/* A path being resolved. The first `exists` components of clean are there and fd is their
 * directory; the others are words. */
struct walk {
	char *clean; /* "" is the root */
	char *todo;
	int fd;
	size_t missing; /* components of clean that do not exist */
	int links;
};

static void walk_finish(struct walk *w)
{
	free(w->clean);
	free(w->todo);
	umbra_close(w->fd);
}

static int append(struct walk *w, const char *name, size_t len)
{
	char *more = umbra_asprintf("%s/%.*s", w->clean, (int)len, name);

	if (!more)
		return -ENOMEM;
	free(w->clean);
	w->clean = more;
	return 0;
}

/* Puts what a link says before what is left. */
static int follow(struct walk *w, const char *target, const char *rest)
{
	char *todo = umbra_asprintf("%s%s", target, rest);

	if (!todo)
		return -ENOMEM;
	free(w->todo);
	w->todo = todo;
	if (target[0] == '/') {
		w->clean[0] = '\0';
		umbra_close(w->fd);
		w->fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (w->fd < 0)
			return -errno;
	}
	return ++w->links > LINKS_MAX ? -ELOOP : 0;
}

static int up(struct walk *w)
{
	char *slash = strrchr(w->clean, '/');
	int fd;

	if (slash)
		*slash = '\0';
	if (w->missing > 0) {
		w->missing--;
		return 0;
	}
	fd = openat(w->fd, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	umbra_close(w->fd);
	w->fd = fd;
	return 0;
}

/* One component that is neither "." nor "..". rest begins with the slash behind it, or is "". */
static int step(struct walk *w, const char *name, const char *rest)
{
	char target[PATH_MAX];
	ssize_t n;
	int fd;

	if (w->missing > 0)
		goto lexical;
	if (*rest) {
		n = readlinkat(w->fd, name, target, sizeof(target) - 1);
		if (n >= 0) {
			target[n] = '\0';
			return follow(w, target, rest);
		}
	}
	fd = openat(w->fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC | (*rest ? O_DIRECTORY : 0));
	if (fd >= 0) {
		umbra_close(w->fd);
		w->fd = fd;
		return append(w, name, strlen(name));
	}
	if (errno != ENOENT && errno != ENOTDIR && errno != ENAMETOOLONG)
		return -errno;
lexical:
	w->missing++;
	return append(w, name, strlen(name));
}

static int walk(struct walk *w)
{
	_cleanup_free_ char *name = NULL, *rest = NULL;
	size_t skip, len;
	int r;

	for (;;) {
		skip = strspn(w->todo, "/");
		len = strcspn(w->todo + skip, "/");
		if (len == 0)
			return 0;
		free(name);
		free(rest);
		name = strndup(w->todo + skip, len);
		rest = strdup(w->todo + skip + len);
		if (!name || !rest)
			return -ENOMEM;
		w->todo[0] = '\0';
		if (strcmp(name, ".") == 0)
			r = 0;
		else if (strcmp(name, "..") == 0)
			r = up(w);
		else
			r = step(w, name, rest);
		if (r < 0)
			return r;
		if (!w->todo[0]) { /* not a link, which has put the rest there itself */
			free(w->todo);
			w->todo = TAKE_PTR(rest);
		}
	}
}

/* Where we are, also when that directory has been deleted. */
static char *here(void)
{
	char *cwd = getcwd(NULL, 0);
	const char *pwd;

	if (cwd && cwd[0] == '/')
		return cwd;
	free(cwd);
	pwd = getenv("PWD");
	return strdup(pwd && pwd[0] == '/' ? pwd : "/");
}

/* e NULL: a mounted tree of umbra is a filesystem like others. */
static int resolve(struct umbra_engine *e, const char *word, char **out, char *set,
		   struct umbra_error *err)
{
	_cleanup_(walk_finish) struct walk w = {.fd = -1};
	_cleanup_free_ char *cwd = NULL;
	int r;

	if (!*word)
		return umbra_fail(err, UMBRA_E_USAGE, EINVAL, "a path cannot be empty");
	cwd = here();
	w.clean = strdup("");
	w.todo = cwd ? umbra_asprintf("%s/%s", word[0] == '/' ? "" : cwd, word) : NULL;
	if (!w.clean || !w.todo)
		return umbra_oom(err);
	w.fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	r = w.fd < 0 ? -errno : walk(&w);
	if (r == -ENOMEM)
		return umbra_oom(err);
	if (r < 0)
		return umbra_fail_errno(err, r, "cannot reach '%s'", word);
	if (!*w.clean && append(&w, "", 0) < 0)
		return umbra_oom(err);
	r = e ? umbra_cli_shown(e, w.clean, w.fd, out, set, err) : 0;
	if (r == 0)
		*out = TAKE_PTR(w.clean);
	return r < 0 ? r : 0;
}

int umbra_cli_path(const char *word, char **out, struct umbra_error *err)
{
	return resolve(NULL, word, out, NULL, err);
}

int umbra_cli_path_in(struct umbra_engine *e, const char *word, char **out,
		      char set[UMBRA_TOKEN_LEN + 1], struct umbra_error *err)
{
	_cleanup_free_ char *path = NULL;
	int r;

	set[0] = '\0';
	r = resolve(e, word, &path, set, err);
	if (r < 0)
		return r;
	if (umbra_engine_owns(e, path))
		return umbra_fail(err, UMBRA_E_UNSUPPORTED, EINVAL,
				  "'%s' lies in umbra's own state directory '%s', which no set "
				  "holds",
				  path, umbra_engine_state_dir(e));
	*out = TAKE_PTR(path);
	return 0;
}
