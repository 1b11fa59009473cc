/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Drives the provider "copy" without a coordinator: origin is copied to state, both in the
 * place. */
#pragma once

#include "lab.h"
#include "place.h"
#include "snapshot/provider.h"

void rig_begin(void);
void rig_begin_in_memory(void); /* for many files */
void rig_end(void);

/* As place_skip(). */
#define rig_skip(...)                                                                              \
	do {                                                                                       \
		rig_end();                                                                         \
		cr_skip(__VA_ARGS__);                                                              \
	} while (0)

/* sh -c in the place (lab.h); skips the test when it fails. */
void rig_need(const char *cmd);
int rig_state_fd(void);

/* From here on the copies are made of, and kept in, other directories (relative to the
 * place). */
void rig_use(const char *origin, const char *state);

/* Waits until everything that was written is older than the clock's tick. */
void rig_settle(void);

/* Called when the coordinator has the origin open and the provider has not been called yet. */
void rig_when_opened(void (*fn)(void));

/* One copy, or what failed; previous may be NULL. A failed one is aborted. Shadows live on. */
int rig_try(struct umbra_shadow *previous, struct umbra_watch *watch, struct umbra_shadow **out,
	    struct umbra_error *err);
struct umbra_shadow *rig_copy(struct umbra_shadow *previous);

struct umbra_root *rig_open(const struct umbra_shadow *shadow);

/* The copy is exactly what the origin is now; fails the test where it is not. */
void rig_same(const struct umbra_shadow *shadow);

/* Does the shadow have this note of path, below the origin? */
bool rig_noted(const struct umbra_shadow *shadow, const char *kind, const char *path);

/* "files", "linked", … of its data. */
int64_t rig_data(const struct umbra_shadow *shadow, const char *key);

/* st_ino that path has in the store. */
ino_t rig_ino(const struct umbra_shadow *shadow, const char *path);

/* There is no copy, nor part of one, in the store named state. */
void rig_assert_store_empty(void);

/* The rest of the test runs as an ordinary user. */
void rig_become_user(void);
