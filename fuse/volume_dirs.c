/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fuse/volume_dirs.h"

#include <stdlib.h>
#include <string.h>

#include "fuse/shown.h"

void umbra_volume_dirs_init(struct umbra_volume_dirs *dirs)
{
	*dirs = (struct umbra_volume_dirs){0};
	pthread_rwlock_init(&dirs->lock, NULL);
}

static void volume_dir_free(struct umbra_volume_dir *v)
{
	free(v->name);
	free(v);
}

void umbra_volume_dirs_finish(struct umbra_volume_dirs *dirs)
{
	size_t i;

	for (i = 0; i < dirs->n; i++)
		volume_dir_free(dirs->v[i]);
	free(dirs->v);
	pthread_rwlock_destroy(&dirs->lock);
}

static bool append(struct umbra_volume_dirs *dirs, struct umbra_volume_dir *v)
{
	struct umbra_volume_dir **more;

	pthread_rwlock_wrlock(&dirs->lock);
	more = reallocarray(dirs->v, dirs->n + 1, sizeof(struct umbra_volume_dir *));
	if (more) {
		dirs->v = more;
		v->position = dirs->n;
		dirs->v[dirs->n++] = v;
	}
	pthread_rwlock_unlock(&dirs->lock);
	return more;
}

struct umbra_volume_dir *umbra_volume_dirs_add(struct umbra_volume_dirs *dirs,
					       struct umbra_numbers *made, const char *path)
{
	_cleanup_free_ char *name = umbra_volume_name(path);
	struct umbra_volume_dir *v;
	size_t i;

	if (!name)
		return NULL;
	for (i = 0; i < dirs->n; i++)
		if (strcmp(dirs->v[i]->name, name) == 0)
			return dirs->v[i];
	v = calloc(1, sizeof(*v));
	if (!v)
		return NULL;
	v->id = umbra_numbers_get(made,
				  umbra_number_key((const char *const[]){"volume", name, NULL}));
	v->name = TAKE_PTR(name);
	if (v->id && append(dirs, v))
		return v;
	volume_dir_free(v);
	return NULL;
}

struct umbra_volume_dir *umbra_volume_dirs_at(struct umbra_volume_dirs *dirs, size_t position)
{
	struct umbra_volume_dir *v = NULL;

	pthread_rwlock_rdlock(&dirs->lock);
	while (position < dirs->n && dirs->v[position]->live == 0)
		position++;
	if (position < dirs->n)
		v = dirs->v[position];
	pthread_rwlock_unlock(&dirs->lock);
	return v;
}

struct umbra_volume_dir *umbra_volume_dirs_find(struct umbra_volume_dirs *dirs, const char *name)
{
	struct umbra_volume_dir *v = NULL;
	size_t i;

	pthread_rwlock_rdlock(&dirs->lock);
	for (i = 0; i < dirs->n && !v; i++)
		if (dirs->v[i]->live > 0 && strcmp(dirs->v[i]->name, name) == 0)
			v = dirs->v[i];
	pthread_rwlock_unlock(&dirs->lock);
	return v;
}

size_t *umbra_volume_dirs_count(const struct umbra_volume_dirs *dirs,
				struct umbra_shown *const *sets, size_t n)
{
	size_t *live = calloc(dirs->n + 1, sizeof(*live));
	size_t i, k;

	for (i = 0; live && i < n; i++)
		for (k = 0; k < sets[i]->n_members; k++)
			live[sets[i]->members[k].volume->position]++;
	return live;
}

void umbra_volume_dirs_show(struct umbra_volume_dirs *dirs, const size_t *live)
{
	size_t i;

	pthread_rwlock_wrlock(&dirs->lock);
	for (i = 0; i < dirs->n; i++)
		dirs->v[i]->live = live[i];
	pthread_rwlock_unlock(&dirs->lock);
}
