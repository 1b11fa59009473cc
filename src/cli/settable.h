/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Sets in a table, a line each, as people see them. */
#pragma once

#include "cli/output.h"
#include "snapshot/snapshot.h"

/* Its label, or, when none of its copies can be read, why: "lost", "missing", "inactive". */
const char *umbra_set_consistency(const struct umbra_set *set);

struct umbra_table *umbra_set_table_new(void);
/* t may be NULL, as with umbra_table_row(). */
void umbra_set_table_add(struct umbra_table *t, const struct umbra_set *set);
