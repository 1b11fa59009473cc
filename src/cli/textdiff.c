/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/textdiff.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/util.h"

#define LOOK 32768 /* diff(1) looks at about as much */

static bool is_binary(int fd)
{
	char buf[LOOK];
	ssize_t n = fd < 0 ? 0 : pread(fd, buf, sizeof(buf), 0);

	return n > 0 && memchr(buf, '\0', (size_t)n);
}

/* A name that leads diff(1) to the descriptor. */
static void name_of(int fd, char name[40])
{
	if (fd < 0)
		snprintf(name, 40, "/dev/null");
	else
		snprintf(name, 40, "/proc/self/fd/%d", fd);
}

static void run_diff(int from, const char *from_label, int to, const char *to_label)
{
	char a[40], b[40];

	if ((from >= 0 && fcntl(from, F_SETFD, 0) < 0) || (to >= 0 && fcntl(to, F_SETFD, 0) < 0))
		_exit(127);
	name_of(from, a);
	name_of(to, b);
	execlp("diff", "diff", "-u", "--label", from_label, "--label", to_label, "--", a, b,
	       (char *)NULL);
	_exit(127);
}

int umbra_text_diff(int from, const char *from_label, int to, const char *to_label,
		    struct umbra_error *err)
{
	int status = 0;
	pid_t pid;

	if (is_binary(from) || is_binary(to)) {
		printf("--- %s\n+++ %s\nBinary files differ\n", from_label, to_label);
		return 0;
	}
	fflush(stdout);
	pid = fork();
	if (pid == 0)
		run_diff(from, from_label, to, to_label);
	if (pid < 0)
		return umbra_fail_errno(err, errno, "cannot run diff");
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
		return umbra_fail(err, UMBRA_E_NOT_FOUND, ENOENT,
				  "cannot run diff(1): install the package diffutils");
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGPIPE)
		return 0; /* the reader had seen enough */
	if (!WIFEXITED(status) || WEXITSTATUS(status) > 1)
		return umbra_fail(err, UMBRA_E_IO, EIO,
				  "cannot show the difference of '%.*s': diff(1) failed",
				  (int)strcspn(from_label, "\t"), from_label);
	return 0;
}
