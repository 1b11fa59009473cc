/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fuse/copy.h"

#include <linux/magic.h>
#include <string.h>
#include <sys/vfs.h>
#include <time.h>

#include "common/log.h"
#include "fuse/nodeid.h"

#define BTRFS_EMPTY_SUBVOL_DIR_INO 2 /* linux/btrfs_tree.h */

void umbra_copies_init(struct umbra_copies *all)
{
	pthread_mutex_init(&all->lock, NULL);
}

void umbra_copies_finish(struct umbra_copies *all)
{
	pthread_mutex_destroy(&all->lock);
}

void umbra_copy_init(struct umbra_copy *copy, struct umbra_copies *all,
		     const struct umbra_shadow *shadow)
{
	pthread_condattr_t attr;

	*copy = (struct umbra_copy){.all = all, .shadow = shadow};
	umbra_numbers_init(&copy->numbers);
	pthread_mutex_init(&copy->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&copy->unused, &attr);
	pthread_condattr_destroy(&attr);
}

static void list_add(struct umbra_copy *copy)
{
	struct umbra_copies *all = copy->all;

	pthread_mutex_lock(&all->lock);
	copy->next = all->opened;
	copy->at = &all->opened;
	if (copy->next)
		copy->next->at = &copy->next;
	all->opened = copy;
	all->n_opened++;
	pthread_mutex_unlock(&all->lock);
}

/* Under all->lock. */
static void list_remove(struct umbra_copy *copy)
{
	*copy->at = copy->next;
	if (copy->next)
		copy->next->at = copy->at;
	copy->all->n_opened--;
}

/* Under copy->lock, taken out of the list, without users. */
static void close_root(struct umbra_copy *copy)
{
	umbra_fds_drop(copy->all->fds, (int)copy->shadow->index);
	umbra_streams_drop(copy->all->streams, (int)copy->shadow->index);
	copy->root = umbra_root_close(copy->root);
}

void umbra_copy_finish(struct umbra_copy *copy)
{
	if (copy->root) {
		pthread_mutex_lock(&copy->all->lock);
		list_remove(copy);
		pthread_mutex_unlock(&copy->all->lock);
		close_root(copy);
	}
	pthread_cond_destroy(&copy->unused);
	pthread_mutex_destroy(&copy->lock);
	umbra_numbers_finish(&copy->numbers);
}

/* The unused copy that was used longest ago, before that time; locked, and out of the list. */
static struct umbra_copy *take_idle(struct umbra_copies *all, int64_t before_us, size_t keep)
{
	struct umbra_copy *copy, *best = NULL;

	pthread_mutex_lock(&all->lock);
	/* The other order of locks: try only, who holds a copy's lock is using it. */
	for (copy = all->n_opened > keep ? all->opened : NULL; copy; copy = copy->next) {
		if (pthread_mutex_trylock(&copy->lock) != 0)
			continue;
		if (copy->users > 0 || copy->used_us > before_us ||
		    (best && copy->used_us >= best->used_us)) {
			pthread_mutex_unlock(&copy->lock);
			continue;
		}
		if (best)
			pthread_mutex_unlock(&best->lock);
		best = copy;
	}
	if (best)
		list_remove(best);
	pthread_mutex_unlock(&all->lock);
	return best;
}

static void close_some(struct umbra_copies *all, int64_t before_us, size_t keep)
{
	struct umbra_copy *copy;

	while ((copy = take_idle(all, before_us, keep))) {
		close_root(copy);
		pthread_mutex_unlock(&copy->lock);
	}
}

void umbra_copies_close_idle(struct umbra_copies *all, int64_t idle_us)
{
	close_some(all, umbra_now_us() - idle_us, 0);
}

size_t umbra_copies_opened(struct umbra_copies *all)
{
	size_t n;

	pthread_mutex_lock(&all->lock);
	n = all->n_opened;
	pthread_mutex_unlock(&all->lock);
	return n;
}

static bool out_of_fds(int r)
{
	return r == -EMFILE || r == -ENFILE;
}

static int open_root(struct umbra_copy *copy)
{
	struct umbra_copies *all = copy->all;
	struct umbra_error err = {0};
	struct umbra_root *root;
	struct statfs fs;
	struct stat st;
	int r = all->open(all->arg, copy->shadow, &root, &err);

	if (out_of_fds(r)) {
		umbra_fds_drop(all->fds, -1);
		umbra_streams_drop(all->streams, -1);
		close_some(all, INT64_MAX, 0);
		r = all->open(all->arg, copy->shadow, &root, &err);
	}
	if (r < 0) {
		if (!copy->complained)
			umbra_log_error("%s", err.text);
		copy->complained = true;
		return r == -ENOMEM || out_of_fds(r) ? r : -EIO;
	}
	if (fstat(root->fd, &st) < 0 || fstatfs(root->fd, &fs) < 0) {
		umbra_root_close(root);
		return -EIO;
	}
	copy->complained = false;
	copy->dev = st.st_dev;
	copy->subvolumes = fs.f_type == BTRFS_SUPER_MAGIC;
	copy->handles = root->handles && !all->paths;
	copy->root = root;
	list_add(copy);
	return 0;
}

int umbra_copy_enter(struct umbra_copy *copy, const struct umbra_root **out)
{
	bool opened = false;
	int r = 0;

	pthread_mutex_lock(&copy->lock);
	if (copy->dead) {
		r = -ESTALE;
	} else if (!copy->root) {
		r = open_root(copy);
		opened = r == 0;
	}
	if (r == 0) {
		copy->users++;
		*out = copy->root;
	}
	pthread_mutex_unlock(&copy->lock);
	if (opened)
		close_some(copy->all, INT64_MAX, copy->all->max);
	return r;
}

void umbra_copy_leave(struct umbra_copy *copy)
{
	pthread_mutex_lock(&copy->lock);
	copy->used_us = umbra_now_us();
	if (--copy->users == 0 && copy->dead)
		pthread_cond_broadcast(&copy->unused);
	pthread_mutex_unlock(&copy->lock);
}

void umbra_copy_kill(struct umbra_copy *copy)
{
	pthread_mutex_lock(&copy->lock);
	copy->dead = true;
	pthread_mutex_unlock(&copy->lock);
}

int umbra_copy_drain(struct umbra_copy *copy, int timeout_ms)
{
	struct timespec until;
	int r = 0;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += timeout_ms / 1000;
	until.tv_nsec += timeout_ms % 1000 * 1000000L;
	if (until.tv_nsec >= 1000000000L) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000L;
	}
	pthread_mutex_lock(&copy->lock);
	while (copy->users > 0 && r == 0)
		r = pthread_cond_timedwait(&copy->unused, &copy->lock, &until);
	r = copy->users > 0 ? -ETIMEDOUT : 0;
	if (r == 0 && copy->root) {
		pthread_mutex_lock(&copy->all->lock);
		list_remove(copy);
		pthread_mutex_unlock(&copy->all->lock);
		close_root(copy);
	}
	pthread_mutex_unlock(&copy->lock);
	return r;
}

bool umbra_copy_is_place(const struct umbra_copy *copy, const struct stat *st)
{
	return copy->subvolumes && st->st_ino == BTRFS_EMPTY_SUBVOL_DIR_INO && S_ISDIR(st->st_mode);
}

uint64_t umbra_copy_number(struct umbra_copy *copy, const struct stat *st, uint64_t parent,
			   const char *name)
{
	struct umbra_number_key key = {st->st_ino, 0};

	if (umbra_copy_is_place(copy, st)) {
		key.a = umbra_hash(parent, name, strlen(name));
		key.b = umbra_mix(parent) | 1;
	} else if (st->st_dev != copy->dev) {
		key.b = (uint64_t)st->st_dev << 1; /* overlayfs: files of several layers */
	} else if (st->st_ino > UMBRA_NUMBER_TOP && st->st_ino < UMBRA_NUMBER_MADE) {
		return st->st_ino;
	}
	return umbra_numbers_get(&copy->numbers, key);
}
