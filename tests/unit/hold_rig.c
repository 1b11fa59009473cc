/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "children.h"
#include "common/util.h"
#include "coordinator_rig.h"
#include "hold_lab.h"
#include "hold_rig.h"
#include "snapshot/engine.h"

static char held_dir[96];

void hold_begin(void)
{
	rig_begin();
	place_need_root("to lock memory");
	snprintf(held_dir, sizeof(held_dir), "%s/held", place);
	setenv("UMBRA_TEST_HELD", held_dir, 1);
	setenv("UMBRA_TEST_HOLD_MS", "1500", 1);
	setenv("UMBRA_TEST_NOW", "2000000000", 1); /* nobody waits for the next second */
	unsetenv("UMBRA_TEST_FAULT");
	lab_begin();
	children_adopt();
	fake_plan =
		(struct fake_plan){.major = lab_major, .minors = {lab_minors[0], lab_minors[1]}};
}

/* Whoever was left stopped is ours now. */
int hold_end_children(void)
{
	return children_end(lab_owns);
}

bool hold_is_guard(pid_t pid)
{
	_cleanup_free_ char *path = umbra_asprintf("/proc/%d/comm", (int)pid);
	_cleanup_fclose_ FILE *f = fopen(path, "re");
	char comm[20] = "";

	return lab_owns(pid) ||
	       (f && fgets(comm, sizeof(comm), f) &&
		(strcmp(comm, "umbra-guard\n") == 0 || strcmp(comm, "umbra-second\n") == 0));
}

void hold_end(void)
{
	while (hold_end_children() > 0)
		;
	lab_end();
	place_end();
}

/* A requester of its own: it may wait for a coordinator that was stopped. */
pid_t hold_start(const char *faults)
{
	pid_t pid = fork();
	struct umbra_error err = {0};
	struct umbra_id id;
	int r;

	if (pid == 0) {
		if (faults)
			setenv("UMBRA_TEST_FAULT", faults, 1);
		r = rig_create(&id, &err);
		_exit(r == 0 ? 0 : 1);
	}
	return pid;
}

bool hold_none(void)
{
	return !lab_suspended(0) && !lab_suspended(1);
}

size_t hold_lists(void)
{
	return rig_entries("../held");
}

void hold_wait_until_free(const char *what, int limit_ms)
{
	int ms;

	for (ms = 0; ms < limit_ms && (hold_lists() > 0 || !hold_none()); ms += 10)
		usleep(10000);
	cr_assert(hold_none(), "%s: held after %d ms", what, limit_ms);
	cr_assert(lab_works(0) && lab_works(1), "%s: does not work", what);
}

size_t hold_sets(enum umbra_set_state wanted)
{
	_cleanup_set_list_ struct umbra_set_list list = {0};
	size_t i, n = 0;

	rig_sets(UMBRA_LOAD_FULL, &list);
	for (i = 0; i < list.n; i++)
		n += list.sets[i]->state == wanted;
	return n;
}

/* What was held and released, in order. */
char *hold_calls(void)
{
	_cleanup_free_ char *calls = rig_calls();
	char *out = calloc(1, 100), *at = calls, *line;

	while (strlen(out) < 80 && (line = strsep(&at, "\n")))
		if (strncmp(line, "hold", 4) == 0 || strncmp(line, "release", 7) == 0)
			sprintf(out + strlen(out), "%s;", line);
	return out;
}

/* So many of them, by now? */
bool hold_was_held(unsigned int n)
{
	_cleanup_close_ int dir = open(rig_state, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_free_ char *calls = NULL;
	const char *at;

	if (umbra_read_file(dir, "calls", 10000, &calls, NULL) < 0)
		return false;
	for (at = calls; n > 0 && (at = strstr(at, "hold ")); at++)
		n--;
	return n == 0;
}

bool hold_wait_until_held(void)
{
	int ms;

	for (ms = 0; ms < 1000 && !(lab_suspended(0) && lab_suspended(1)); ms += 10)
		usleep(10000);
	return lab_suspended(0) && lab_suspended(1);
}

/* As the name of its list says. */
pid_t hold_holder(void)
{
	_cleanup_dir_ DIR *dir = opendir(held_dir);
	struct dirent *d;
	pid_t pid = 0;

	while (dir && (d = readdir(dir)))
		if (d->d_name[0] != '.')
			pid = atoi(d->d_name);
	return pid;
}
