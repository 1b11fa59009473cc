/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What of the tree lies in no copy: the sets, the directories that lead to their members, the
 * volumes. A shown set never changes; the list of them changes when the catalog does.
 *
 *	/			@GMT-… for each set, latest, by-volume
 *	/@GMT-…/		places: the live layout above the members
 *	/by-volume/VOLUME/	@GMT-… for each set that has the volume
 */
#pragma once

#include <pthread.h>

#include "fuse/changes.h"
#include "fuse/shown.h"

struct umbra_layout {
	struct umbra_shown_source source; /* umbra_layout_update()'s */
	pthread_rwlock_t lock;     /* guards what follows; taken before that of the volumes */
	struct umbra_shown **sets; /* by seq */
	struct umbra_shown **by_time;
	size_t n_sets;
	int64_t changed; /* when: seconds, UTC */
};

void umbra_layout_init(struct umbra_layout *l, struct umbra_copies *copies);
void umbra_layout_finish(struct umbra_layout *l);

/* With a reference, or NULL. */
struct umbra_shown *umbra_layout_set(struct umbra_layout *l, const char *token);
struct umbra_shown *umbra_layout_latest(struct umbra_layout *l);
/* The set with the smallest seq above that one. */
struct umbra_shown *umbra_layout_after(struct umbra_layout *l, int64_t seq);

int64_t umbra_layout_changed(struct umbra_layout *l);

/*
 * Makes list what is shown; takes sets out of it as needed. load gives a full record of a set
 * that is new (umbra_catalog_load_one()); a set that is gone meanwhile (-ENOENT) is left out.
 * One caller at a time.
 */
typedef int (*umbra_load_fn)(void *arg, const char *id, struct umbra_set **out,
			     struct umbra_error *err);
int umbra_layout_update(struct umbra_layout *l, struct umbra_set_list *list, umbra_load_fn load,
			void *arg, struct umbra_changes *changes, struct umbra_error *err);
