/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "children.h"

#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/util.h"

void children_adopt(void)
{
	prctl(PR_SET_CHILD_SUBREAPER, 1);
}

int children_end(bool (*spared)(pid_t pid))
{
	_cleanup_fclose_ FILE *f = fopen("/proc/thread-self/children", "re");
	int n = 0, pid;

	while (f && fscanf(f, "%d", &pid) == 1) {
		if (spared(pid))
			continue;
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		n++;
	}
	return n;
}

bool child_has_ended(pid_t pid, int limit_ms)
{
	for (; limit_ms > 0; limit_ms -= 10) {
		if (waitpid(pid, NULL, WNOHANG) == pid)
			return true;
		usleep(10000);
	}
	return false;
}
