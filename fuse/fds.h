/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A bounded cache of descriptors by node id: a directory's O_PATH descriptor, a file's for
 * reading. What is in use is never closed, so the bound can be exceeded by what threads use at
 * one time. Safe for several threads.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct umbra_fds;

/* One descriptor in use. */
struct umbra_fd {
	int fd;
	/* The rest is the cache's. */
	uint64_t id;
	unsigned int users;
	int dropped; /* not in the cache any more: closed by its last user */
	struct umbra_fd *chain, *newer, *older;
};

struct umbra_fds *umbra_fds_new(size_t max);
struct umbra_fds *umbra_fds_free(struct umbra_fds *fds);

/* In use from here to umbra_fds_put(). NULL: not there. */
struct umbra_fd *umbra_fds_get(struct umbra_fds *fds, uint64_t id);

/* Takes fd; if another thread was faster, its descriptor is returned and fd closed. In use. NULL:
 * out of memory, fd is closed. */
struct umbra_fd *umbra_fds_add(struct umbra_fds *fds, uint64_t id, int fd);

/* NULL-safe. */
void umbra_fds_put(struct umbra_fds *fds, struct umbra_fd *fd);

/* Forgets all descriptors of the copy with this index, or, -1, all that are not in use. */
void umbra_fds_drop(struct umbra_fds *fds, int index);

size_t umbra_fds_count(struct umbra_fds *fds);
