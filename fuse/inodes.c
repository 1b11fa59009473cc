/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fuse/inodes.h"

#include <stdlib.h>
#include <string.h>

#include "fuse/nodeid.h"

#define ROOM_MIN 1024

struct umbra_shown *umbra_inode_set(const struct umbra_inode *inode)
{
	if (inode->member)
		return inode->member->set;
	if (inode->kind == UMBRA_INODE_PLACE || inode->kind == UMBRA_INODE_LATEST)
		return inode->place->set;
	return NULL;
}

struct umbra_inodes {
	pthread_mutex_t lock;
	struct umbra_inode **buckets;
	size_t n, room; /* room: a power of two */
};

struct umbra_inodes *umbra_inodes_new(void)
{
	struct umbra_inodes *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->room = ROOM_MIN;
	t->buckets = calloc(t->room, sizeof(struct umbra_inode *));
	if (!t->buckets) {
		free(t);
		return NULL;
	}
	pthread_mutex_init(&t->lock, NULL);
	return t;
}

struct umbra_inodes *umbra_inodes_free(struct umbra_inodes *t)
{
	struct umbra_inode *inode;
	size_t i;

	if (!t)
		return NULL;
	for (i = 0; i < t->room; i++) {
		while ((inode = t->buckets[i])) {
			t->buckets[i] = inode->chain;
			umbra_shown_unref(umbra_inode_set(inode));
			free(inode);
		}
	}
	pthread_mutex_destroy(&t->lock);
	free(t->buckets);
	free(t);
	return NULL;
}

static struct umbra_inode **at(struct umbra_inodes *t, uint64_t id)
{
	struct umbra_inode **p = &t->buckets[umbra_mix(id) & (t->room - 1)];

	while (*p && (*p)->id != id)
		p = &(*p)->chain;
	return p;
}

/* Without memory for another size it stays as it is: slower, but right. */
static void resize(struct umbra_inodes *t, size_t room)
{
	struct umbra_inode **old = t->buckets, *inode, **to;
	size_t old_room = t->room, i;

	to = calloc(room, sizeof(struct umbra_inode *));
	if (!to)
		return;
	t->buckets = to;
	t->room = room;
	for (i = 0; i < old_room; i++) {
		while ((inode = old[i])) {
			old[i] = inode->chain;
			to = &t->buckets[umbra_mix(inode->id) & (room - 1)];
			inode->chain = *to;
			*to = inode;
		}
	}
	free(old);
}

static struct umbra_inode *make(const struct umbra_inode *like, const void *data)
{
	struct umbra_inode *inode = malloc(sizeof(*inode) + like->len);
	struct umbra_shown *set = umbra_inode_set(like);

	if (!inode)
		return NULL;
	*inode = *like;
	inode->lookups = 0;
	inode->users = 0;
	inode->detached = false;
	if (like->len)
		memcpy(inode + 1, data, like->len);
	if (set)
		umbra_shown_ref(set);
	if (inode->kind == UMBRA_INODE_PATH)
		inode->parent->users++;
	return inode;
}

static void insert(struct umbra_inodes *t, struct umbra_inode *inode)
{
	struct umbra_inode **p;

	if (t->n >= t->room)
		resize(t, t->room * 2);
	p = at(t, inode->id);
	inode->chain = *p;
	*p = inode;
	t->n++;
}

static void take_out(struct umbra_inodes *t, struct umbra_inode *inode)
{
	*at(t, inode->id) = inode->chain;
	t->n--;
	if (t->room > ROOM_MIN && t->n < t->room / 8)
		resize(t, t->room / 2);
}

/*
 * Frees what nobody needs any more, and then perhaps its parent. What is freed is chained to
 * *dead: references of sets are given back without the lock, since the last one closes files.
 */
static void reap(struct umbra_inodes *t, struct umbra_inode *inode, struct umbra_inode **dead)
{
	struct umbra_inode *parent;

	while (inode && inode->lookups == 0 && inode->users == 0) {
		if (!inode->detached)
			take_out(t, inode);
		parent = inode->kind == UMBRA_INODE_PATH ? inode->parent : NULL;
		inode->chain = *dead;
		*dead = inode;
		if (parent)
			parent->users--;
		inode = parent;
	}
}

static void bury(struct umbra_inode *dead)
{
	struct umbra_inode *next;

	for (; dead; dead = next) {
		next = dead->chain;
		umbra_shown_unref(umbra_inode_set(dead));
		free(dead);
	}
}

/*
 * After 65535 copies an index comes back, and with it ids, while the kernel may still hold
 * inodes of the copy that had it before. It tells them apart by their generation, but counts
 * its lookups of both on one id.
 */
static void replace(struct umbra_inodes *t, struct umbra_inode *old, struct umbra_inode *inode,
		    struct umbra_inode **dead)
{
	inode->lookups = old->lookups;
	take_out(t, old);
	old->detached = true;
	old->lookups = 0;
	reap(t, old, dead);
}

int umbra_inodes_add(struct umbra_inodes *t, const struct umbra_inode *like, const void *data)
{
	struct umbra_inode *inode, *old, *dead = NULL;

	pthread_mutex_lock(&t->lock);
	old = *at(t, like->id);
	inode = old;
	if (!old || umbra_inode_set(old) != umbra_inode_set(like)) {
		inode = make(like, data);
		if (!inode) {
			pthread_mutex_unlock(&t->lock);
			return -ENOMEM;
		}
		if (old)
			replace(t, old, inode, &dead);
		insert(t, inode);
	}
	inode->lookups++;
	pthread_mutex_unlock(&t->lock);
	bury(dead);
	return 0;
}

void umbra_inodes_forget(struct umbra_inodes *t, uint64_t id, uint64_t n)
{
	struct umbra_inode *inode, *dead = NULL;

	pthread_mutex_lock(&t->lock);
	inode = *at(t, id);
	if (inode && id != UMBRA_NODE_ROOT) {
		inode->lookups -= n < inode->lookups ? n : inode->lookups;
		reap(t, inode, &dead);
	}
	pthread_mutex_unlock(&t->lock);
	bury(dead);
}

struct umbra_inode *umbra_inodes_get(struct umbra_inodes *t, uint64_t id)
{
	struct umbra_inode *inode;

	pthread_mutex_lock(&t->lock);
	inode = *at(t, id);
	if (inode)
		inode->users++;
	pthread_mutex_unlock(&t->lock);
	return inode;
}

void umbra_inodes_put(struct umbra_inodes *t, struct umbra_inode *inode)
{
	struct umbra_inode *dead = NULL;

	if (!inode)
		return;
	pthread_mutex_lock(&t->lock);
	inode->users--;
	reap(t, inode, &dead);
	pthread_mutex_unlock(&t->lock);
	bury(dead);
}

size_t umbra_inodes_count(struct umbra_inodes *t)
{
	size_t n;

	pthread_mutex_lock(&t->lock);
	n = t->n;
	pthread_mutex_unlock(&t->lock);
	return n;
}
