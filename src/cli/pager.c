/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/pager.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/log.h"
#include "common/util.h"

/* Is there such a program? What is more than a name is for the shell to find. */
static bool is_there(const char *pager)
{
	size_t len = strcspn(pager, " \t");
	const char *path = getenv("PATH"), *dir;

	if (strcspn(pager, "/=$`'\"\\();&|<>") < len || !path)
		return true;
	for (dir = path; *dir; dir += strcspn(dir, ":"), dir += *dir == ':') {
		_cleanup_free_ char *file =
			umbra_asprintf("%.*s/%.*s", (int)strcspn(dir, ":"), dir, (int)len, pager);

		if (file && access(file, X_OK) == 0)
			return true;
	}
	return false;
}

static const char *choose(void)
{
	const char *pager = getenv("PAGER");

	if (!pager)
		return is_there("less") ? "less" : is_there("more") ? "more" : NULL;
	if (!*pager || strcmp(pager, "cat") == 0)
		return NULL;
	if (is_there(pager))
		return pager;
	umbra_log_warning("there is no pager '%s' ($PAGER)", pager);
	return NULL;
}

static void run_pager(const char *pager, int input)
{
	if (dup2(input, STDIN_FILENO) < 0)
		_exit(127);
	setenv("LESS", "FRX", 0);
	/* Who may run umbra as root by sudo may not run a shell from less by that. */
	if (getenv("SUDO_UID"))
		setenv("LESSSECURE", "1", 1);
	execl("/bin/sh", "sh", "-c", pager, (char *)NULL);
	_exit(127);
}

void umbra_pager_start(struct umbra_pager *p)
{
	_cleanup_close_ int input = -1, output = -1;
	const char *pager;
	int ends[2];

	*p = (struct umbra_pager){.saved = -1};
	pager = isatty(STDOUT_FILENO) ? choose() : NULL;
	if (!pager || pipe2(ends, O_CLOEXEC) < 0)
		return;
	input = ends[0];
	output = ends[1];
	fflush(stdout);
	p->saved = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
	p->pid = p->saved < 0 ? -1 : fork();
	if (p->pid == 0)
		run_pager(pager, input);
	if (p->pid < 0 || dup2(output, STDOUT_FILENO) < 0) {
		p->saved = umbra_close(p->saved);
		p->pid = 0;
	}
}

void umbra_pager_finish(struct umbra_pager *p)
{
	if (p->pid <= 0)
		return;
	fflush(stdout);
	/* The pager sees the end when no descriptor of the pipe is left. */
	dup2(p->saved, STDOUT_FILENO);
	p->saved = umbra_close(p->saved);
	while (waitpid(p->pid, NULL, 0) < 0 && errno == EINTR)
		;
	p->pid = 0;
}
