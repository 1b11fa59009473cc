/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Files whose blocks stay where they are: preallocated, immutable (chattr +i), and written below
 * the filesystem, which goes on thinking that nothing was ever written there.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

struct umbra_fixed_extent {
	uint64_t logical, physical, length; /* bytes; physical: on the filesystem's device */
};

/* A file without a name in directory dirfd, with all its blocks, durably; a descriptor. What kills
 * this process frees it. */
int umbra_fixed_make(int dirfd, uint64_t bytes, struct umbra_error *err);

/* A file gets that long, with blocks from where it ends now, durably. What fails half way leaves
 * some: umbra_fixed_trim(). */
int umbra_fixed_reserve(int fd, uint64_t bytes, struct umbra_error *err);

/* Blocks beyond `bytes` are given back, durably. */
int umbra_fixed_trim(int fd, uint64_t bytes, struct umbra_error *err);

/* A file, which cannot be opened for writing then, or a directory, in which nothing can be named or
 * removed, and which cannot be renamed. Durable; fd open for reading. */
int umbra_fixed_hold(int fd, bool immutable, struct umbra_error *err);

/* Gives it a name, durably, and, where it is written below the filesystem only, makes it and its
 * directory immutable: who may write to the directory above could rename that. Killed half way, the
 * file has its name and is not immutable. -EEXIST: there is one of that name. */
int umbra_fixed_publish(int fd, int dirfd, const char *name, bool immutable,
			struct umbra_error *err);

/* Where its blocks are, without gaps. UNSUPPORTED: the filesystem does not say, or has not put it
 * anywhere. The caller frees *out. */
int umbra_fixed_extents(int fd, struct umbra_fixed_extent **out, size_t *n,
			struct umbra_error *err);

/* Is it immutable? 1, 0 or negative. */
int umbra_fixed_is(int fd);

/* Removes it; its directory is not immutable then. 0 too when it is not there. */
int umbra_fixed_remove(int dirfd, const char *name, struct umbra_error *err);
