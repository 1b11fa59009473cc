/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The coordinator over its real socket and child process, with a provider that can be broken
 * (fake_provider.h): two volumes and a state directory in the place.
 */
#pragma once

#include "coordinator/client.h"
#include "fake_provider.h"
#include "place.h"

extern char rig_state[80], rig_vol_a[96], rig_vol_b[80];

/* For .init; .fini is place_end(). */
void rig_begin(void);

/* A set of both volumes. */
int rig_create(struct umbra_id *id, struct umbra_error *err);
int rig_create_with(struct umbra_observer *o, int wait_s, struct umbra_id *id,
		    struct umbra_error *err);
/* How many warnings there are; may be NULL. */
int rig_create_warned(struct umbra_id *id, size_t *warnings, struct umbra_error *err);
int rig_delete(const struct umbra_id *id, struct umbra_error *err);
/* Problems that check finds; -1: it failed. */
int rig_check(bool rebuild, struct umbra_error *err);

/* In a directory of the state directory. */
size_t rig_entries(const char *name);
/* All that the catalog has, of any state. */
void rig_sets(enum umbra_load depth, struct umbra_set_list *out);
size_t rig_count_sets(void);
/* Full; it must be there. */
struct umbra_set *rig_load(const struct umbra_id *id);
/* What the provider was asked, a line each; free it. */
char *rig_calls(void);

/* From now on a named point (common/fault.h) ends in that way. */
void rig_break_at(const char *point, const char *how);
void rig_remove_catalog(void);
/* A directory in the store, as a killed process leaves it. then: what the shell is to do in it
 * besides
 * (" && …"), or "". */
void rig_make_leftover(const char *then);
