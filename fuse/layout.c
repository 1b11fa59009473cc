/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fuse/layout.h"

void umbra_layout_init(struct umbra_layout *l, struct umbra_copies *copies)
{
	*l = (struct umbra_layout){.source.copies = copies};
	umbra_numbers_init(&l->source.made);
	umbra_volume_dirs_init(&l->source.volumes);
	pthread_rwlock_init(&l->lock, NULL);
}

void umbra_layout_finish(struct umbra_layout *l)
{
	size_t i;

	for (i = 0; i < l->n_sets; i++)
		umbra_shown_unref(l->sets[i]);
	free(l->sets);
	free(l->by_time);
	pthread_rwlock_destroy(&l->lock);
	umbra_volume_dirs_finish(&l->source.volumes);
	umbra_numbers_finish(&l->source.made);
}

static struct umbra_shown *ref_or_null(struct umbra_shown *shown)
{
	return shown ? umbra_shown_ref(shown) : NULL;
}

struct umbra_shown *umbra_layout_set(struct umbra_layout *l, const char *token)
{
	struct umbra_shown *shown = NULL;
	size_t low = 0, high, mid;
	int64_t time;

	if (umbra_token_parse(token, &time) < 0)
		return NULL;
	pthread_rwlock_rdlock(&l->lock);
	for (high = l->n_sets; low < high;) {
		mid = low + (high - low) / 2;
		if (l->by_time[mid]->set->time < time)
			low = mid + 1;
		else
			high = mid;
	}
	if (low < l->n_sets && l->by_time[low]->set->time == time)
		shown = umbra_shown_ref(l->by_time[low]);
	pthread_rwlock_unlock(&l->lock);
	return shown;
}

struct umbra_shown *umbra_layout_latest(struct umbra_layout *l)
{
	struct umbra_shown *shown;

	pthread_rwlock_rdlock(&l->lock);
	shown = ref_or_null(l->n_sets ? l->sets[l->n_sets - 1] : NULL);
	pthread_rwlock_unlock(&l->lock);
	return shown;
}

struct umbra_shown *umbra_layout_after(struct umbra_layout *l, int64_t seq)
{
	struct umbra_shown *shown;
	size_t low = 0, high, mid;

	pthread_rwlock_rdlock(&l->lock);
	for (high = l->n_sets; low < high;) {
		mid = low + (high - low) / 2;
		if (l->sets[mid]->set->seq <= seq)
			low = mid + 1;
		else
			high = mid;
	}
	shown = ref_or_null(low < l->n_sets ? l->sets[low] : NULL);
	pthread_rwlock_unlock(&l->lock);
	return shown;
}

int64_t umbra_layout_changed(struct umbra_layout *l)
{
	int64_t changed;

	pthread_rwlock_rdlock(&l->lock);
	changed = l->changed;
	pthread_rwlock_unlock(&l->lock);
	return changed;
}
