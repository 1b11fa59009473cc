/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/id.h"

#include <string.h>
#include <uuid/uuid.h>

void umbra_id_new(struct umbra_id *id)
{
	uuid_t u;

	uuid_generate_random(u);
	uuid_unparse_lower(u, id->s);
}

bool umbra_id_valid(const char *s)
{
	char again[UMBRA_ID_LEN + 1];
	uuid_t u;

	if (strlen(s) != UMBRA_ID_LEN || uuid_parse(s, u) < 0)
		return false;
	uuid_unparse_lower(u, again);
	return strcmp(s, again) == 0;
}
