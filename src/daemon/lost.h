/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Shadow copies that are lost, or had to be given up: what became of them is noted for those who
 * list sets (snapshot/conditions.h), and a set of which nothing is left goes from the catalog. A
 * child asks the providers and does that, so that this process never waits for a disk. Nothing of
 * it has to be remembered: the providers know, and are asked by every umbrad that begins.
 */
#pragma once

#include <stdbool.h>

#include "common/error.h"

struct umbra_lost;

struct umbra_lost *umbra_lost_new(const char *state_dir);
struct umbra_lost *umbra_lost_free(struct umbra_lost *l);

/* There may be something to find out. */
void umbra_lost_notice(struct umbra_lost *l);

/* To be called now and then: starts the child, and another one when that could not do all; the
 * longer it cannot the more seldom. Is there still something to do? */
bool umbra_lost_settle(struct umbra_lost *l);
