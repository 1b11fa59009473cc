/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/mounted.h"

#include <string.h>

#include "snapshot/provider.h"

/* What the directory lies on, or the nearest one above that is there. */
static int resolve_nearest(const char *path, struct umbra_volume **out, struct umbra_error *err)
{
	_cleanup_free_ char *dir = strdup(path);
	char *slash;
	int r;

	if (!dir)
		return umbra_oom(err);
	while ((r = umbra_volume_resolve(dir, out, err)) == -ENOENT &&
	       (slash = strrchr(dir, '/')) && slash != dir)
		*slash = '\0';
	return r == -ENOENT ? umbra_volume_resolve("/", out, err) : r;
}

int umbra_cli_check_mounted(const struct umbra_set *set, const char *path, struct umbra_error *err)
{
	const struct umbra_shadow *shadow = umbra_set_covering(set, path);
	_cleanup_volume_ struct umbra_volume *volume = NULL;
	const struct umbra_provider *p = shadow ? umbra_provider_find(shadow->provider) : NULL;
	const char *uuid = shadow ? umbra_doc_string(shadow->data, "origin_uuid") : NULL;

	if (!p || !p->resolve || !uuid || !*uuid)
		return 0; /* a directory like others, or it cannot be told */
	if (resolve_nearest(shadow->path, &volume, NULL) < 0)
		return 0; /* what is there now is for who writes to judge */
	if (strcmp(volume->mount, shadow->path) == 0 ||
	    (volume->uuid && strcmp(volume->uuid, uuid) == 0))
		return 0;
	return umbra_fail(err, UMBRA_E_NOT_FOUND, ENODEV,
			  "'%s' was a volume ('%s') when it was copied, and now nothing is mounted "
			  "there: mount it, or, to restore into the directory underneath, say "
			  "--to '%s'",
			  shadow->path, shadow->provider, path);
}
