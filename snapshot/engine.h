/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The engine: one state directory with its catalog, and the copies that providers keep for it.
 * For readers (command line, FUSE tree) and for the coordinator, which alone changes anything.
 *
 * STATE/			0700
 * STATE/catalog.db		catalog.h
 * STATE/catalog.made		there has been a catalog: one that is missing or empty is damage
 * STATE/lock			flock(): held by whoever creates or deletes (coordinator)
 * STATE/reserve		reserve.h
 * STATE/copies/		what provider copy keeps
 * STATE/conditions/		conditions.h
 * STATE/forgotten/		forgotten.h
 * STATE/mounts/		sockets of mounted trees (mounts.h)
 */
#pragma once

#include "snapshot/catalog.h"
#include "snapshot/root.h"
#include "snapshot/set.h"

struct umbra_engine;

/*
 * The state directory: choice if not NULL, else $UMBRA_STATE, else UMBRA_STATE_SYSTEM for root
 * and $XDG_STATE_HOME/umbra (~/.local/state/umbra) for others. Absolute; need not exist yet.
 */
int umbra_state_dir(const char *choice, char **out, struct umbra_error *err);

/*
 * For who would show what is there rather than begin anew: refuses a state_dir (from
 * umbra_state_dir()) that has never held state, unless it is the default place, which is made on
 * first use. Makes nothing.
 */
int umbra_state_known(const char *state_dir, struct umbra_error *err);

/* For writing the directory is made; it must belong to the caller and nobody else may enter it.
 * For reading a missing one has no sets. */
int umbra_engine_open(const char *state_dir, enum umbra_catalog_mode mode,
		      struct umbra_engine **out, struct umbra_error *err);
struct umbra_engine *umbra_engine_close(struct umbra_engine *e);
UMBRA_DEFINE_CLEANUP(struct umbra_engine *, engine, umbra_engine_close)
#define _cleanup_engine_ _cleanup_(umbra_cleanup_engine)

/* For an engine that was opened with UMBRA_CATALOG_NONE: its catalog after all. */
int umbra_engine_open_catalog(struct umbra_engine *e, enum umbra_catalog_mode mode,
			      struct umbra_error *err);

const char *umbra_engine_state_dir(const struct umbra_engine *e);
int umbra_engine_state_fd(const struct umbra_engine *e); /* -1: there is none (reading) */
struct umbra_catalog *umbra_engine_catalog(struct umbra_engine *e);

/* Sets in state CREATED, oldest first. */
int umbra_engine_sets(struct umbra_engine *e, enum umbra_load how, struct umbra_set_list *out,
		      struct umbra_error *err);

/*
 * The set (full) that name means: an @GMT token, an id or unique prefix of one (at least 4
 * digits), "latest", "oldest", "latest~N" (N sets before the latest).
 */
int umbra_engine_find_set(struct umbra_engine *e, const char *name, struct umbra_set **out,
			  struct umbra_error *err);

/* The same choice from a list, without I/O: an element of it. */
int umbra_set_list_find(const struct umbra_set_list *list, const char *name,
			const struct umbra_set **out, struct umbra_error *err);

/* As above, but "latest", "oldest" and "latest~N" count only the sets that are wanted (1, 0, or
 * negative); where none is, all, so that it can be said what is wrong with them. */
typedef int (*umbra_set_wanted_fn)(void *arg, const struct umbra_set *set, struct umbra_error *err);
int umbra_set_list_find_where(const struct umbra_set_list *list, const char *name,
			      umbra_set_wanted_fn wanted, void *arg, const struct umbra_set **out,
			      struct umbra_error *err);
/* Wanted: what covers path. */
int umbra_set_list_find_for(const struct umbra_set_list *list, const char *name, const char *path,
			    const struct umbra_set **out, struct umbra_error *err);

/*
 * Opens a copy. A copy that is gone or damaged is an error that names it and its set
 * (UMBRA_E_DAMAGED, and -EIO unless the system said something better).
 */
int umbra_engine_open_shadow(struct umbra_engine *e, const struct umbra_shadow *shadow,
			     struct umbra_root **out, struct umbra_error *err);

/*
 * For who could not use a copy, for r, which err has: where its provider says that it is lost, err
 * says so, as all commands do (umbra_set_lost_text()), and this returns r; else 0.
 */
int umbra_engine_say_lost(struct umbra_engine *e, const struct umbra_shadow *shadow, int r,
			  struct umbra_error *err);

/* Is path (absolute, real) inside the state directory? Such a path is never copied or mounted on.
 */
bool umbra_engine_owns(const struct umbra_engine *e, const char *path);
