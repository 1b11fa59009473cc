/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lab.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/util.h"

static char dir[256];
static char *paths[64]; /* what lab_path() gave */
static size_t n_paths;

void lab_open(const char *template)
{
	char made[sizeof(dir)];

	cr_assert_lt(strlen(template), sizeof(made));
	strcpy(made, template);
	lab_use(mkdtemp(made));
}

void lab_use(const char *path)
{
	_cleanup_close_ int fd = -1;

	cr_assert(path && strlen(path) < sizeof(dir));
	strcpy(dir, path);
	/* Also for who becomes another user. */
	fd = open(lab_path("log"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	cr_assert(fd >= 0 && fchmod(fd, 0666) == 0);
}

bool lab_close(void)
{
	bool made = *dir;

	*dir = '\0';
	while (n_paths > 0)
		free(paths[--n_paths]);
	return made;
}

__attribute__((format(printf, 1, 0))) static int shell(const char *fmt, va_list ap)
{
	char *words = NULL, *cmd;
	int r;

	cr_assert_geq(vasprintf(&words, fmt, ap), 0);
	cmd = umbra_asprintf("cd '%s' && { %s\n} >>log 2>&1", dir, words);
	r = system(cmd);
	free(words);
	free(cmd);
	return r == -1 || !WIFEXITED(r) ? 255 : WEXITSTATUS(r);
}

bool lab_true(const char *fmt, ...)
{
	va_list ap;
	int r;

	va_start(ap, fmt);
	r = shell(fmt, ap);
	va_end(ap);
	return r == 0;
}

void lab_run(const char *fmt, ...)
{
	_cleanup_free_ char *log = NULL;
	va_list ap;
	int r;

	va_start(ap, fmt);
	r = shell(fmt, ap);
	va_end(ap);
	if (r != 0)
		umbra_read_file(AT_FDCWD, lab_path("log"), 1 << 20, &log, NULL);
	cr_assert_eq(r, 0, "'%s' failed: %s", fmt, log ? log : "");
}

const char *lab_path(const char *fmt, ...)
{
	char *name = NULL;
	va_list ap;

	va_start(ap, fmt);
	cr_assert_geq(vasprintf(&name, fmt, ap), 0);
	va_end(ap);
	cr_assert_lt(n_paths, UMBRA_ARRAY_SIZE(paths));
	paths[n_paths] = umbra_asprintf("%s%s%s", dir, *name ? "/" : "", name);
	free(name);
	return paths[n_paths++];
}

pid_t lab_fork(void)
{
	pid_t pid = fork();

	if (pid == 0)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	return pid;
}
