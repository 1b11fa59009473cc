/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The inventory of a copy: what every object of the origin looked like when it was copied, so
 * that the next copy knows what is unchanged without reading anything else. Directory by
 * directory, names sorted by strcmp(). umbra-copy-store(5) describes the two files:
 *
 * inventory	header, then one block a directory: records, then their names
 * inventory.dirs	header, then for directory N where its block lies, how long it is, its sum
 *
 * Both are in the machine's own byte order. Every length and sum is checked when it is read;
 * what is damaged is as good as missing, and what it described is copied anew.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "common/util.h"

#define UMBRA_INVENTORY_NAME "inventory"
#define UMBRA_INVENTORY_DIRS "inventory.dirs"
#define UMBRA_INVENTORY_NONE UINT32_MAX /* no directory */

enum {
	/* It may have changed after it was read without any sign of it: never unchanged. */
	UMBRA_INVENTORY_UNSURE = 1 << 0,
	/* The table of shown attributes (shown.h) has an entry for store_ino. */
	UMBRA_INVENTORY_SHOWN = 1 << 1,
	/* What the file in the store lost, so that every copy that shares it says so. */
	UMBRA_INVENTORY_LOST_XATTRS = 1 << 2,
	UMBRA_INVENTORY_LOST_ACLS = 1 << 3,
	UMBRA_INVENTORY_LOST_TIMES = 1 << 4,
	UMBRA_INVENTORY_ROUNDED_TIMES = 1 << 5, /* by less than a filesystem's clock may tick */
};

struct umbra_inventory_record {
	uint64_t ino; /* in the origin, as all up to gid */
	uint64_t size;
	int64_t mtime, ctime;
	uint32_t mtime_ns, ctime_ns;
	uint32_t mode, nlink, uid, gid;
	uint64_t store_ino; /* in the store */
	uint32_t dir;       /* its number, UMBRA_INVENTORY_NONE for what is no directory */
	uint32_t name;      /* offset among the block's names; a NUL follows it */
	uint16_t name_len;
	uint16_t flags;
	uint32_t zero;
};

/* --- writing: by any number of threads --- */

struct umbra_inventory_writer;

/* id: of the shadow copy; both files must not exist. */
int umbra_inventory_create(int dirfd, const char *id, struct umbra_inventory_writer **out);
struct umbra_inventory_writer *umbra_inventory_discard(struct umbra_inventory_writer *w);
UMBRA_DEFINE_CLEANUP(struct umbra_inventory_writer *, inventory_writer, umbra_inventory_discard)

/* The number of a new directory; the root's is the first, 0. */
uint32_t umbra_inventory_number(struct umbra_inventory_writer *w);

/* The block of directory dir: n records, names as in struct umbra_inventory_block. */
int umbra_inventory_write(struct umbra_inventory_writer *w, uint32_t dir,
			  const struct umbra_inventory_record *records, uint32_t n,
			  const char *names, uint32_t names_len);

/* Makes it valid. It is durable with the next syncfs(). */
int umbra_inventory_complete(struct umbra_inventory_writer *w);

/* --- reading: by any number of threads --- */

struct umbra_inventory;

/* -ENOENT: missing; -EBADMSG: damaged, or another copy's. */
int umbra_inventory_open(int dirfd, const char *id, struct umbra_inventory **out);
struct umbra_inventory *umbra_inventory_close(struct umbra_inventory *inv);
UMBRA_DEFINE_CLEANUP(struct umbra_inventory *, inventory, umbra_inventory_close)

struct umbra_inventory_block {
	void *space; /* owned; free() */
	const struct umbra_inventory_record *records;
	const char *names;
	uint32_t n, names_len;
};

/* -ENOENT: no such directory; -EBADMSG: damaged. */
int umbra_inventory_read(const struct umbra_inventory *inv, uint32_t dir,
			 struct umbra_inventory_block *out);

static inline const char *umbra_inventory_name(const struct umbra_inventory_block *b,
					       const struct umbra_inventory_record *r)
{
	return b->names + r->name;
}
