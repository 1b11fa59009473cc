/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Diff areas (VSS: shadow storage): where a provider that works on block devices keeps what is
 * replaced on a volume. A part of the contract of providers (provider.h) for those that have them.
 *
 * All of it needs root. Changes wait, for a bounded time, for whoever is at work on the same
 * volume.
 */
#pragma once

#include <stdint.h>

#include "common/doc.h"
#include "common/id.h"
#include "snapshot/set.h"
#include "snapshot/volume.h"

struct umbra_storage_request {
	const struct umbra_volume *volume;
	const char *place; /* add: a file or block device, absolute; NULL: within the volume */
	uint64_t size;     /* bytes; 0: as much as the provider thinks fit (add) */
	bool force;        /* also where data or copies would be lost */
};

/* What became of a shadow copy that nobody deleted. */
enum umbra_fate_kind {
	UMBRA_FATE_UNKNOWN, /* cannot be told now */
	UMBRA_FATE_KEPT,    /* there is a copy, or what is left of it */
	UMBRA_FATE_GONE,    /* it was given up, and nothing is left of it: LOST */
};
struct umbra_fate {
	const struct umbra_shadow *shadow; /* brief, with what was noted of it (conditions.h) */
	enum umbra_fate_kind kind;
	enum umbra_condition condition;
	char *why; /* unless GOOD; as in the shadow; to be freed */
};

/* A shadow copy that had to be given up. */
typedef void (*umbra_storage_lost_fn)(void *arg, const struct umbra_id *shadow, const char *why);

struct umbra_storage_watch {
	int state_fd;
	const char *state_dir;
	umbra_storage_lost_fn lost;
	void (*changed)(void *arg); /* fates() may have another answer than before; may be NULL */
	void (*step)(void *arg);    /* look_after is at work, and not stuck */
	struct umbra_watch *requester; /* activate waits for volumes as long as he does; or NULL */
	bool mounts; /* some were made, changed or undone since the last look, as far as is known */
	void *arg;
};

/*
 * Reports are objects
 * {"volume","area","place","kind":"inside"|"file"|"device","size","used","copies",
 * "lost","state":"active"|"idle"|"reverting"|"inactive"|"missing"|"lost"|"unknown"[,"why"]
 * [,"problem"]}; sizes in bytes; problem: what is wrong with where it is, and what to do; "lost":
 * how many copies in it are; reverting to lost, and why, are the conditions of a shadow copy
 * (set.h), here of all that are in the area, or would be; "used" includes what belongs to no copy
 * any more and has not been given back yet. Of an area that cannot be opened kind is "?", place its
 * id, and the numbers are null. The "volume" of a shadow copy that is, or was, in an area is
 * PROVIDER:area.
 */
struct umbra_storage_ops {
	/* Before any lock is taken: -EBUSY where the area of this volume cannot be changed, as the
	 * filesystem that it is on is frozen. The volume's own does not count. May be NULL. */
	int (*refuse_frozen)(int state_fd, dev_t volume, struct umbra_error *err);
	/* Appends one report an area of this state directory. */
	int (*list)(int state_fd, const char *state_dir, json_t *out, struct umbra_error *err);
	/* -EEXIST: the volume has an area. *report is a new reference. */
	int (*add)(int state_fd, const char *state_dir, const struct umbra_storage_request *request,
		   json_t **report, struct umbra_error *err);
	/* 1: it has that size (request->size) already. NO_SPACE, BUSY: what is in the way. */
	int (*resize)(int state_fd, const char *state_dir,
		      const struct umbra_storage_request *request, json_t **report,
		      struct umbra_error *err);
	/* Finishes or undoes, where that can be, what a process left that was killed while it
	 * resized an area. Before anything else that changes the state directory. How many. NULL:
	 * nothing can be left. */
	int (*reconcile)(int state_fd, struct umbra_error *err);
	/* The area and what is in it; -EBUSY while there are copies, unless forced. */
	int (*remove)(int state_fd, const char *state_dir,
		      const struct umbra_storage_request *request, struct umbra_error *err);

	/* An area that is out of reach, with its volume or without, by its id: as if it had never
	 * been. -EEXIST: it can be reached; -ENOENT: there is none; -EBUSY: not forced. May be
	 * NULL. */
	int (*give_up)(int state_fd, const struct umbra_id *area, bool force,
		       struct umbra_error *err);

	/* The device that the volume of a copy (brief) is on now, mounted or not. -ENODEV: it is
	 * not there; -ENOENT: nothing is known of it. */
	int (*locate)(int state_fd, const struct umbra_shadow *shadow, dev_t *device,
		      struct umbra_error *err);

	/* Was a volume that has an area mounted at this path when that was made? By the records
	 * alone: no device is asked. May be NULL. */
	bool (*was_at)(int state_fd, const char *path);

	/* Of n copies, sorted by volume. Negative: some could not be told, and may be soon. */
	int (*fates)(int state_fd, struct umbra_fate *fates, size_t n, struct umbra_error *err);

	/*
	 * Looks after all areas once: grants space, gives up the oldest copies where it runs out,
	 * notices what was done to the volumes behind our back, finishes what killed processes left
	 * undone. Called again and again by one process (umbrad). *again_ms: when it has to be
	 * called next; -1: no copy depends on it. An area that fails is logged and does not keep
	 * the others from being looked after.
	 */
	int (*look_after)(const struct umbra_storage_watch *watch, int *again_ms,
			  struct umbra_error *err);

	/* A descriptor that is readable when look_after should be called at once; nobody else reads
	 * it. -1: there is none. May be NULL. */
	int (*alarm)(void);

	/* Should look_after be called at once when this block device has changed? By what it saw
	 * the last time; asks nobody. May be NULL. */
	bool (*depends_on)(dev_t device);

	/*
	 * Lets writers go on that have been waiting for space for limit_ms, and not been given any:
	 * the volume's copies are lost. For another process, that watches over the one that looks
	 * after areas: asks the kernel alone, takes no lock, and waits for nobody. 1: somebody
	 * waits; 0; negative.
	 */
	int (*let_go)(int limit_ms, struct umbra_error *err);

	/*
	 * Who looks after areas was told to end: from here on no writer waits for it. A volume
	 * whose diff area gets full before the next one looks goes on, and its copies are lost. May
	 * be NULL.
	 */
	int (*leave)(int state_fd, struct umbra_error *err);

	/*
	 * After a start of the machine, before the volumes are mounted: puts every volume that has
	 * copies under its layer. Copies of volumes that were, or may have been, written without it
	 * are lost, and told. Waits for volumes that are not there yet, all in all for wait_ms;
	 * negative: those that are not there are none of its business.
	 */
	int (*activate)(const struct umbra_storage_watch *watch, int wait_ms,
			struct umbra_error *err);

	/*
	 * The machine goes down: as long as this process lives nobody can take the layer of a
	 * volume that is in use now out of the kernel. Once, by who does nothing else afterwards
	 * but to look after areas: no copy is to be made any more.
	 */
	int (*keep)(int state_fd, struct umbra_error *err);
};
