/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A table of a device-mapper device: lines of target and parameters, without gaps. All lengths are
 * in sectors of 512 bytes. Parameters can hold a key, so they are overwritten before they are
 * freed; never put them into a message.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "common/util.h"

#define UMBRA_DM_TARGET_MAX 15

struct umbra_dm_line {
	uint64_t start, length;
	char target[UMBRA_DM_TARGET_MAX + 1]; /* "linear", … */
	char *params;                         /* owned; "" when there are none */
};

/* Zero it to begin with; umbra_dm_table_finish() at the end. */
struct umbra_dm_table {
	struct umbra_dm_line *v;
	size_t n;
};

void umbra_dm_table_finish(struct umbra_dm_table *table);
#define _cleanup_dm_table_ _cleanup_(umbra_dm_table_finish)

/* Adds a line behind the last one. A length of 0 adds nothing. */
int umbra_dm_table_add(struct umbra_dm_table *table, uint64_t length, const char *target,
		       struct umbra_error *err, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));

/* As that, with a start of its own and parameters as they are: what the kernel says. */
int umbra_dm_table_add_line(struct umbra_dm_table *table, uint64_t start, uint64_t length,
			    const char *target, const char *params, struct umbra_error *err);

uint64_t umbra_dm_table_sectors(const struct umbra_dm_table *table);

/* Line by line the same text. */
bool umbra_dm_table_same(const struct umbra_dm_table *a, const struct umbra_dm_table *b);
