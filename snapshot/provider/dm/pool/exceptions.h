/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Lists of exceptions: which chunk of the origin is kept where. 16 bytes each; sorting takes as
 * much again while it lasts and time in proportion to their number.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/util.h"

struct umbra_exception {
	uint64_t old; /* chunk of the origin */
	uint64_t new; /* chunk that has what was there; of what, says the owner of the list */
};

/* Zero is an empty list. */
struct umbra_exceptions {
	struct umbra_exception *e;
	size_t n, room;
};

void umbra_exceptions_finish(struct umbra_exceptions *list);
#define _cleanup_exceptions_ _cleanup_(umbra_exceptions_finish)

/* Room for n more, no more than that, so that adding them cannot fail. 0 or -ENOMEM. */
int umbra_exceptions_reserve(struct umbra_exceptions *list, size_t n);

/* 0 or -ENOMEM. */
int umbra_exceptions_add(struct umbra_exceptions *list, uint64_t old, uint64_t new);

/* By old; those of the same old stay in the order in which they were. 0 or -ENOMEM. */
int umbra_exceptions_sort(struct umbra_exceptions *list);

/* Of a sorted list: of those of one old the first stays. Returns how many went. */
size_t umbra_exceptions_unique(struct umbra_exceptions *list);

/* Gives back what is not used. */
void umbra_exceptions_trim(struct umbra_exceptions *list);
