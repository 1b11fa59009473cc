/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How the table of shown attributes begins on disk, for its writer and its reader. */
#pragma once

#include "snapshot/provider/copy/shown.h"
#include "snapshot/provider/copy/sum.h"

#define UMBRA_SHOWN_VERSION    1
#define UMBRA_SHOWN_BYTE_ORDER 0x01020304
#define UMBRA_SHOWN_MAGIC      "umbraSHO"

struct umbra_shown_header {
	char magic[8]; /* without a NUL */
	uint32_t byte_order;
	uint32_t version;
	char id[40]; /* of the shadow copy */
	uint64_t n;
	uint64_t entries_sum;
	uint64_t sum; /* of everything before */
};

_Static_assert(sizeof(struct umbra_shown_header) == 80, "on disk");
_Static_assert(sizeof(struct umbra_shown_entry) == 40, "on disk");

static inline uint64_t umbra_shown_header_sum(const struct umbra_shown_header *h)
{
	return umbra_sum(0, h, offsetof(struct umbra_shown_header, sum));
}
