/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fuse/numbers.h"

#include <stdlib.h>
#include <string.h>

#include "fuse/nodeid.h"

struct umbra_number_slot {
	uint64_t number; /* 0: free */
	struct umbra_number_key key;
};

/* The finalizer of MurmurHash3: every bit of v reaches every bit of the result. */
uint64_t umbra_mix(uint64_t v)
{
	v = (v ^ v >> 33) * UINT64_C(0xff51afd7ed558ccd);
	v = (v ^ v >> 33) * UINT64_C(0xc4ceb9fe1a85ec53);
	return v ^ v >> 33;
}

/* FNV-1a, mixed. Names are not secret, and who floods a table floods his own copy's. */
uint64_t umbra_hash(uint64_t seed, const void *data, size_t len)
{
	uint64_t h = seed ^ UINT64_C(0xcbf29ce484222325);
	const unsigned char *p = data;
	size_t i;

	for (i = 0; i < len; i++)
		h = (h ^ p[i]) * UINT64_C(0x100000001b3);
	return umbra_mix(h);
}

struct umbra_number_key umbra_number_key(const char *const *words)
{
	struct umbra_number_key key = {1, 2};

	for (; *words; words++) { /* with their NULs, so that "a","bc" is not "ab","c" */
		key.a = umbra_hash(key.a, *words, strlen(*words) + 1);
		key.b = umbra_hash(key.b, *words, strlen(*words) + 1);
	}
	return key;
}

void umbra_numbers_init(struct umbra_numbers *n)
{
	*n = (struct umbra_numbers){0};
	pthread_mutex_init(&n->lock, NULL);
}

void umbra_numbers_finish(struct umbra_numbers *n)
{
	pthread_mutex_destroy(&n->lock);
	free(n->slots);
}

/* The slot that has number, or the free one where it belongs. */
static struct umbra_number_slot *slot_of(struct umbra_number_slot *slots, size_t room,
					 uint64_t number)
{
	size_t at = umbra_mix(number) & (room - 1);

	while (slots[at].number && slots[at].number != number)
		at = (at + 1) & (room - 1);
	return &slots[at];
}

static int grow(struct umbra_numbers *n)
{
	size_t room = n->room ? n->room * 2 : 16, i;
	struct umbra_number_slot *slots;

	if (n->n * 2 < n->room)
		return 0;
	slots = calloc(room, sizeof(*slots));
	if (!slots)
		return -1;
	for (i = 0; i < n->room; i++)
		if (n->slots[i].number)
			*slot_of(slots, room, n->slots[i].number) = n->slots[i];
	free(n->slots);
	n->slots = slots;
	n->room = room;
	return 0;
}

static uint64_t next_number(uint64_t number)
{
	return UMBRA_NUMBER_MADE | ((number + 1) & (UMBRA_NUMBER_MADE - 1));
}

uint64_t umbra_numbers_get(struct umbra_numbers *n, struct umbra_number_key key)
{
	uint64_t number =
		UMBRA_NUMBER_MADE | (umbra_mix(key.a ^ umbra_mix(key.b)) & (UMBRA_NUMBER_MADE - 1));
	struct umbra_number_slot *slot;

	pthread_mutex_lock(&n->lock);
	if (grow(n) < 0) {
		number = 0;
		goto out;
	}
	for (;; number = next_number(number)) {
		slot = slot_of(n->slots, n->room, number);
		if (!slot->number) {
			*slot = (struct umbra_number_slot){number, key};
			n->n++;
			break;
		}
		if (slot->key.a == key.a && slot->key.b == key.b)
			break;
	}
out:
	pthread_mutex_unlock(&n->lock);
	return number;
}
