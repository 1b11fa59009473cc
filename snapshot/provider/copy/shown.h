/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The table of shown attributes of a copy: for the inodes of the store whose own attributes are
 * not those of the origin, the true ones. Files of the store are shared with older and newer
 * copies, so their link counts say nothing: whatever is no directory and is not in the table has
 * one link. In an ordinary user's store it also has the owners, modes and device numbers that
 * the user may not give to a file.
 *
 * The file "shown": a header, then entries in increasing order of the store's inode numbers
 * (umbra-copy-store(5)).
 */
#pragma once

#include <stdint.h>
#include <sys/stat.h>

#include "common/util.h"

#define UMBRA_SHOWN_NAME "shown"
#define UMBRA_SHOWN_RUNS ".shown.tmp" /* while the copy is made */

struct umbra_shown_entry {
	uint64_t ino; /* in the store */
	uint32_t nlink;
	uint32_t mode; /* with type */
	uint32_t uid, gid;
	uint32_t major, minor; /* of what a device node stands for */
	uint32_t unreadable;   /* errno that opening it gives (EACCES, EIO), or 0 */
	uint32_t zero;
};

/* --- writing: by any number of threads --- */

struct umbra_shown_writer;

int umbra_shown_create(int dirfd, const char *id, struct umbra_shown_writer **out);
struct umbra_shown_writer *umbra_shown_discard(struct umbra_shown_writer *w);
UMBRA_DEFINE_CLEANUP(struct umbra_shown_writer *, shown_writer, umbra_shown_discard)

int umbra_shown_add(struct umbra_shown_writer *w, const struct umbra_shown_entry *entry);

/* Sorts and writes the file. It is durable with the next syncfs(). */
int umbra_shown_complete(struct umbra_shown_writer *w);

/* --- reading: by any number of threads --- */

struct umbra_shown;

/* Checks all of it. -ENOENT: missing; -EBADMSG: damaged, or another copy's. */
int umbra_shown_open(int dirfd, const char *id, struct umbra_shown **out);
struct umbra_shown *umbra_shown_close(struct umbra_shown *s);
UMBRA_DEFINE_CLEANUP(struct umbra_shown *, shown, umbra_shown_close)

/* 1: *out is its entry. 0: it is not in the table. -EIO: the table was damaged since it was opened.
 */
int umbra_shown_find(const struct umbra_shown *s, uint64_t ino, struct umbra_shown_entry *out);

/* Puts the attributes of an object of the store right. 0 or -EIO. */
int umbra_shown_fix(const struct umbra_shown *s, struct stat *st);
