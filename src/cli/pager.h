/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Long output on a terminal goes through $PAGER. */
#pragma once

#include "common/error.h"

struct umbra_pager {
	int pid;   /* 0: none */
	int saved; /* the terminal */
};

/* Does nothing when standard output is no terminal, or PAGER is empty or "cat", or it cannot be
 * started; a PAGER that is not there is a warning. */
void umbra_pager_start(struct umbra_pager *p);

/* Sends what is left and waits until the person has read it. */
void umbra_pager_finish(struct umbra_pager *p);
