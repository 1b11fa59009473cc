/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* From what a person typed to the path by which sets know it. */
#pragma once

#include "snapshot/snapshot.h"

/*
 * The absolute, clean path that word means, as sets record paths: symbolic links are followed
 * everywhere but in the last component (also there, when word ends in a slash). What does not
 * exist is taken as it is written, so the path of a deleted file, also one below deleted
 * directories, comes out as it was. Any length. The caller frees *out.
 */
int umbra_cli_path(const char *word, char **out, struct umbra_error *err);

/*
 * As umbra_cli_path(), but a path inside a mounted tree of umbra is the live path that it shows;
 * then *set becomes the @GMT token of the set that it lies in, else "". Refuses what lies in
 * umbra's own state directory.
 */
int umbra_cli_path_in(struct umbra_engine *e, const char *word, char **out,
		      char set[UMBRA_TOKEN_LEN + 1], struct umbra_error *err);
