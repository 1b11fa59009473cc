/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where the copy provider keeps its copies:
 *
 * STATE/copies/ID/		0700
 * STATE/copies/ID/shadow.json	the record; a copy without it is unfinished
 * STATE/copies/ID/tree/	the copy itself
 * STATE/copies/ID/inventory*	inventory.h
 * STATE/copies/ID/shown	shown.h
 */
#pragma once

#include <stdbool.h>

#define UMBRA_STORE_COPIES "copies"
/* At the top of a volume: where other providers keep what they have of it. It is not copied. */
#define UMBRA_STORE_OF_VOLUME ".umbra"
#define UMBRA_STORE_TREE      "tree"

/* Each: a descriptor or a negative errno. -ENOENT also when id is no id. */
int umbra_store_open(int state_fd, bool make);
int umbra_store_open_copy(int store_fd, const char *id);
int umbra_store_open_tree(int copy_fd);

/* Makes ID/ and ID/tree/. Gives ID/, which is in use until it is closed. */
int umbra_store_make_copy(int store_fd, const char *id);

/* Has somebody the descriptor that it was made with? (A lock on it tells; there may be none on a
 * network filesystem.) */
bool umbra_store_in_use(int copy_fd);

/* Has the copy a record? */
bool umbra_store_finished(int copy_fd);
