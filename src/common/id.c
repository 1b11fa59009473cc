/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/id.h"

#include <uuid/uuid.h>

void umbra_id_new(struct umbra_id *id)
{
	uuid_t u;

	uuid_generate_random(u);
	uuid_unparse_lower(u, id->s);
}

/* Not by uuid_parse(): a list of ten thousand sets checks twenty thousand of them. */
bool umbra_id_valid(const char *s)
{
	static const char shape[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
	size_t i;

	for (i = 0; i < UMBRA_ID_LEN; i++)
		if (shape[i] == '-'
			    ? s[i] != '-'
			    : !((s[i] >= '0' && s[i] <= '9') || (s[i] >= 'a' && s[i] <= 'f')))
			return false;
	return s[UMBRA_ID_LEN] == '\0';
}
