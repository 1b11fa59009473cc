/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <err.h>
#include <stdlib.h>
#include <string.h>

#include "compare.h"

struct inode {
	dev_t dev;
	ino_t ino;
};

struct entry {
	struct inode from, to;
	char *path; /* NULL: free place */
};

/* Open addressing; grows at half full. */
struct identity {
	struct entry *entries;
	size_t size, used;
};

static struct inode inode_of(const struct stat *st)
{
	return (struct inode){st->st_dev, st->st_ino};
}

static bool same(struct inode a, struct inode b)
{
	return a.dev == b.dev && a.ino == b.ino;
}

static struct entry *table(size_t size)
{
	struct entry *entries = calloc(size, sizeof(*entries));

	if (!entries)
		err(2, "out of memory");
	return entries;
}

static struct entry *place(struct entry *entries, size_t size, struct inode from)
{
	size_t i = (from.ino ^ (from.dev << 20)) * 0x9e3779b97f4a7c15U % size;

	while (entries[i].path && !same(entries[i].from, from))
		i = (i + 1) % size;
	return &entries[i];
}

static void grow(struct identity *map)
{
	size_t size = map->size * 2, i;
	struct entry *entries = table(size);

	for (i = 0; i < map->size; i++)
		if (map->entries[i].path)
			*place(entries, size, map->entries[i].from) = map->entries[i];
	free(map->entries);
	map->entries = entries;
	map->size = size;
}

struct identity *identity_new(void)
{
	struct identity *map = calloc(1, sizeof(*map));

	if (!map)
		err(2, "out of memory");
	map->size = 1024;
	map->entries = table(map->size);
	return map;
}

struct identity *identity_free(struct identity *map)
{
	size_t i;

	if (!map)
		return NULL;
	for (i = 0; i < map->size; i++)
		free(map->entries[i].path);
	free(map->entries);
	free(map);
	return NULL;
}

const char *identity_check(struct identity *map, const struct stat *from, const struct stat *to,
			   const char *path)
{
	struct entry *e;

	if (map->used * 2 >= map->size)
		grow(map);
	e = place(map->entries, map->size, inode_of(from));
	if (e->path)
		return same(e->to, inode_of(to)) ? NULL : e->path;
	*e = (struct entry){inode_of(from), inode_of(to), strdup(path)};
	if (!e->path)
		err(2, "out of memory");
	map->used++;
	return NULL;
}
