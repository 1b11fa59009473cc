/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Identifiers of sets and shadow copies: random UUIDs in lower case, as libuuid writes them. */
#pragma once

#include <stdbool.h>

#define UMBRA_ID_LEN 36

struct umbra_id {
	char s[UMBRA_ID_LEN + 1];
};

void umbra_id_new(struct umbra_id *id);
bool umbra_id_valid(const char *s);
