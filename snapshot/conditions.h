/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Whether shadow copies can be read, and why not: there is one answer, their provider's, for all
 * who tell it to people. STATE/conditions/SHADOW has it, for copies that are not good, as it was
 * when somebody asked last: its name, a line feed, and why. Asking takes its time and may wait, so
 * whoever must not reads that. What is noted may be dropped at any time: it is found out again.
 */
#pragma once

#include "snapshot/engine.h"

#define UMBRA_CONDITIONS_NAME "conditions"

/* Fills in `condition` and `why` of the sets' copies with what was noted. */
int umbra_conditions_show(int state_fd, struct umbra_set *const *sets, size_t n,
			  struct umbra_error *err);

/* Does one of the copies have a provider that can be asked, by us? */
bool umbra_conditions_can_ask(struct umbra_set *const *sets, size_t n);

/*
 * Asks the providers, and notes what they say. *changed: it is not what was noted before. Where all
 * of a set was given up, so that nothing is left of it to be told, its id is added to gone, an
 * array. What a provider cannot tell now stays as noted: a negative result, after all the rest was
 * done.
 */
int umbra_conditions_ask(struct umbra_engine *e, bool *changed, json_t *gone,
			 struct umbra_error *err);

/* Of one copy, for who could not open it: fills in `condition` and `why`, unless its provider
 * cannot tell. */
void umbra_conditions_ask_one(int state_fd, struct umbra_shadow *shadow);

/* The copy was deleted. That nothing was noted is fine. */
void umbra_conditions_drop(int state_fd, const char *shadow_id);
