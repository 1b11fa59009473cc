/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A directory for tests that do things with the shell: mounts, loop devices. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

/* Makes the directory, from a mkdtemp() template. The caller removes what is in it. */
void lab_open(const char *template);
/* One that there is. */
void lab_use(const char *path);
/* Forgets it: lab_run() and lab_path() are over. false: it had not been made. */
bool lab_close(void);

/* DIR/fmt…; valid till the test ends. */
const char *lab_path(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* sh -c, in DIR; must succeed. */
void lab_run(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Does sh -c succeed? */
bool lab_true(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* fork(); the child dies with the test. Criterion's assertions hang in it. */
pid_t lab_fork(void);
