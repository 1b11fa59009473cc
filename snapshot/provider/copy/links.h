/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Hard links while a tree is copied: where the first link of an inode of the origin went, so that
 * the others become links to it. Knows only inodes with several links, and forgets each when all
 * its links were seen. An inode is known by its number and by what tells it from an earlier one of
 * that number: the file may be deleted while others are copied, and its number used again.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "snapshot/provider/copy/walk.h"

struct umbra_links;

struct umbra_link_id {
	dev_t dev;
	ino_t ino;
	struct timespec born; /* where that is not known: of its last change */
};

static inline bool umbra_link_same(const struct umbra_link_id *a, const struct umbra_link_id *b)
{
	return a->ino == b->ino && a->dev == b->dev && a->born.tv_sec == b->born.tv_sec &&
	       a->born.tv_nsec == b->born.tv_nsec;
}

struct umbra_link {
	struct umbra_link_id id;
	nlink_t left; /* links not seen yet */
	enum { UMBRA_LINK_MAKING, UMBRA_LINK_MADE, UMBRA_LINK_FAILED } state;
	unsigned int users;
	struct umbra_walk_dir *dir; /* referenced; where the first link lies in the copy */
	char *name;
	uint64_t store_ino;
	uint16_t flags; /* UMBRA_INVENTORY_* */
	bool shared;    /* with the previous copy */
	struct umbra_link *next;
};

struct umbra_links *umbra_links_new(struct umbra_walk *walk);
/* When the walk is over: its structs are gone, references are not given back. */
struct umbra_links *umbra_links_free(struct umbra_links *links);

/*
 * A link of id, which has nlink links, was found. *first: the caller is the first, makes
 * the object and says so with umbra_links_made() or umbra_links_failed(). Otherwise waits until
 * that has happened: dir and name are where it lies. Either way umbra_links_put() follows.
 * NULL: no memory, or the walk is stopping.
 */
struct umbra_link *umbra_links_get(struct umbra_links *links, const struct umbra_link_id *id,
				   nlink_t nlink, bool *first);
int umbra_links_made(struct umbra_links *links, struct umbra_link *link, struct umbra_walk_dir *dir,
		     const char *name);
void umbra_links_failed(struct umbra_links *links, struct umbra_link *link);
void umbra_links_put(struct umbra_links *links, struct umbra_link *link);
