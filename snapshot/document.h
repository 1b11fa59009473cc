/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Sets as JSON: what `umbra list --json` and `show --json` print, and what providers keep beside
 * every copy so that the catalog can be rebuilt (umbra-shadow.json(5)).
 */
#pragma once

#include "snapshot/set.h"

/* The set as the command line and the protocol show it. brief: no steps, no notes. New reference;
 * NULL when out of memory. */
json_t *umbra_set_public(const struct umbra_set *set, bool brief);

/*
 * The record that a provider keeps beside the copy `shadow` of `set`: the set with all its
 * members' ids, and everything about this one member. state_dir: whose copy it is.
 */
json_t *umbra_shadow_record(const struct umbra_set *set, const struct umbra_shadow *shadow,
			    const char *state_dir);

/*
 * The reverse: a set with exactly one member. *state_dir and *members (how many shadow copies the
 * set had) may be NULL. Refuses what is not exactly a record of a version that this umbra knows.
 */
int umbra_shadow_record_parse(const json_t *doc, struct umbra_set **out, char **state_dir,
			      size_t *members, struct umbra_error *err);

/* The parts that the catalog keeps as JSON text. New references, NULL when out of memory. */
json_t *umbra_shadow_detail(const struct umbra_shadow *shadow);
int umbra_shadow_set_detail(struct umbra_shadow *shadow, const json_t *doc);
json_t *umbra_set_detail(const struct umbra_set *set);
int umbra_set_set_detail(struct umbra_set *set, const json_t *doc);
