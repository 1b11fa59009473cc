/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pit.h"

#include <string.h>

static const char magic[8] = "umbrapit";

/* splitmix64: every bit of x decides about every bit of the result. */
static uint64_t mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15ULL;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
	return x ^ (x >> 31);
}

uint64_t pit_place(const struct pit_status *s, uint64_t number)
{
	return mix(number) % ((uint64_t)s->files * s->blocks);
}

static uint64_t sum(const struct pit_block *b)
{
	uint64_t words[PIT_BLOCK / sizeof(uint64_t)], h = 0;
	size_t i;

	memcpy(words, b, sizeof(words));
	words[offsetof(struct pit_block, sum) / sizeof(uint64_t)] = 0;
	for (i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		h = mix(h ^ words[i]);
	return h;
}

void pit_block_fill(struct pit_block *b, uint64_t number, uint64_t synced, uint64_t place)
{
	memcpy(b->magic, magic, sizeof(magic));
	b->number = number;
	b->synced = synced;
	b->place = place;
	memset(b->filling, (int)(number & 0xff), sizeof(b->filling));
	b->sum = sum(b);
}

const char *pit_block_fault(const struct pit_block *b, uint64_t place)
{
	if (memcmp(b->magic, magic, sizeof(magic)) != 0)
		return "is no block of the writer";
	if (b->sum != sum(b))
		return "is torn: its sum is wrong";
	if (b->place != place)
		return "belongs to another place";
	return NULL;
}
