/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Shadow copies and shadow copy sets, as they are recorded. Plain data: whoever holds a struct
 * umbra_set may read and change it; nothing here does I/O.
 *
 * A set is all volumes of one creation; a shadow copy is one volume at one instant (VSS: snapshot
 * set and snapshot, vss 1.2). All strings are owned by the struct that they lie in. Paths are
 * bytes, absolute and clean.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/doc.h"
#include "common/id.h"
#include "common/token.h"

#define UMBRA_SET_VOLUMES_MAX    64  /* VSS: volumes of one set */
#define UMBRA_VOLUME_SHADOWS_MAX 512 /* VSS: copies of one volume */
#define UMBRA_INDEX_MAX          65535
#define UMBRA_TERM_MAX           48   /* bytes, with the NUL */
#define UMBRA_COMMENT_MAX        1000 /* bytes: a record has room for it wherever it is kept */

enum umbra_set_state {
	UMBRA_SET_PREPARING, /* being made; with no coordinator at work: a leftover to undo */
	UMBRA_SET_CREATED,
	UMBRA_SET_DELETING, /* being deleted; not shown; the next start goes on with it */
};

/* How consistent a copy is, weakest first: a set is what its weakest member is. */
enum umbra_label {
	UMBRA_LABEL_FUZZY,       /* files read one after another while the volume was written */
	UMBRA_LABEL_CRASH,       /* one instant, as after a power cut */
	UMBRA_LABEL_FILESYSTEM,  /* one instant, filesystem frozen: clean */
	UMBRA_LABEL_APPLICATION, /* writers took part */
};

/* Can a shadow copy be read? Best first. The names are part of the JSON interface. */
enum umbra_condition {
	UMBRA_CONDITION_GOOD,      /* as far as is known */
	UMBRA_CONDITION_REVERTING, /* yes; its volume was made what it is only in part yet */
	UMBRA_CONDITION_INACTIVE,  /* when its volume is activated, after a start of the machine */
	UMBRA_CONDITION_MISSING,   /* when its volume is there again */
	UMBRA_CONDITION_LOST,      /* never again */
};

/* One live directory above a volume: who may pass there governs who may see the copy. */
struct umbra_above {
	mode_t mode; /* permission bits only */
	uid_t uid;
	gid_t gid;
	char *acl; /* system.posix_acl_access in lower-case hex, or NULL */
};

struct umbra_shadow {
	struct umbra_id id;
	unsigned int index; /* 1..UMBRA_INDEX_MAX, no other live copy has it; 0: not recorded yet */
	char *path;         /* where the volume was when it was copied */
	char *provider;
	char *volume; /* identity of the volume, made by the provider, e.g. "btrfs:UUID/UUID" */
	enum umbra_label label;
	/* The copy's instant, microseconds after the set was recorded; a fuzzy copy has a span. */
	int64_t begin_us;
	int64_t end_us;
	struct umbra_above *above; /* from "/" down to the parent of path */
	size_t n_above;
	json_t *data;  /* object: the provider's own record; never NULL */
	json_t *notes; /* array of {"kind","path"[,"text"]}: what is not as in the origin; never
			  NULL */
	bool brief;    /* loaded without data, notes and above */
	enum umbra_condition condition; /* as found out when its provider was asked last: */
	char *why; /* conditions.h; a term of a few words, ": ", and the rest. GOOD: NULL. Where the
		    * copy cannot be deleted, but given up, it says how ("umbra storage remove") */
};

struct umbra_step {
	char *name;
	int64_t us; /* how long it took */
};

struct umbra_set {
	struct umbra_id id;
	int64_t seq;  /* order of creation; times can be set back, this cannot. 0: not recorded */
	int64_t time; /* UTC, whole seconds, no other set has it */
	enum umbra_set_state state;
	enum umbra_label label;
	char *comment;     /* or NULL */
	int64_t freeze_us; /* first Freeze sent to last Thaw acknowledged */
	int64_t hold_us;   /* first hold to last release */
	int64_t skew_us;   /* first member's instant to the last one's */
	struct umbra_step *steps;
	size_t n_steps;
	struct umbra_shadow **shadows;
	size_t n_shadows;
};

/* Kinds of notes; their names are part of the JSON interface. */
#define UMBRA_NOTE_CHANGED    "changed"    /* changed while it was read, would not hold still */
#define UMBRA_NOTE_UNREADABLE "unreadable" /* no permission, or an I/O error: not in the copy */
#define UMBRA_NOTE_UNCOVERED  "uncovered"  /* a mount below the volume that is not in the set */
#define UMBRA_NOTE_PARTIAL    "partial"    /* attributes (text says which) could not be kept */
#define UMBRA_NOTES_MAX       1000 /* of one copy; one more note says how many are missing */

struct umbra_set *umbra_set_new(void);
struct umbra_set *umbra_set_free(struct umbra_set *set);
UMBRA_DEFINE_CLEANUP(struct umbra_set *, set, umbra_set_free)
#define _cleanup_set_ _cleanup_(umbra_cleanup_set)

/* With a fresh id; path is copied. NULL when out of memory. */
struct umbra_shadow *umbra_shadow_new(const char *path, const char *provider);
/* As above with the id it has already (a valid one): what loading uses, as random ids cost. */
struct umbra_shadow *umbra_shadow_known(const char *id, const char *path, const char *provider);
struct umbra_shadow *umbra_shadow_free(struct umbra_shadow *shadow);
UMBRA_DEFINE_CLEANUP(struct umbra_shadow *, shadow, umbra_shadow_free)
#define _cleanup_shadow_ _cleanup_(umbra_cleanup_shadow)

/* The set owns shadow from here on, also when this fails (-ENOMEM). */
int umbra_set_add_shadow(struct umbra_set *set, struct umbra_shadow *shadow);
int umbra_set_add_step(struct umbra_set *set, const char *name, int64_t us);

/* The set's member that holds path: the one with the longest volume path at or above it, or NULL.
 */
struct umbra_shadow *umbra_set_covering(const struct umbra_set *set, const char *path);

/* The set's member of that id, or NULL. */
struct umbra_shadow *umbra_set_shadow(const struct umbra_set *set, const struct umbra_id *id);

/* What there is to say of a copy of it that is LOST: why, and what to do, which may be to delete
 * the set; then also what else of it would go. To be freed. */
char *umbra_set_lost_text(const struct umbra_set *set, const struct umbra_shadow *shadow);

/* That of the best of its copies. */
enum umbra_condition umbra_set_condition(const struct umbra_set *set);

/* Adds a note; after UMBRA_NOTES_MAX only counts. 0 or -ENOMEM. text may be NULL. */
int umbra_shadow_note(struct umbra_shadow *shadow, const char *kind, const char *path,
		      const char *text);

const char *umbra_set_state_name(enum umbra_set_state state);
int umbra_set_state_parse(const char *name, enum umbra_set_state *state);
const char *umbra_condition_name(enum umbra_condition condition);
int umbra_condition_parse(const char *name, enum umbra_condition *condition);
/* The term that a reason begins with. Returns out. */
const char *umbra_condition_term(const char *why, char out[UMBRA_TERM_MAX]);
const char *umbra_label_name(enum umbra_label label);
int umbra_label_parse(const char *name, enum umbra_label *label);

/* A list of sets, oldest first (by seq). */
struct umbra_set_list {
	struct umbra_set **sets;
	size_t n;
};
void umbra_set_list_finish(struct umbra_set_list *list);
#define _cleanup_set_list_ _cleanup_(umbra_set_list_finish)

/* The set with the copy of that id, or NULL. Elements of the list may be NULL. */
struct umbra_set *umbra_set_of_shadow(const struct umbra_set_list *list, const char *shadow_id);
