/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Sets whose copies are plain directories: what versions, diff and restore are tested with. */
#pragma once

#include "place.h"
#include "snapshot/view.h"

/* live is a directory in the place. */
void fake_begin(void);
void fake_end(void);
const char *fake_live(void);

/* live as it is now (cp -a) becomes a set of one copy, at second `time`. Borrowed. */
struct umbra_set *fake_set(int64_t time);
const struct umbra_set_list *fake_sets(void);

/* Opens them. A set after fake_damage() fails with EIO. */
const struct umbra_opener *fake_opener(void);
void fake_damage(struct umbra_set *set);
/* The content of name is not in the set's copy. */
void fake_unreadable(const struct umbra_set *set, const char *name);

/* sh -c, in live; must succeed. */
void fake_run(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* live/name; free it. */
char *fake_path(const char *name);
