/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One request being carried out: its requester's socket, and the lock that makes it the only one
 * that changes this state directory. The requester's wish to stop (a message, or its death)
 * comes in through the watch that long work ticks.
 */
#pragma once

#include "common/wire.h"
#include "snapshot/engine.h"
#include "snapshot/provider.h"

struct umbra_session {
	struct umbra_watch watch; /* first: given to providers, cast back in its tick */
	struct umbra_engine *engine;
	int fd;            /* the requester */
	int lock_fd;       /* STATE/lock, flock()ed; -1 before */
	const char *phase; /* of the progress messages */
	bool stopped;      /* the requester wants to stop, or is gone */
	bool undoing;      /* from here on nothing is given up any more */
	int64_t told_us;   /* when progress was last sent */
	json_t *warnings;  /* array of sentences */
};

void umbra_session_init(struct umbra_session *s, int fd);
void umbra_session_finish(struct umbra_session *s);

/*
 * Opens the engine (mode WRITE, or NONE to rebuild the catalog) and takes the lock. While another
 * process has it: waits wait_s seconds, but a moment at least, then UMBRA_E_BUSY.
 */
int umbra_session_begin(struct umbra_session *s, const char *state_dir,
			enum umbra_catalog_mode mode, int wait_s, struct umbra_error *err);

/* Opens the engine to look: no catalog, no lock. */
int umbra_session_look(struct umbra_session *s, const char *state_dir, struct umbra_error *err);

int umbra_session_warn(struct umbra_session *s, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* Tells mounted trees that the catalog changed; one that does not answer is a warning. How many
 * still read from sets that are to be deleted. */
int umbra_session_announce(struct umbra_session *s);
