/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The hostile tree: everything that a directory can legally hold and that copiers get wrong.
 * A part is one function that fills one directory of its own, given as a descriptor. A part that
 * fails ends the program with a message: a tree that is not hostile must not pass for one.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

struct hostile {
	bool root;     /* with what only root can make */
	uint64_t seed; /* of the next file's content */
};

/* hostile_names.c */
void hostile_names(struct hostile *h, int dir);  /* names of any bytes */
void hostile_types(struct hostile *h, int dir);  /* every file type */
void hostile_depth(struct hostile *h, int dir);  /* 100 directories deep, short names */
void hostile_beyond(struct hostile *h, int dir); /* 100 deep, each name 255 bytes */
void hostile_crowd(struct hostile *h, int dir);  /* 50 000 entries; an empty directory */

/* hostile_data.c */
void hostile_sizes(struct hostile *h, int dir); /* empty, and around page boundaries */
void hostile_holes(struct hostile *h, int dir); /* sparse files, one of 6 GiB */
void hostile_links(struct hostile *h, int dir); /* hard links, also across directories */

/* hostile_meta.c */
void hostile_modes(struct hostile *h, int dir);  /* 0000 to 7777 */
void hostile_times(struct hostile *h, int dir);  /* nanoseconds, before 1970, far ahead */
void hostile_owners(struct hostile *h, int dir); /* uids and gids up to the highest */
void hostile_xattrs(struct hostile *h, int dir); /* user, trusted, capabilities */
void hostile_acls(struct hostile *h, int dir);   /* access, default, deny */

/* Helpers (hostile.c). All end the program when they fail. */
void must(int r, const char *what, const char *name); /* r < 0: errno says why */
int make_dir(int dir, const char *name);              /* and open it */
void make_file(struct hostile *h, int dir, const char *name, size_t size);
