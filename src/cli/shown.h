/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* From a path in a mounted tree of umbra to the live path that it shows. */
#pragma once

#include "snapshot/snapshot.h"

/*
 * 1: path (absolute, clean; fd is what of it exists) lies in the mounted tree of e's state
 * directory, *out is the live path that it shows (free it), and *set the @GMT token of the set that
 * it lies in. 0: it lies in no mounted tree. Refused: a tree of another state directory, and what
 * is in a tree but in none of its sets.
 */
int umbra_cli_shown(struct umbra_engine *e, const char *path, int fd, char **out,
		    char set[UMBRA_TOKEN_LEN + 1], struct umbra_error *err);
