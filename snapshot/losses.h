/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Shadow copies that cannot be read any more, though nobody deleted them: STATE/lost/SHADOW says
 * why. The truth is with their providers, and asking them takes long and may wait; so whoever lists
 * sets reads what was noted when somebody asked last. What is noted may be dropped at any time: it
 * is found out again.
 */
#pragma once

#include "snapshot/engine.h"

#define UMBRA_LOSSES_NAME "lost"

/* Fills in `lost` of the sets' copies. */
int umbra_losses_show(int state_fd, struct umbra_set *const *sets, size_t n,
		      struct umbra_error *err);

/*
 * Asks the providers, and notes what they say. *changed: it is not what was noted before. Where all
 * of a set was given up, so that nothing is left of it to be told, its id is added to gone, an
 * array. What a provider cannot tell now stays as noted: a negative result, after all the rest was
 * done.
 */
int umbra_losses_ask(struct umbra_engine *e, bool *changed, json_t *gone, struct umbra_error *err);

/* The copy was deleted. That nothing was noted is fine. */
void umbra_losses_drop(int state_fd, const char *shadow_id);
