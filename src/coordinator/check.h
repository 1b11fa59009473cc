/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "coordinator/session.h"

/*
 * Is everything in order: the catalog, every copy, copies that the catalog does not know.
 * problems and repaired are arrays of sentences to add to; *sets: how many there are.
 */
int umbra_check(struct umbra_session *s, json_t *problems, json_t *repaired, size_t *sets,
		struct umbra_error *err);

/* A problem for each diff area that is not as it should be; where they need an umbrad and there is
 * none, one is started. */
int umbra_check_areas(struct umbra_session *s, json_t *problems, json_t *repaired,
		      struct umbra_error *err);

/*
 * Makes the catalog anew from the records that providers keep. The old file stays beside it as
 * catalog.db.old. For a session begun with rebuild.
 */
int umbra_rebuild(struct umbra_session *s, json_t *problems, json_t *repaired, size_t *sets,
		  struct umbra_error *err);
