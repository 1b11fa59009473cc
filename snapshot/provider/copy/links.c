/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/provider/copy/links.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "snapshot/provider/copy/sum.h"

#define FIRST_SIZE 256

struct umbra_links {
	struct umbra_walk *walk;
	pthread_mutex_t lock;
	pthread_cond_t made;
	struct umbra_link **table; /* chains */
	size_t size, n;            /* size: a power of two */
};

struct umbra_links *umbra_links_new(struct umbra_walk *walk)
{
	struct umbra_links *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->table = calloc(FIRST_SIZE, sizeof(*l->table));
	if (!l->table) {
		free(l);
		return NULL;
	}
	l->size = FIRST_SIZE;
	l->walk = walk;
	pthread_mutex_init(&l->lock, NULL);
	pthread_cond_init(&l->made, NULL);
	return l;
}

static void free_link(struct umbra_link *link)
{
	free(link->name);
	free(link);
}

struct umbra_links *umbra_links_free(struct umbra_links *l)
{
	struct umbra_link *link, *next;
	size_t i;

	if (!l)
		return NULL;
	for (i = 0; i < l->size; i++) {
		for (link = l->table[i]; link; link = next) {
			next = link->next;
			free_link(link);
		}
	}
	pthread_cond_destroy(&l->made);
	pthread_mutex_destroy(&l->lock);
	free(l->table);
	free(l);
	return NULL;
}

static struct umbra_link **chain(struct umbra_links *l, const struct umbra_link_id *id)
{
	return &l->table[umbra_sum_word(id->dev, id->ino) & (l->size - 1)];
}

static struct umbra_link **find(struct umbra_links *l, const struct umbra_link_id *id)
{
	struct umbra_link **at;

	for (at = chain(l, id); *at && !umbra_link_same(&(*at)->id, id);)
		at = &(*at)->next;
	return at;
}

/* Without memory for it the chains only get longer. */
static void grow(struct umbra_links *l)
{
	struct umbra_link **old = l->table, *link, *next, **to;
	size_t i, size = l->size;

	l->table = calloc(size * 2, sizeof(*l->table));
	if (!l->table) {
		l->table = old;
		return;
	}
	l->size = size * 2;
	for (i = 0; i < size; i++) {
		for (link = old[i]; link; link = next) {
			next = link->next;
			to = chain(l, &link->id);
			link->next = *to;
			*to = link;
		}
	}
	free(old);
}

static struct umbra_link *add(struct umbra_links *l, const struct umbra_link_id *id, nlink_t nlink)
{
	struct umbra_link *link = calloc(1, sizeof(*link)), **to;

	if (!link)
		return NULL;
	if (l->n >= l->size)
		grow(l);
	link->id = *id;
	link->left = nlink;
	to = chain(l, id);
	link->next = *to;
	*to = link;
	l->n++;
	return link;
}

/* False: the walk is stopping; whoever makes it may be in the middle of a large file. */
static bool wait_until_made(struct umbra_links *l, struct umbra_link *link)
{
	struct timespec until;

	while (link->state == UMBRA_LINK_MAKING && !l->walk->stop) {
		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_sec += 1;
		pthread_cond_clockwait(&l->made, &l->lock, CLOCK_MONOTONIC, &until);
	}
	return link->state != UMBRA_LINK_MAKING;
}

/* Under the lock. */
static struct umbra_walk_dir *put(struct umbra_links *l, struct umbra_link *link)
{
	struct umbra_walk_dir *dir;
	struct umbra_link **at;

	if (--link->users > 0 || (link->left > 0 && link->state != UMBRA_LINK_FAILED))
		return NULL;
	for (at = find(l, &link->id); *at != link;)
		at = &(*at)->next;
	*at = link->next;
	l->n--;
	dir = link->dir;
	free_link(link);
	return dir;
}

struct umbra_link *umbra_links_get(struct umbra_links *l, const struct umbra_link_id *id,
				   nlink_t nlink, bool *first)
{
	struct umbra_walk_dir *dir = NULL;
	struct umbra_link *link;

	pthread_mutex_lock(&l->lock);
	link = *find(l, id);
	*first = !link;
	if (!link)
		link = add(l, id, nlink);
	if (link) {
		link->users++;
		if (link->left > 0)
			link->left--;
		if (!*first && !wait_until_made(l, link)) {
			dir = put(l, link);
			link = NULL;
		} else if (link->state == UMBRA_LINK_FAILED) { /* then we are the first */
			link->state = UMBRA_LINK_MAKING;
			*first = true;
		}
	}
	pthread_mutex_unlock(&l->lock);
	if (dir)
		umbra_walk_unref(l->walk, dir);
	return link;
}

int umbra_links_made(struct umbra_links *l, struct umbra_link *link, struct umbra_walk_dir *dir,
		     const char *name)
{
	char *copy = strdup(name);

	if (copy)
		umbra_walk_ref(l->walk, dir);
	pthread_mutex_lock(&l->lock);
	link->state = copy ? UMBRA_LINK_MADE : UMBRA_LINK_FAILED;
	if (copy) {
		link->dir = dir;
		link->name = copy;
	}
	pthread_cond_broadcast(&l->made);
	pthread_mutex_unlock(&l->lock);
	return copy ? 0 : -ENOMEM;
}

void umbra_links_failed(struct umbra_links *l, struct umbra_link *link)
{
	pthread_mutex_lock(&l->lock);
	link->state = UMBRA_LINK_FAILED;
	pthread_cond_broadcast(&l->made);
	pthread_mutex_unlock(&l->lock);
}

void umbra_links_put(struct umbra_links *l, struct umbra_link *link)
{
	struct umbra_walk_dir *dir;

	pthread_mutex_lock(&l->lock);
	dir = put(l, link);
	pthread_mutex_unlock(&l->lock);
	if (dir)
		umbra_walk_unref(l->walk, dir);
}
