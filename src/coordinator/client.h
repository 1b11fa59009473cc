/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A requester's side of the coordinator. Without a daemon the same coordinator runs in a child
 * process of the requester, behind a socketpair: one code path. If the requester dies, the
 * coordinator sees its end of the socket close and undoes what it was doing.
 *
 * One request at a time on a connection; calls block until its result.
 */
#pragma once

#include "common/doc.h"
#include "snapshot/engine.h"
#include "snapshot/provider.h"

#define UMBRA_ACTIVATE_WAIT_MAX 3600

struct umbra_coordinator;

/* state_dir as for umbra_engine_open(). */
int umbra_coordinator_connect(const char *state_dir, struct umbra_coordinator **out,
			      struct umbra_error *err);
/* No more requests: the coordinator ends while its requester goes on, until the close waits. */
void umbra_coordinator_hang_up(struct umbra_coordinator *c);
struct umbra_coordinator *umbra_coordinator_close(struct umbra_coordinator *c);
UMBRA_DEFINE_CLEANUP(struct umbra_coordinator *, coordinator, umbra_coordinator_close)
#define _cleanup_coordinator_ _cleanup_(umbra_cleanup_coordinator)

/* What a requester sees of long work. phase: a step's name ("copying", "deleting", "waiting"). */
struct umbra_observer {
	void (*progress)(struct umbra_observer *o, const char *phase,
			 const struct umbra_progress *progress);
	/* Nonzero: ask the coordinator to stop and undo. Looked at some ten times a second. */
	int (*stop)(struct umbra_observer *o);
};

struct umbra_create_request {
	const char *const *paths; /* as the person wrote them; relative ones by our directory */
	size_t n_paths;
	const char *provider; /* NULL: the best for each */
	const char *comment;  /* may be NULL */
	bool recursive;
	int wait_s; /* while another creation is under way: 0 fails at once */
};

/* *set: the finished set's id. *warnings: a JSON array of sentences for the person, new reference.
 */
int umbra_coordinator_create(struct umbra_coordinator *c,
			     const struct umbra_create_request *request,
			     struct umbra_observer *observer, struct umbra_id *set,
			     json_t **warnings, struct umbra_error *err);

/* Deletes sets by id, all or as far as it comes; each is gone from every mounted tree first. */
int umbra_coordinator_delete(struct umbra_coordinator *c, const struct umbra_id *sets, size_t n,
			     int wait_s, struct umbra_observer *observer, json_t **warnings,
			     struct umbra_error *err);

/*
 * Gives up sets that could not be deleted or undone, as their filesystem is gone: deletes what can
 * be, and tries no more. *forgotten: JSON array of the ids of those of which something is left,
 * new reference.
 */
int umbra_coordinator_forget(struct umbra_coordinator *c, const struct umbra_id *sets, size_t n,
			     int wait_s, struct umbra_observer *observer, json_t **forgotten,
			     json_t **warnings, struct umbra_error *err);

/*
 * Undoes what killed processes left (also done at the start of every create and delete).
 * rebuild: makes the catalog anew from the providers' records; the old file is kept beside it.
 * *report: JSON object {"problems":[…],"repaired":[…],"sets":N}, new reference.
 */
int umbra_coordinator_check(struct umbra_coordinator *c, bool rebuild, int wait_s,
			    struct umbra_observer *observer, json_t **report,
			    struct umbra_error *err);

/*
 * Releases what processes that are gone, or over their time, still hold (umbra-guard(8)). Needs no
 * connection and no state directory, which may be what is held. Adds sentences to both arrays.
 * -EPERM: only root can.
 */
int umbra_coordinator_thaw(json_t *released, json_t *problems, struct umbra_error *err);

/* The same, for the start of any program: for root, and what there is to say goes to the log.
 * false: something could not be released. */
bool umbra_coordinator_release_leftovers(void);

struct umbra_activate_call {
	bool early;   /* nothing is mounted yet, so umbrad is left to the system */
	bool present; /* volumes that are not there are left out */
	int wait_s;   /* else so long, at most UMBRA_ACTIVATE_WAIT_MAX, until they are */
};

/*
 * Puts every volume that has block copies under its layer again, after a start of the machine.
 * *report: JSON object {"areas":[…],"lost":[{"shadow","why"}]}, areas as below, new reference.
 * Fails when one of them cannot be activated, after all were tried.
 */
int umbra_coordinator_activate(struct umbra_coordinator *c, const struct umbra_activate_call *a,
			       struct umbra_observer *observer, json_t **report,
			       struct umbra_error *err);

/*
 * Which of the sets' copies can be read, and why not: as their providers say now; where they do not
 * in time, which is said, as they said before. Fills that in. Needs no connection.
 */
int umbra_coordinator_find_out(struct umbra_engine *e, struct umbra_set *const *sets, size_t n,
			       struct umbra_error *err);

/* Diff areas. path and place as the person wrote them. */
struct umbra_storage_call {
	const char *verb;  /* "list", "add", "resize" or "remove" */
	const char *path;  /* on the volume; NULL: all (list); remove: or an area's id */
	const char *place; /* add: file or block device; NULL: in the volume */
	uint64_t size;     /* bytes; 0: the default */
	int percent;       /* of the volume, instead of size; 0: not */
	bool force;
	int wait_s;
};

/* *report: {"areas":[…]}, reports as in snapshot/storage.h, and of remove "deleted",
 * [{"set","timestamp"},…], the sets that went with the area; *warnings as above; new references. */
int umbra_coordinator_storage(struct umbra_coordinator *c, const struct umbra_storage_call *asked,
			      struct umbra_observer *observer, json_t **report, json_t **warnings,
			      struct umbra_error *err);

/* A whole volume becomes what it was in a set. */
struct umbra_revert_call {
	const char *path;    /* as the set has it, absolute; or its block device */
	struct umbra_id set; /* to which it goes back */
	bool force;          /* newer copies may be given up where there is no room for them */
	bool unmount;        /* if nobody uses it */
	int wait_s;
};

/* *report: {"path","bytes","resumed","given_up":[ids of sets]}; *warnings as above; both new
 * references. Stopped or killed it goes on when it is called again. */
int umbra_coordinator_revert(struct umbra_coordinator *c, const struct umbra_revert_call *asked,
			     struct umbra_observer *observer, json_t **report, json_t **warnings,
			     struct umbra_error *err);
