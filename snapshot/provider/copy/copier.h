/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Makes the tree of one copy: walks the origin (walk.h), links what is unchanged to the previous
 * copy, copies the rest (snapshot/sys), and writes the inventory and the table of shown
 * attributes beside the tree.
 *
 * copier.c what it is given and what it tells; copier_dir.c a directory; copier_object.c
 * everything else.
 */
#pragma once

#include <errno.h>
#include <time.h>

#include "snapshot/provider.h"
#include "snapshot/provider/copy/inventory.h"
#include "snapshot/provider/copy/links.h"
#include "snapshot/provider/copy/shown.h"
#include "snapshot/provider/copy/walk.h"
#include "snapshot/sys/attrs.h"
#include "snapshot/sys/clone.h"

/* Where a copy is made of, and where to. All descriptors are borrowed. */
struct umbra_copier_place {
	int origin;     /* root directory */
	int dir;        /* STATE/copies/ID: gets inventory and table */
	int tree;       /* its tree, empty */
	int previous;   /* STATE/copies/ID of the copy to link to, or -1 */
	int state_fd;   /* never walked into */
	const char *id; /* of the shadow copy */
	const char *previous_id;
	const char *origin_path, *store_path; /* for messages */
	/* CLOCK_REALTIME before everything written to the origin until then was written back: a
	 * file that last changed earlier cannot change again without a sign of it. */
	struct timespec settled;
};

struct umbra_copier_totals {
	uint64_t files; /* objects that are no directories */
	uint64_t dirs;
	uint64_t linked; /* of files: shared with the previous copy */
	uint64_t bytes;  /* of the regular files, as they show */
	uint64_t copied; /* of bytes: cloned or copied now */
	bool left_store; /* UMBRA_STORE_OF_VOLUME was there */
};

/*
 * Copies. Notes go to m->shadow, ticks to m->watch; files_total: for the progress, 0 unknown.
 * Neither the inventory nor the table is durable before syncfs().
 */
int umbra_copier_run(struct umbra_member *m, const struct umbra_copier_place *place,
		     uint64_t files_total, struct umbra_copier_totals *totals,
		     struct umbra_error *err);

/* --- what follows is between the parts of the copier --- */

/* What statx() says of an object, when it was made and on which mount it lies (0: not known). */
struct seen {
	struct stat st;
	struct timespec born;
	uint64_t mount;
};

struct entry {
	struct umbra_inventory_record rec; /* names are offsets in the directory's names */
	const struct umbra_inventory_record *before; /* in the previous copy's block, or NULL */
	uint64_t listed_ino;                         /* d_ino: the order to work in */
	unsigned char type;                          /* DT_* */
	bool kept;                                   /* rec is filled in */
};

struct copy_dir {
	struct umbra_walk_dir w; /* first */
	int src, dst;            /* src -1: it was moved away while we walk */
	int prev;                /* O_PATH, or -1 */
	bool has_prev;
	dev_t dev; /* of src, to know it again */
	struct seen seen;
	uint32_t at;          /* among the parent's entries */
	uint32_t number;      /* in the inventory */
	uint32_t prev_number; /* in the previous one */
	struct umbra_inventory_block before;
	struct entry *entries; /* sorted by name */
	size_t n;
	char *names;
	uint32_t names_len;
	uint32_t *order;   /* what is no directory, in the order to work in */
	uint32_t *subdirs; /* what is one */
};

struct copier {
	struct umbra_walk walk; /* first */
	struct umbra_member *m;
	const struct umbra_copier_place *place;
	uint64_t files_total;
	struct umbra_inventory *inventory; /* the previous copy's, or NULL */
	struct umbra_shown *shown;         /* the previous copy's, or NULL */
	struct umbra_inventory_writer *new_inventory;
	struct umbra_shown_writer *new_shown;
	struct umbra_links *links;
	struct umbra_clone_pair pair;
	nlink_t link_max; /* of the store; a guess on the safe side */
	dev_t state_dev;
	ino_t state_ino;
	uint64_t mount;  /* of the origin's root, 0 not known */
	dev_t dev;       /* of the origin's root */
	bool times_tell; /* of every change in the origin: same.h */
	bool user;       /* an ordinary user's store: what cannot be given goes to the table */
	uid_t uid;
	atomic_uint leases; /* that were not given up when we asked */
	atomic_uint_least64_t files, dirs, linked, bytes, copied;
	struct umbra_flush *early; /* under way, or NULL; the main thread's, as the next one */
	uint64_t early_from;       /* copied when it began */
	atomic_bool left_store;
	atomic_bool rounded; /* the store does not have some times exactly */
	pthread_mutex_t notes_lock;
	size_t notes_bytes; /* under notes_lock */
	bool no_memory;     /* under notes_lock: a note was lost */
};

static inline struct copier *copier_of(struct umbra_walk *walk)
{
	return (struct copier *)walk;
}

static inline const char *entry_name(const struct copy_dir *d, const struct entry *e)
{
	return d->names + e->rec.name;
}

/* Does this errno say that it is not there any more, or that something else is? */
static inline bool umbra_copier_gone(int r)
{
	return r == -ENOENT || r == -ENOTDIR || r == -ELOOP || r == -ESTALE || r == -ENXIO;
}

/* ... that we are at a limit of our own? */
static inline bool umbra_copier_exhausted(int r)
{
	return r == -EMFILE || r == -ENFILE || r == -ENOMEM;
}

/* name NULL: dirfd itself. 0 or -errno. */
int umbra_copier_look(int dirfd, const char *name, int more_flags, struct seen *out);

/* Does it lie on the origin's own mount? */
bool umbra_copier_same_mount(const struct copier *c, const struct seen *seen);

/* Has nothing of it changed between two looks? */
bool umbra_copier_held_still(const struct stat *a, const struct stat *b);

/* Notes something about name in d (NULL: d itself). */
void umbra_copier_note(struct copier *c, const struct copy_dir *d, const char *name,
		       const char *kind, const char *text);

/*
 * The store failed at name in d. 0: only this object cannot be kept there, noted; or the
 * negative errno that ends the copy, err filled in.
 */
int umbra_copier_store_failed(struct copier *c, const struct copy_dir *d, const char *name, int r,
			      struct umbra_error *err);

/*
 * Gives the object to (in the store, just made) the attributes of from as far as they can be
 * kept; the rest goes to the table or is noted. true_st: what is to be shown. unreadable: errno for
 * the table, 0 if its content is there. rec: store_ino and flags are set. from NULL: not even its
 * extended attributes can be read.
 */
int umbra_copier_attributes(struct copier *c, const struct copy_dir *d, const char *name,
			    const struct umbra_object *from, const struct umbra_object *to,
			    const struct stat *true_st, int unreadable,
			    struct umbra_inventory_record *rec, struct umbra_error *err);

/* Notes what rec says was lost. */
void umbra_copier_note_lost(struct copier *c, const struct copy_dir *d, const char *name,
			    const struct umbra_inventory_record *rec);

/* Fills in all of rec that comes from the origin. */
void umbra_copier_record(const struct copier *c, struct umbra_inventory_record *rec,
			 const struct stat *st);

/* copier_dir.c */
extern const struct umbra_walk_ops umbra_copier_ops;
struct umbra_walk_dir *umbra_copier_root(struct copier *c);

/* copier_object.c: everything that is no directory; d's descriptors are open. */
int umbra_copier_object(struct copier *c, struct copy_dir *d, struct entry *e,
			struct umbra_error *err);
