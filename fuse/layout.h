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
#include <stdatomic.h>

#include "fuse/copy.h"

/* Who may pass what lay above a volume; its copy below by-volume is not more open than that. */
struct umbra_pass {
	enum {
		UMBRA_PASS_ALL,    /* everybody */
		UMBRA_PASS_CLASS,  /* as mode & mask says where owner and group are these */
		UMBRA_PASS_NOBODY, /* cannot be said with a mode: who mounted, and root */
	} kind;
	uid_t uid;
	gid_t gid;
	mode_t mask;
};

struct umbra_member {
	struct umbra_copy copy;
	struct umbra_shown *set;
	struct umbra_volume_dir *volume;
	struct umbra_pass pass;
};

/* A name on the way to a member; also the member's own place, when copy is set. */
struct umbra_place {
	struct umbra_shown *set;
	struct umbra_place *parent;  /* NULL: the set's own directory */
	char *name;                  /* as below parent */
	uint64_t id;                 /* its node when it lies in no copy */
	struct umbra_member *member; /* whose root is here, or NULL */
	struct umbra_place **children;
	size_t n_children;
	/* Where it lies in no copy: */
	bool recorded; /* some member says what follows; if not, only who mounted may pass */
	mode_t mode;   /* permission bits */
	uid_t uid;
	gid_t gid;
	void *acl; /* system.posix_acl_access, or NULL */
	size_t acl_len;
};

struct umbra_shown {
	atomic_uint refs;
	struct umbra_set *set; /* brief */
	char token[UMBRA_TOKEN_LEN + 1];
	uint32_t generation; /* no other one of this mount has it: ids can come back */
	uint64_t latest;     /* the node of "latest" while it names this set */
	struct umbra_member *members;
	size_t n_members;
	struct umbra_place *top;
};

struct umbra_volume_dir {
	char *name;
	uint64_t id;
	size_t position; /* in the layout's list: never changes */
	size_t live;     /* shown members; guarded by the layout's lock */
};

struct umbra_layout {
	struct umbra_copies *copies;
	struct umbra_numbers made;
	uint32_t generation;       /* the last one given; umbra_layout_update()'s */
	pthread_rwlock_t lock;     /* guards what follows */
	struct umbra_shown **sets; /* by seq */
	struct umbra_shown **by_time;
	size_t n_sets;
	struct umbra_volume_dir **volumes; /* never taken away */
	size_t n_volumes;
	int64_t changed; /* when: seconds, UTC */
};

void umbra_layout_init(struct umbra_layout *l, struct umbra_copies *copies);
void umbra_layout_finish(struct umbra_layout *l);

struct umbra_shown *umbra_shown_ref(struct umbra_shown *shown);
/* NULL-safe; returns NULL. */
struct umbra_shown *umbra_shown_unref(struct umbra_shown *shown);

/* With a reference, or NULL. */
struct umbra_shown *umbra_layout_set(struct umbra_layout *l, const char *token);
struct umbra_shown *umbra_layout_latest(struct umbra_layout *l);
/* The set with the smallest seq above that one. */
struct umbra_shown *umbra_layout_after(struct umbra_layout *l, int64_t seq);

/* A volume that some set has, or NULL. Valid as long as the layout. */
struct umbra_volume_dir *umbra_layout_volume(struct umbra_layout *l, const char *name);
/* The first at this position or later. */
struct umbra_volume_dir *umbra_layout_volume_at(struct umbra_layout *l, size_t position);
int64_t umbra_layout_changed(struct umbra_layout *l);

struct umbra_member *umbra_shown_member(const struct umbra_shown *shown,
					const struct umbra_volume_dir *volume);
struct umbra_place *umbra_place_child(const struct umbra_place *place, const char *name);
/* The node of the place as its parent lists it. */
uint64_t umbra_place_node(const struct umbra_place *place);

/* One thing that came or went. */
struct umbra_change {
	uint64_t parent, child;
	char *name;
	bool gone;
};

/* What umbra_layout_update() did. */
struct umbra_changes {
	struct umbra_change *v;
	size_t n, room;
	struct umbra_shown **gone; /* with references; not shown any more */
	size_t n_gone;
};
void umbra_changes_finish(struct umbra_changes *changes);

/*
 * Makes list what is shown; takes sets out of it as needed. load gives a full record of a set
 * that is new (umbra_catalog_load_one()); a set that is gone meanwhile (-ENOENT) is left out.
 * One caller at a time.
 */
typedef int (*umbra_load_fn)(void *arg, const char *id, struct umbra_set **out,
			     struct umbra_error *err);
int umbra_layout_update(struct umbra_layout *l, struct umbra_set_list *list, umbra_load_fn load,
			void *arg, struct umbra_changes *changes, struct umbra_error *err);
