/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The catalog: which sets exist. One SQLite file, STATE/catalog.db, described in
 * umbra-catalog(5). Every call is one transaction and durable when it returns. It can be
 * rebuilt from the records that providers keep (engine.h).
 *
 * An unreadable catalog is UMBRA_E_DAMAGED, with the advice to rebuild.
 */
#pragma once

#include "snapshot/set.h"

#define UMBRA_CATALOG_NAME    "catalog.db"
#define UMBRA_CATALOG_VERSION 1

struct umbra_catalog;

enum umbra_catalog_mode {
	UMBRA_CATALOG_READ,  /* a missing catalog is an empty one */
	UMBRA_CATALOG_WRITE, /* made when missing */
	UMBRA_CATALOG_NONE,  /* umbra_engine_open() only: all but the catalog is opened, to rebuild
				it */
};

int umbra_catalog_open(const char *state_dir, enum umbra_catalog_mode mode,
		       struct umbra_catalog **out, struct umbra_error *err);
struct umbra_catalog *umbra_catalog_close(struct umbra_catalog *catalog);
UMBRA_DEFINE_CLEANUP(struct umbra_catalog *, catalog, umbra_catalog_close)
#define _cleanup_catalog_ _cleanup_(umbra_cleanup_catalog)

/*
 * Records a new set as it is (normally PREPARING). Gives it seq, and every shadow copy its index:
 * the next one after the last given that no live copy has. Where set->time is taken by another
 * set the next free second is used. A set or copy id that exists: -EEXIST.
 */
int umbra_catalog_add(struct umbra_catalog *catalog, struct umbra_set *set,
		      struct umbra_error *err);

/*
 * For rebuilding: records a set with the seq, time and indexes it has; where those are taken,
 * as umbra_catalog_add().
 */
int umbra_catalog_restore(struct umbra_catalog *catalog, struct umbra_set *set,
			  struct umbra_error *err);

/* Writes everything of a set again that is already there (-ENOENT otherwise). */
int umbra_catalog_update(struct umbra_catalog *catalog, const struct umbra_set *set,
			 struct umbra_error *err);

int umbra_catalog_set_state(struct umbra_catalog *catalog, const struct umbra_id *id,
			    enum umbra_set_state state, struct umbra_error *err);

/* The set and its copies; not there: 0. */
int umbra_catalog_remove(struct umbra_catalog *catalog, const struct umbra_id *id,
			 struct umbra_error *err);

/* One copy of a set that has others; not there: 0. */
int umbra_catalog_remove_shadow(struct umbra_catalog *catalog, const struct umbra_id *shadow,
				struct umbra_error *err);

enum umbra_load {
	UMBRA_LOAD_BRIEF, /* without steps, data, notes, above: enough to list */
	UMBRA_LOAD_FULL,
};

/* All sets of all states, oldest first. */
int umbra_catalog_load(struct umbra_catalog *catalog, enum umbra_load how,
		       struct umbra_set_list *out, struct umbra_error *err);

/* Sets that are PREPARING or DELETING, full. */
int umbra_catalog_load_unfinished(struct umbra_catalog *catalog, struct umbra_set_list *out,
				  struct umbra_error *err);

/*
 * The newest CREATED set (full) that has a copy of the volume path by this provider; *out is
 * NULL when there is none. *count: how many copies of path there are, by whatever provider.
 */
int umbra_catalog_load_previous(struct umbra_catalog *catalog, const char *path,
				const char *provider, struct umbra_set **out, size_t *count,
				struct umbra_error *err);

/* *time: of the newest set by time, 0 when there is none. */
int umbra_catalog_newest_time(struct umbra_catalog *catalog, int64_t *time,
			      struct umbra_error *err);

/* One set by id, full. -ENOENT. */
int umbra_catalog_load_one(struct umbra_catalog *catalog, const char *id, struct umbra_set **out,
			   struct umbra_error *err);

/* The set that has the shadow copy of this id, full. -ENOENT. */
int umbra_catalog_load_shadow(struct umbra_catalog *catalog, const char *shadow_id,
			      struct umbra_set **out, struct umbra_error *err);

/* The last index that was given to a copy, 0: none. */
int umbra_catalog_last_index(struct umbra_catalog *catalog, int64_t *index,
			     struct umbra_error *err);
/* For rebuilding, after all sets: the next copy gets the one after it. */
int umbra_catalog_set_last_index(struct umbra_catalog *catalog, int64_t value,
				 struct umbra_error *err);

/* SQLite's own full check. 0, or UMBRA_E_DAMAGED. */
int umbra_catalog_verify(struct umbra_catalog *catalog, struct umbra_error *err);
