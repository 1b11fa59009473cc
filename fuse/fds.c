/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fuse/fds.h"

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/util.h"
#include "fuse/nodeid.h"
#include "fuse/numbers.h"

struct umbra_fds {
	pthread_mutex_t lock;
	size_t n, max, room;        /* room: a power of two */
	struct umbra_fd **buckets;  /* by id */
	struct umbra_fd *new, *old; /* by last use */
};

struct umbra_fds *umbra_fds_new(size_t max)
{
	struct umbra_fds *fds = calloc(1, sizeof(*fds));

	if (!fds)
		return NULL;
	fds->max = max;
	for (fds->room = 64; fds->room < max;)
		fds->room *= 2;
	fds->buckets = calloc(fds->room, sizeof(struct umbra_fd *));
	if (!fds->buckets) {
		free(fds);
		return NULL;
	}
	pthread_mutex_init(&fds->lock, NULL);
	return fds;
}

static struct umbra_fd **bucket(struct umbra_fds *fds, uint64_t id)
{
	return &fds->buckets[umbra_mix(id) & (fds->room - 1)];
}

static void list_remove(struct umbra_fds *fds, struct umbra_fd *f)
{
	*(f->newer ? &f->newer->older : &fds->new) = f->older;
	*(f->older ? &f->older->newer : &fds->old) = f->newer;
}

static void list_add(struct umbra_fds *fds, struct umbra_fd *f)
{
	f->newer = NULL;
	f->older = fds->new;
	*(fds->new ? &fds->new->newer : &fds->old) = f;
	fds->new = f;
}

static struct umbra_fd *find(struct umbra_fds *fds, uint64_t id)
{
	struct umbra_fd *f;

	for (f = *bucket(fds, id); f && f->id != id; f = f->chain)
		;
	return f;
}

static void destroy(struct umbra_fd *f)
{
	close(f->fd);
	free(f);
}

/* Out of the cache; closed now, or by the last who uses it. */
static void drop(struct umbra_fds *fds, struct umbra_fd *f)
{
	struct umbra_fd **at = bucket(fds, f->id);

	while (*at != f)
		at = &(*at)->chain;
	*at = f->chain;
	list_remove(fds, f);
	fds->n--;
	f->dropped = 1;
	if (f->users == 0)
		destroy(f);
}

struct umbra_fds *umbra_fds_free(struct umbra_fds *fds)
{
	if (fds) {
		while (fds->new)
			drop(fds, fds->new);
		pthread_mutex_destroy(&fds->lock);
		free(fds->buckets);
		free(fds);
	}
	return NULL;
}

static void trim(struct umbra_fds *fds, size_t max)
{
	struct umbra_fd *f, *newer;

	for (f = fds->old; f && fds->n > max; f = newer) {
		newer = f->newer;
		if (f->users == 0)
			drop(fds, f);
	}
}

static struct umbra_fd *use(struct umbra_fds *fds, struct umbra_fd *f)
{
	list_remove(fds, f);
	list_add(fds, f);
	f->users++;
	return f;
}

struct umbra_fd *umbra_fds_get(struct umbra_fds *fds, uint64_t id)
{
	struct umbra_fd *f;

	pthread_mutex_lock(&fds->lock);
	f = find(fds, id);
	if (f)
		use(fds, f);
	pthread_mutex_unlock(&fds->lock);
	return f;
}

struct umbra_fd *umbra_fds_add(struct umbra_fds *fds, uint64_t id, int fd)
{
	struct umbra_fd *f = malloc(sizeof(*f)), *there;

	if (!f) {
		umbra_close(fd);
		return NULL;
	}
	pthread_mutex_lock(&fds->lock);
	there = find(fds, id);
	if (there) {
		use(fds, there);
		pthread_mutex_unlock(&fds->lock);
		umbra_close(fd);
		free(f);
		return there;
	}
	*f = (struct umbra_fd){.fd = fd, .id = id, .users = 1, .chain = *bucket(fds, id)};
	*bucket(fds, id) = f;
	list_add(fds, f);
	fds->n++;
	trim(fds, fds->max);
	pthread_mutex_unlock(&fds->lock);
	return f;
}

void umbra_fds_put(struct umbra_fds *fds, struct umbra_fd *f)
{
	if (!f)
		return;
	pthread_mutex_lock(&fds->lock);
	if (--f->users == 0 && f->dropped)
		destroy(f);
	pthread_mutex_unlock(&fds->lock);
}

void umbra_fds_drop(struct umbra_fds *fds, int index)
{
	struct umbra_fd *f, *newer;

	pthread_mutex_lock(&fds->lock);
	if (index < 0)
		trim(fds, 0);
	for (f = fds->old; f && index >= 0; f = newer) {
		newer = f->newer;
		if (umbra_nodeid_index(f->id) == (unsigned int)index)
			drop(fds, f);
	}
	pthread_mutex_unlock(&fds->lock);
}

size_t umbra_fds_count(struct umbra_fds *fds)
{
	size_t n;

	pthread_mutex_lock(&fds->lock);
	n = fds->n;
	pthread_mutex_unlock(&fds->lock);
	return n;
}
