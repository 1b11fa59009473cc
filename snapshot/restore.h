/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Brings files and trees back from a set.
 *
 * - A file, link or special file is made whole under a temporary name in its directory and then
 *   renamed: who is killed leaves the old or the new one, never a part. Temporary names begin with
 *   UMBRA_RESTORE_TEMP; what a killed restore left of them goes when something is restored into the
 *   same directory again.
 * - Directories are merged: what the copy does not have stays. What is there already, just as in
 *   the copy, is not touched. A directory never takes the place of something else, nor gives it.
 * - No symbolic link is followed below "/", in the copy or where it goes.
 * - Mounted filesystems that the set does not cover, and umbra's state directory, are left alone.
 */
#pragma once

#include "snapshot/relink.h"
#include "snapshot/sys/clone.h"
#include "snapshot/view.h"

#define UMBRA_RESTORE_TEMP ".umbra-restore-"

enum umbra_restored {
	UMBRA_RESTORE_MADE,     /* nothing was there */
	UMBRA_RESTORE_REPLACED, /* something else was */
	UMBRA_RESTORE_ATTRS,    /* of a directory that was there */
	UMBRA_RESTORE_SKIPPED,  /* a mount, or umbra's state: left alone */
};

struct umbra_restore {
	struct umbra_view *view; /* of the set; borrowed, like all before the results */
	const char *state_dir;   /* or NULL */
	bool dry_run;            /* look at everything, change nothing */
	/*
	 * Called for everything done, or that would be done; path: where it goes. was: what it is
	 * not any more ("subvolume": a volume that is made again as a directory), or NULL. May be
	 * NULL.
	 */
	void (*done)(struct umbra_restore *r, enum umbra_restored what, const char *path,
		     const struct umbra_node *node, const char *was);
	/* Something could not be restored; the others are. May be NULL. */
	void (*warn)(struct umbra_restore *r, const struct umbra_error *why);
	/* Called often; nonzero: stop (-ECANCELED). May be NULL. */
	int (*stop)(struct umbra_restore *r);

	/* Results, zero at first; of all calls. */
	size_t made, replaced, attrs, skipped;
	size_t same;       /* were there already just so */
	size_t kept;       /* are live, the copy does not have them */
	size_t failed;     /* could not be restored */
	size_t incomplete; /* some attributes could not be kept */
	unsigned int lost; /* which: umbra_restore_lost() */
	uint64_t bytes;

	struct umbra_clone_watch watch; /* private from here on; zero at first */
	struct umbra_error why;
	unsigned int depth;
	struct umbra_clone_pair pair;
	struct umbra_relink links;
	bool wrote;
};

/*
 * Restores path (as sets know it) to dest (absolute and clean, the name that it gets). When dest
 * is path, missing parents are made again as they were; else the parent of dest must be there.
 * 0 also when single files failed (see failed). -ENOENT: path is not in the set. Can be called
 * again for other paths of the same set; hard links are kept among all of them.
 */
int umbra_restore_path(struct umbra_restore *r, const char *path, const char *dest,
		       struct umbra_error *err);

/* "owner, ACLs": which attributes were lost. Returns buf. */
const char *umbra_restore_lost(const struct umbra_restore *r, char *buf, size_t size);

/* Frees what is private. */
void umbra_restore_finish(struct umbra_restore *r);
