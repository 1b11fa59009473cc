/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Numbers for what has none of its own: things that lie in no copy, and inodes of a store whose
 * numbers do not fit or are not unique. A number is made from its key and so is the same after a
 * remount, unless two keys want one number; then who comes second gets the next. A number is
 * never given to another key. Safe for several threads.
 */
#pragma once

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

struct umbra_number_key {
	uint64_t a, b;
};

struct umbra_numbers {
	pthread_mutex_t lock;
	struct umbra_number_slot *slots; /* open addressing, by number */
	size_t n, room;                  /* room: a power of two */
};

void umbra_numbers_init(struct umbra_numbers *n);
void umbra_numbers_finish(struct umbra_numbers *n);

/* Has UMBRA_NUMBER_MADE. 0: out of memory. */
uint64_t umbra_numbers_get(struct umbra_numbers *n, struct umbra_number_key key);

/* A key for words; a NULL ends them. */
struct umbra_number_key umbra_number_key(const char *const *words);

uint64_t umbra_hash(uint64_t seed, const void *data, size_t len);
uint64_t umbra_mix(uint64_t v);
