/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Shadow copies that had to be given up: their sets go from the catalog as soon as nobody else is
 * at it. A child does that, so that this process never waits for a disk. A set of which another
 * volume's copy is left stays; the lost one says so when it is opened.
 */
#pragma once

#include <stddef.h>

#include "common/error.h"
#include "common/id.h"

struct umbra_lost;

struct umbra_lost *umbra_lost_new(const char *state_dir);
struct umbra_lost *umbra_lost_free(struct umbra_lost *l);

/* Remembers one. */
void umbra_lost_add(struct umbra_lost *l, const struct umbra_id *shadow, const char *why);

/* To be called now and then: sees to it that what can be deleted is, and tries again what cannot.
 * Returns how many are left. */
size_t umbra_lost_settle(struct umbra_lost *l);
