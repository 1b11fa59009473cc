/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What umbrad knows of an area without opening it: how it was when it was opened last. A glance
 * compares that with the kernel, without the volume's lock and without its disk.
 */
#pragma once

#include "snapshot/provider/dm/storage/harm.h"
#include "snapshot/provider/dm/volume/gauge.h"
#include "snapshot/storage.h"

/* One look at all areas, and how soon there has to be another. */
struct umbra_look {
	const struct umbra_storage_watch *watch;
	int again_ms; /* -1: nothing calls for one */
};

#define UMBRA_LOOK_OFTEN_MS  20
#define UMBRA_LOOK_SELDOM_MS 250

/* After so long at the latest; not earlier than OFTEN, not later than SELDOM. */
void umbra_look_again(struct umbra_look *look, int64_t ms);

struct umbra_known {
	struct umbra_kernel kernel; /* area; the rest only as long as it is in */
	dev_t origin;
	bool in, asleep;
	bool in_use;                     /* the volume, before it was opened */
	char stamp[UMBRA_POOL_TEXT_MAX]; /* in the pool */
	uint64_t store, next_store; /* the one that is written, and the one that would come next */
	uint64_t used, seen;        /* chunks, then and at the last glance */
	uint64_t low;               /* chunks */
	int64_t at_us, seen_us;
	bool unfinished;           /* a creation is */
	bool compacting;           /* there may be something to do */
	uint64_t compacted;        /* umbra_compact_sign() of what there is nothing to do about */
	char why[UMBRA_ERROR_MAX]; /* it could not be opened; "": it could */
	uint32_t lost;             /* copies */
	struct umbra_harm harm;
	bool opened; /* ever */
	bool frozen; /* what has its file was, at the last look, or the volume suspended */
	struct umbra_known *next;
};

/* Those of this process; NULL: none. */
const struct umbra_known *umbra_known_first(void);

/* That of this area, which begins to be known here; NULL: no memory. */
struct umbra_known *umbra_known_of(const struct umbra_id *area);

void umbra_known_forget_all(void);

/* Is nothing to be done about any? */
bool umbra_known_all_well(struct umbra_look *look);

/* It has been opened, and this is how it is. Tells the watch what has changed for readers. */
void umbra_known_remember(struct umbra_known *k, const struct umbra_protected *p,
			  const struct umbra_gauge *gauge, const struct umbra_look *look);

/* It could not be opened. Logged once, tried again and again. */
void umbra_known_remember_failure(struct umbra_known *k, const char *path, const char *why,
				  const struct umbra_look *look);
