/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Diff areas, as their providers report them (snapshot/storage.h), for people. */
#pragma once

#include "common/doc.h"

/* A table, and what there is to be said of one of them in full below it. */
int umbra_areas_print(const json_t *areas, struct umbra_error *err);

/* Those that are not of the volume that path lies on are taken out; -ENOENT when none is left. */
int umbra_areas_choose(json_t *areas, const char *path, struct umbra_error *err);
