/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Device-mapper devices, by libdevmapper. May be called from any thread: calls wait for each other.
 * All of it needs root. None of it may be called while a device is held (umbra-design(7)): these
 * calls allocate, log, and wait for udev; snapshot/sys/dm_hold.h is for then.
 *
 * A device of ours is called by its name. Events that changing it causes tell udev to make its
 * links and nothing else: nobody looks for filesystems on it. Nobody waits for udev, so
 * /dev/mapper/NAME can come and go later: umbra_dm_path() is always there. Without udev the node
 * is made by the call. A device of somebody else is called by its number, which it keeps as long as
 * it is open or mounted, while names change; and udev goes on treating it as before.
 *
 * Devices of ours named umbra-…-cow… and umbra-…-wall… have no node: whoever reads every device
 * that there is (blkid, for one) would wait in them as writers do, and keep them in use.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/error.h"
#include "common/util.h"
#include "snapshot/sys/dm_hold.h"
#include "snapshot/sys/dm_table.h"

#define UMBRA_DM_PATH_MAX  32
#define UMBRA_DM_REMOVE_MS 5000

struct umbra_dm_ref {
	const char *name; /* borrowed; or NULL, then */
	dev_t dev;
};

static inline struct umbra_dm_ref umbra_dm_named(const char *name)
{
	return (struct umbra_dm_ref){.name = name};
}

static inline struct umbra_dm_ref umbra_dm_numbered(dev_t dev)
{
	return (struct umbra_dm_ref){.dev = dev};
}

/* A device has two tables: the one in force, and one that was loaded and that the next resume puts
 * in its place. */
enum umbra_dm_which { UMBRA_DM_LIVE, UMBRA_DM_LOADED };

struct umbra_dm_info {
	char name[UMBRA_DM_NAME_MAX];
	char uuid[UMBRA_DM_UUID_MAX]; /* "" when it has none */
	dev_t dev;
	bool suspended;
	bool live;   /* has a table in force */
	bool loaded; /* has one that waits for a resume */
	bool read_only;
	bool removed_later; /* UMBRA_DM_REMOVE_LATER: gone with its last user */
	int open_count;     /* mounts, open files, and devices whose tables name it */
};

/* 0, or why there is no device-mapper for this process: not root, not in this kernel. */
int umbra_dm_available(struct umbra_error *err);

/* Has the kernel this target? Loads the module if need be. -EOPNOTSUPP: it has not. */
int umbra_dm_has_target(const char *target, struct umbra_error *err);

#define UMBRA_DM_NONE 1 /* outcome: there is no such device */

/* 0 or UMBRA_DM_NONE. */
int umbra_dm_info(struct umbra_dm_ref ref, struct umbra_dm_info *out, struct umbra_error *err);

struct umbra_dm_list {
	struct umbra_dm_info *v;
	size_t n;
};
void umbra_dm_list_finish(struct umbra_dm_list *list);
#define _cleanup_dm_list_ _cleanup_(umbra_dm_list_finish)

/* All devices whose uuid begins with prefix, in no order. */
int umbra_dm_list(const char *prefix, struct umbra_dm_list *out, struct umbra_error *err);

/* Of the device itself, always there, also before udev has made /dev/mapper/NAME: /dev/dm-N. */
void umbra_dm_path(dev_t dev, char out[UMBRA_DM_PATH_MAX]);

/* Opens it with these flags (O_CLOEXEC is added). A descriptor; never that of another device. */
int umbra_dm_open(dev_t dev, int flags, struct umbra_error *err);

enum umbra_dm_create_flags {
	UMBRA_DM_READ_ONLY = 1 << 0,
	UMBRA_DM_LOAD_ONLY = 1 << 1, /* the table is loaded, and waits for the first resume */
};

/*
 * Makes a device. *dev may be NULL. -EEXIST when there is one of that name or uuid. What fails half
 * way is removed again; killed half way it leaves a device without a table.
 */
int umbra_dm_create(const char *name, const char *uuid, const struct umbra_dm_table *table,
		    unsigned int flags, dev_t *dev, struct umbra_error *err);

/* Loads a table that the next resume puts in force; one that was loaded before is dropped. flags:
 * UMBRA_DM_READ_ONLY or 0. */
int umbra_dm_load(struct umbra_dm_ref ref, const struct umbra_dm_table *table, unsigned int flags,
		  struct umbra_error *err);

/* Drops the loaded table; there may be none. */
int umbra_dm_unload(struct umbra_dm_ref ref, struct umbra_error *err);

/*
 * From here on I/O to it waits, what was under way has ended. flags: UMBRA_DM_NO_LOCKFS and
 * UMBRA_DM_NO_FLUSH of dm_hold.h. Without UMBRA_DM_NO_LOCKFS it waits
 * for the filesystem to write out everything: call syncfs() before. 0 too when it was suspended
 * already. -EINTR: a signal came while I/O did not end; then it is not suspended.
 */
int umbra_dm_suspend(struct umbra_dm_ref ref, unsigned int flags, struct umbra_error *err);

/* Puts the loaded table in force, if there is one, and lets I/O go on. 0 too when it was not
 * suspended. A device that is not suspended and has a loaded table is suspended for a moment,
 * without freezing its filesystem; if that table cannot be put in force it goes on with its own. */
int umbra_dm_resume(struct umbra_dm_ref ref, struct umbra_error *err);

enum umbra_dm_remove {
	UMBRA_DM_REMOVE_NOW,   /* tries for UMBRA_DM_REMOVE_MS while somebody has it open, then
				* -EBUSY */
	UMBRA_DM_REMOVE_LATER, /* returns at once; the kernel removes it after its last user */
};

/* A device of ours. 0 or UMBRA_DM_NONE. A suspended one is removed too. */
int umbra_dm_remove(const char *name, enum umbra_dm_remove how, struct umbra_error *err);

/* It stays after its last user again, where UMBRA_DM_REMOVE_LATER was said. 0 or UMBRA_DM_NONE. */
int umbra_dm_retain(const char *name, struct umbra_error *err);

/* With keys in it; kernel and library overwrite their copies. A device without that table: an empty
 * table. */
int umbra_dm_table(struct umbra_dm_ref ref, enum umbra_dm_which which, struct umbra_dm_table *out,
		   struct umbra_error *err);

/* As umbra_dm_table(), with the status of each line in place of its parameters. Does not wait for
 * I/O. */
int umbra_dm_status(struct umbra_dm_ref ref, enum umbra_dm_which which, struct umbra_dm_table *out,
		    struct umbra_error *err);

/* The devices that the live table names (the loaded one's are not told). The caller frees *out. */
int umbra_dm_deps(struct umbra_dm_ref ref, dev_t **out, size_t *n, struct umbra_error *err);
