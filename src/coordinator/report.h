/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "common/doc.h"

/* Adds a sentence, made printable, to an array of them. 0 or -ENOMEM. */
int umbra_report(json_t *list, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
