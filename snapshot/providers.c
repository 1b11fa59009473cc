/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The table, made of the list in provider/meson.build; by itself, so that tests bring their own. */
#include "snapshot/provider.h"

#define X(name) extern const struct umbra_provider umbra_provider_##name;
#include "snapshot/provider/providers.inc"
#undef X

static const struct umbra_provider *const table[] = {
#define X(name) &umbra_provider_##name,
#include "snapshot/provider/providers.inc"
#undef X
};

const struct umbra_provider *const *umbra_providers(size_t *n)
{
	*n = UMBRA_ARRAY_SIZE(table);
	return table;
}
