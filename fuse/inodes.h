/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The inodes that the kernel knows, as long as it knows them: some 70 bytes each and no
 * descriptor. An inode remembers how it can be reached: a file handle, or its name in its
 * parent, which then stays in the table as long as the child does. Safe for several threads.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fuse/layout.h"

enum umbra_inode_kind {
	UMBRA_INODE_ROOT,
	UMBRA_INODE_LATEST,
	UMBRA_INODE_BY_VOLUME,
	UMBRA_INODE_VOLUME,
	UMBRA_INODE_PLACE,  /* a directory of a set that lies in no copy */
	UMBRA_INODE_TOP,    /* the root directory of a copy */
	UMBRA_INODE_HANDLE, /* in a copy, reached by file handle */
	UMBRA_INODE_PATH,   /* in a copy, reached by name in its parent */
};

/* Constant, but for what is marked; describes an inode to umbra_inodes_add() too. */
struct umbra_inode {
	struct umbra_inode *chain; /* the table's */
	uint64_t id;
	uint64_t lookups; /* how often the kernel was told of it; the table's */
	uint32_t users;   /* requests at work and children; the table's */
	uint16_t len;     /* of the data behind it */
	uint8_t kind;     /* enum umbra_inode_kind */
	bool dir : 1;
	bool empty : 1;              /* the place of a nested subvolume: nothing is below it */
	bool detached : 1;           /* another one has its id now; the table's */
	struct umbra_member *member; /* TOP, HANDLE, PATH */
	union {
		struct umbra_place *place; /* PLACE, LATEST (the set's top); TOP, HANDLE, PATH of
					      directories: or NULL */
		struct umbra_volume_dir *volume; /* VOLUME */
	};
	union {
		struct umbra_inode *parent; /* PATH: in use by this one */
		uint64_t up;                /* others: the parent's id */
	};
};

/* HANDLE: struct file_handle; PATH: the name. */
static inline const void *umbra_inode_data(const struct umbra_inode *inode)
{
	return inode + 1;
}

static inline uint64_t umbra_inode_up(const struct umbra_inode *inode)
{
	return inode->kind == UMBRA_INODE_PATH ? inode->parent->id : inode->up;
}

/* What it lies in and keeps: NULL for ROOT, BY_VOLUME and VOLUME. */
struct umbra_shown *umbra_inode_set(const struct umbra_inode *inode);

struct umbra_inodes;

struct umbra_inodes *umbra_inodes_new(void);
struct umbra_inodes *umbra_inodes_free(struct umbra_inodes *t);

/*
 * Notes that the kernel is told of inode like->id once more, which is made like *like and with
 * like->len bytes of data when it is not there (its set is referenced, its parent used). 0 or
 * -ENOMEM.
 */
int umbra_inodes_add(struct umbra_inodes *t, const struct umbra_inode *like, const void *data);

/* The kernel forgets n lookups. */
void umbra_inodes_forget(struct umbra_inodes *t, uint64_t id, uint64_t n);

/* Stays until umbra_inodes_put(). NULL: the kernel was not told of it. */
struct umbra_inode *umbra_inodes_get(struct umbra_inodes *t, uint64_t id);
/* NULL-safe. */
void umbra_inodes_put(struct umbra_inodes *t, struct umbra_inode *inode);

size_t umbra_inodes_count(struct umbra_inodes *t);
