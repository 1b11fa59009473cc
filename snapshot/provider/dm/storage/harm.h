/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A diff area inside its volume is safe only as long as its blocks are its own. When the filesystem
 * is made anew, or somebody removes the file by force, they become those of other files, which the
 * kernel would go on writing into: that has to be noticed at once.
 */
#pragma once

#include "snapshot/provider/dm/volume/protected.h"

/* What there was when the volume was opened last; zeros: nothing that could be harmed. */
struct umbra_harm {
	json_t *record; /* of the area */
	char stamp[UMBRA_POOL_TEXT_MAX];
	struct umbra_layer layer; /* without what is for changes */
};

/* The layer may be in or not. */
void umbra_harm_remember(struct umbra_harm *h, const struct umbra_protected *p);
void umbra_harm_forget(struct umbra_harm *h);

enum umbra_harm_state {
	UMBRA_HARM_NONE,
	UMBRA_HARM_SUSPECTED, /* who opens the volume will know */
	UMBRA_HARM_CERTAIN,   /* the blocks are another's, or will be in a moment */
};

/* Takes no lock, and does not wait for a volume that is held. */
enum umbra_harm_state umbra_harm_look(const struct umbra_harm *h);
