/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the parts of umbra-compare share. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

struct identity;

struct comparison {
	bool atime;          /* compare access times too */
	unsigned long found; /* differences so far */
	struct identity *forth, *back;
};

/* One name in both trees: reached by the directory's descriptor, so depth does not matter. */
struct pair {
	const char *path; /* below both roots, for messages */
	const char *name;
	int dir[2];
	struct stat st[2];
};

/* Prints one difference and counts it. */
void differ(struct comparison *c, const char *path, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* compare_data.c: bytes and hole maps of two regular files of equal size. */
void compare_data(struct comparison *c, const struct pair *p);

/*
 * identity.c: which inode of the other tree an inode stands for. Files are the same file in one
 * tree exactly when they are in the other.
 */
struct identity *identity_new(void);
struct identity *identity_free(struct identity *map);
/* The path under which `from` was seen as something else than `to`, or NULL when all is well. */
const char *identity_check(struct identity *map, const struct stat *from, const struct stat *to,
			   const char *path);
