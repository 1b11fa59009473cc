/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Sets in a table, a line each, as people see them. */
#pragma once

#include "cli/output.h"
#include "snapshot/snapshot.h"

struct umbra_table *umbra_set_table_new(void);
/* t may be NULL, as with umbra_table_row(). */
void umbra_set_table_add(struct umbra_table *t, const struct umbra_set *set);
