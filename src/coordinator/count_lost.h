/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How many copies are lost: storage says the same as list. */
#pragma once

#include "coordinator/session.h"

/*
 * areas: reports (snapshot/storage.h), whose "lost" counts what the area knows. That does not know
 * what was given up any more; as long as the catalog has it, it counts, too. A catalog that cannot
 * be read changes nothing. The engine may have none yet.
 */
void umbra_count_lost(struct umbra_session *s, json_t *areas);
