/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/located.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "snapshot/provider.h"

int umbra_located_device(struct umbra_located *l, const struct umbra_shadow *shadow, dev_t *out)
{
	const struct umbra_provider *p = umbra_provider_find(shadow->provider);

	if (!p || !p->storage || !p->storage->locate)
		return 0;
	if (!l->volume || strcmp(l->volume, shadow->volume) != 0)
		l->r = p->storage->locate(l->state_fd, shadow, &l->device, NULL);
	l->volume = shadow->volume;
	*out = l->device;
	return l->r == 0 ? 1 : l->r == -ENODEV ? -ENODEV : 0;
}

void umbra_scope_init(struct umbra_scope *scope, int state_fd, const char *path)
{
	*scope = (struct umbra_scope){.path = path, .located = {.state_fd = state_fd}};
	scope->whole = path && umbra_volume_whole_at(path, &scope->device);
}

bool umbra_scope_is_of(struct umbra_scope *scope, const struct umbra_shadow *shadow)
{
	dev_t device = 0;

	return scope->whole && umbra_located_device(&scope->located, shadow, &device) > 0 &&
	       device == scope->device;
}

bool umbra_scope_has(struct umbra_scope *scope, const struct umbra_set *set)
{
	size_t i;

	if (!scope->path || umbra_set_covering(set, scope->path))
		return true;
	for (i = 0; i < set->n_shadows; i++)
		if (umbra_scope_is_of(scope, set->shadows[i]))
			return true;
	return false;
}

const char *umbra_located_otherwise(int state_fd, const struct umbra_set_list *sets,
				    const char *path)
{
	struct umbra_located located = {.state_fd = state_fd};
	dev_t device = 0;
	struct stat st;
	size_t i, k;

	if (stat(path, &st) < 0)
		return NULL;
	for (i = sets->n; i-- > 0;)
		for (k = 0; k < sets->sets[i]->n_shadows; k++)
			if (umbra_located_device(&located, sets->sets[i]->shadows[k], &device) >
				    0 &&
			    device == st.st_dev)
				return sets->sets[i]->shadows[k]->path;
	return NULL;
}
