/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The fault points of this program (common/fault.h). */
#pragma once

#include <stddef.h>

#define POINT_MAX 64

/* Those whose names begin so; how many. */
size_t fault_points(const char *begins, char points[][POINT_MAX], size_t max);
