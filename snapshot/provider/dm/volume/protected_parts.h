/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of a protected volume share. */
#pragma once

#include "snapshot/provider/dm/volume/protected.h"

/* protected_lock.c */
/* With the lock, and nothing else yet. */
int umbra_protected_lock(const char *area, int wait_ms, struct umbra_protected **out,
			 struct umbra_error *err);
/* Is somebody at work who makes a copy, or resizes the area that s is the record of? */
bool umbra_protected_is_marked(const struct umbra_protected *p);
bool umbra_protected_being_resized(const struct umbra_protected *p, const struct umbra_dm_state *s);

/* -EBUSY: the origin is suspended, still after wait_ms, and not by who makes a copy. */
int umbra_protected_flows(const struct umbra_protected *p, int wait_ms, struct umbra_error *err);

/* protected.c */
/* Whatever of ours is in the kernel goes: it has missed writes, or has no place any more. */
int umbra_protected_clear(struct umbra_protected *p, struct umbra_error *err);
/* A layer that is in becomes p's; what is left of one goes. */
int umbra_protected_look_at_layer(struct umbra_protected *p, struct umbra_error *err);
