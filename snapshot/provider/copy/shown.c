/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The file is not mapped: where a disk fails or the file is cut short, reading gives an error, and
 * a mapping the end of the process. Of each block its first inode and its sum are kept, so that an
 * entry costs one read, and damage done later is seen too.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "common/id.h"
#include "snapshot/provider/copy/shown_file.h"

#define BLOCK_ENTRIES 64

struct block {
	uint64_t first; /* inode */
	uint64_t sum;
};

struct umbra_shown {
	int fd;
	uint64_t n; /* entries */
	struct block *blocks;
	size_t n_blocks;
};

static bool header_is_sound(const struct umbra_shown_header *h, const char *id, uint64_t size)
{
	return memcmp(h->magic, UMBRA_SHOWN_MAGIC, sizeof(h->magic)) == 0 &&
	       h->byte_order == UMBRA_SHOWN_BYTE_ORDER && h->version == UMBRA_SHOWN_VERSION &&
	       h->sum == umbra_shown_header_sum(h) &&
	       strnlen(h->id, sizeof(h->id)) == UMBRA_ID_LEN && strcmp(h->id, id) == 0 &&
	       h->n <= size / sizeof(struct umbra_shown_entry) &&
	       size == sizeof(*h) + h->n * sizeof(struct umbra_shown_entry);
}

/* How many entries the block has, or -errno. */
static int read_block(const struct umbra_shown *s, size_t number, struct umbra_shown_entry *out)
{
	const uint64_t at = (uint64_t)number * BLOCK_ENTRIES;
	const size_t count = s->n - at < BLOCK_ENTRIES ? (size_t)(s->n - at) : BLOCK_ENTRIES;
	const off_t from = (off_t)(sizeof(struct umbra_shown_header) + at * sizeof(*out));
	ssize_t n;

	do
		n = pread(s->fd, out, count * sizeof(*out), from);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	return (size_t)n == count * sizeof(*out) ? (int)count : -EBADMSG;
}

static uint64_t block_sum(const struct umbra_shown_entry *entries, int n)
{
	return umbra_sum(0, entries, (size_t)n * sizeof(*entries));
}

/* Reads it through once. */
static int check_entries(struct umbra_shown *s, const struct umbra_shown_header *h)
{
	struct umbra_shown_entry entries[BLOCK_ENTRIES];
	uint64_t sum = 0, last = 0;
	size_t b;
	int n, i;

	for (b = 0; b < s->n_blocks; b++) {
		n = read_block(s, b, entries);
		if (n < 0)
			return n;
		for (i = 0; i < n; i++) {
			if ((b > 0 || i > 0) && entries[i].ino <= last)
				return -EBADMSG;
			last = entries[i].ino;
			sum = umbra_sum(sum, &entries[i], sizeof(entries[i]));
		}
		s->blocks[b] = (struct block){entries[0].ino, block_sum(entries, n)};
	}
	return sum == h->entries_sum ? 0 : -EBADMSG;
}

int umbra_shown_open(int dirfd, const char *id, struct umbra_shown **out)
{
	_cleanup_(umbra_cleanup_shown) struct umbra_shown *s = calloc(1, sizeof(*s));
	struct umbra_shown_header h;
	struct stat st;
	int r;

	if (!s)
		return -ENOMEM;
	s->fd = openat(dirfd, UMBRA_SHOWN_NAME, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (s->fd < 0 || fstat(s->fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || pread(s->fd, &h, sizeof(h), 0) != (ssize_t)sizeof(h) ||
	    !header_is_sound(&h, id, (uint64_t)st.st_size))
		return -EBADMSG;
	s->n = h.n;
	s->n_blocks = (size_t)((h.n + BLOCK_ENTRIES - 1) / BLOCK_ENTRIES);
	s->blocks = calloc(s->n_blocks + 1, sizeof(*s->blocks));
	r = s->blocks ? check_entries(s, &h) : -ENOMEM;
	if (r < 0)
		return r;
	*out = TAKE_PTR(s);
	return 0;
}

struct umbra_shown *umbra_shown_close(struct umbra_shown *s)
{
	if (s) {
		umbra_close(s->fd);
		free(s->blocks);
		free(s);
	}
	return NULL;
}

/* The only block that can have it, or n_blocks. */
static size_t block_of(const struct umbra_shown *s, uint64_t ino)
{
	size_t low = 0, high = s->n_blocks, mid;

	while (low < high) {
		mid = low + (high - low) / 2;
		if (s->blocks[mid].first <= ino)
			low = mid + 1;
		else
			high = mid;
	}
	return low > 0 ? low - 1 : s->n_blocks;
}

static int by_ino(const void *key, const void *entry)
{
	const uint64_t ino = *(const uint64_t *)key;
	const struct umbra_shown_entry *e = entry;

	return ino < e->ino ? -1 : ino > e->ino;
}

int umbra_shown_find(const struct umbra_shown *s, uint64_t ino, struct umbra_shown_entry *out)
{
	struct umbra_shown_entry entries[BLOCK_ENTRIES];
	const struct umbra_shown_entry *found;
	size_t b = block_of(s, ino);
	int n;

	if (b == s->n_blocks)
		return 0;
	n = read_block(s, b, entries);
	if (n < 0 || block_sum(entries, n) != s->blocks[b].sum)
		return -EIO;
	found = bsearch(&ino, entries, (size_t)n, sizeof(*entries), by_ino);
	if (!found)
		return 0;
	*out = *found;
	return 1;
}

int umbra_shown_fix(const struct umbra_shown *s, struct stat *st)
{
	struct umbra_shown_entry e;
	int r = umbra_shown_find(s, st->st_ino, &e);

	if (r < 0)
		return r;
	if (r == 0) {
		if (!S_ISDIR(st->st_mode))
			st->st_nlink = 1;
		return 0;
	}
	st->st_nlink = e.nlink;
	st->st_mode = e.mode;
	st->st_uid = e.uid;
	st->st_gid = e.gid;
	st->st_rdev = makedev(e.major, e.minor);
	return 0;
}
