/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Long work on a terminal: a line of progress on standard error, and Ctrl-C. The first SIGINT or
 * SIGTERM asks the coordinator to stop and undo; a second one ends the command at once (the
 * coordinator undoes all the same).
 */
#pragma once

#include "coordinator/client.h"

struct umbra_terminal {
	struct umbra_observer observer; /* first */
	bool drawn;
};

/* One at a time in a process. */
void umbra_terminal_init(struct umbra_terminal *t);
/* Wipes the line. A first SIGINT that comes now is too late to stop anything, and does not keep the
 * command from saying what it did. */
void umbra_terminal_finish(struct umbra_terminal *t);

/* Each as a line on standard error; takes the reference. */
void umbra_terminal_warnings(json_t *warnings);
