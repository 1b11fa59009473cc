/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Shadow copies that a person gave up (umbra delete --forget), because the filesystem that they are
 * on is gone. Should it come back they are neither copies nor to be wondered at, whatever has
 * become of the catalog meanwhile: STATE/forgotten/SHADOW is the record of each.
 */
#pragma once

#include "snapshot/set.h"

#define UMBRA_FORGOTTEN_NAME "forgotten"

/* Durable when it returns. */
int umbra_forgotten_add(int state_fd, const char *state_dir, const struct umbra_set *set,
			const struct umbra_shadow *shadow, struct umbra_error *err);

bool umbra_forgotten_has(int state_fd, const char *shadow_id);

/* The copy is gone for good. That it was never forgotten is fine. */
void umbra_forgotten_drop(int state_fd, const char *shadow_id);
