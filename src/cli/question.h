/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is asked before sets are deleted. */
#pragma once

#include "cli/located.h"
#include "snapshot/snapshot.h"

struct umbra_doomed {
	const struct umbra_set_list *all;
	const struct umbra_set **sets; /* of all, oldest first */
	size_t n;
	char *path;               /* they were chosen for what they have of it, or NULL */
	struct umbra_scope scope; /* of path */
	bool wider; /* all were meant that have path, and one has what it is only a part of */
	const char *readers; /* as umbra_readers_of(), or NULL */
};

/* "'/a', '/b'": volumes besides that of path, of which copies that are not lost go with it. "":
 * none. To be freed. */
char *umbra_doomed_besides(const struct umbra_doomed *doomed);

/* Shows on standard error what would go, and asks the terminal on standard input. 0, or -ECANCELED:
 * the answer was not yes. */
int umbra_question(const struct umbra_doomed *doomed, struct umbra_error *err);
