/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The checksum of what the copy provider keeps beside a copy. Against disks and crashes, not
 * against an attacker: the store belongs to the user that reads it. Every step can be undone,
 * so any damage within one word changes the sum for certain.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint64_t umbra_sum_word(uint64_t h, uint64_t word)
{
	h = (h ^ word) * 0x9E3779B97F4A7C15ULL;
	return h ^ (h >> 29);
}

static inline uint64_t umbra_sum(uint64_t seed, const void *data, size_t len)
{
	uint64_t h = umbra_sum_word(seed, len), word;
	const char *p = data;

	for (; len >= sizeof(word); p += sizeof(word), len -= sizeof(word)) {
		memcpy(&word, p, sizeof(word));
		h = umbra_sum_word(h, word);
	}
	if (len > 0) {
		word = 0;
		memcpy(&word, p, len);
		h = umbra_sum_word(h, word);
	}
	return h;
}
