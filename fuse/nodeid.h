/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Node ids: how an inode is called between the kernel and us, and what people see as its inode
 * number. Unique in the mount, the same after a remount.
 *
 *	view (1 bit) | index of the copy (16 bits) | number within the copy (45 bits)
 *
 * A copy is seen in two places, below its set and below by-volume. One directory must not have
 * one id in both: the kernel would move it from one to the other.
 */
#pragma once

#include <stdint.h>

enum umbra_view {
	UMBRA_VIEW_SET,
	UMBRA_VIEW_VOLUME,
};

#define UMBRA_NUMBER_BITS 45
#define UMBRA_NUMBER_MASK ((UINT64_C(1) << UMBRA_NUMBER_BITS) - 1)

/* Numbers of ours (numbers.h) have this bit; without it they are inode numbers of the store. */
#define UMBRA_NUMBER_MADE (UINT64_C(1) << (UMBRA_NUMBER_BITS - 1))

/* The root directory of a copy, so that its id is known before the copy is opened. */
#define UMBRA_NUMBER_TOP 0

/* What lies in no copy has index 0. */
#define UMBRA_NODE_ROOT      UINT64_C(1) /* as FUSE wants it */
#define UMBRA_NODE_BY_VOLUME UINT64_C(2)

static inline uint64_t umbra_nodeid(enum umbra_view view, unsigned int index, uint64_t number)
{
	return (uint64_t)view << (UMBRA_NUMBER_BITS + 16) | (uint64_t)index << UMBRA_NUMBER_BITS |
	       number;
}

static inline enum umbra_view umbra_nodeid_view(uint64_t id)
{
	return id >> (UMBRA_NUMBER_BITS + 16) & 1 ? UMBRA_VIEW_VOLUME : UMBRA_VIEW_SET;
}

static inline unsigned int umbra_nodeid_index(uint64_t id)
{
	return (unsigned int)(id >> UMBRA_NUMBER_BITS & 0xffff);
}

static inline uint64_t umbra_nodeid_number(uint64_t id)
{
	return id & UMBRA_NUMBER_MASK;
}
