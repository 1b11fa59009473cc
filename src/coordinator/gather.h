/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* For rebuilding the catalog: what providers find, put together to sets. */
#pragma once

#include "coordinator/session.h"

/* What a catalog knew that can still be read. */
struct umbra_old {
	struct umbra_set_list list; /* full; those that were carried over are NULL */
	int64_t last_index;         /* 0: not known */
};

/* Something to remove when the new catalog is in place. */
struct umbra_rubbish {
	const struct umbra_provider *provider;
	struct umbra_set *forgotten; /* the one copy, with its set; NULL: a leftover */
	struct umbra_id id;          /* of the shadow copy */
	char *where;
};

struct umbra_gathering {
	struct umbra_set_list list;
	size_t *members; /* how many copies each of them had, until they are sorted */
	struct umbra_rubbish *rubbish;
	size_t n_rubbish;
	struct umbra_id *unrecorded; /* copies of the old catalog that have lost their records */
	size_t n_unrecorded;
	json_t *problems; /* borrowed, and so is what follows */
	struct umbra_old *old;
	int state_fd;
	const struct umbra_provider *provider; /* who is being asked */
};

/* Asks all providers. What of old is to stay is moved over. */
int umbra_gather(struct umbra_session *s, struct umbra_gathering *g, struct umbra_error *err);
void umbra_gathering_finish(struct umbra_gathering *g);

/* carry.c: from the old catalog what providers cannot tell (now). */
int umbra_carry_over(struct umbra_session *s, struct umbra_gathering *g, struct umbra_error *err);

/* Takes set, also on failure. members: how many copies it had. 0 or -ENOMEM. */
int umbra_gathering_add(struct umbra_gathering *g, struct umbra_set *set, size_t members);

/* Is the state directory that a FOREIGN copy names not there any more, or ours by another name? */
bool umbra_found_is_moved(const struct umbra_found *found, int state_fd);
