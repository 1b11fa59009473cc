/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Little-endian numbers at any address: what lies on disk is the same on every machine. */
#pragma once

#include <endian.h>
#include <stdint.h>
#include <string.h>

static inline uint32_t umbra_le32(const void *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return le32toh(v);
}

static inline uint64_t umbra_le64(const void *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return le64toh(v);
}

static inline void umbra_put_le32(void *p, uint32_t v)
{
	v = htole32(v);
	memcpy(p, &v, sizeof(v));
}

static inline void umbra_put_le64(void *p, uint64_t v)
{
	v = htole64(v);
	memcpy(p, &v, sizeof(v));
}
