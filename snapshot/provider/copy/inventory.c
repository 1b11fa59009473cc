/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/provider/copy/inventory.h"

#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "common/id.h"
#include "snapshot/provider/copy/sum.h"

#define VERSION   1
#define BLOCK_MAX (1ULL << 32) /* a directory of some 30 million names */

static const char blocks_magic[8] = "umbraINV", dirs_magic[8] = "umbraDIR";

struct header {
	char magic[8];
	uint32_t byte_order; /* 0x01020304 */
	uint32_t version;
	char id[40]; /* of the shadow copy */
	uint64_t dirs;
	uint64_t bytes; /* of the file */
	uint64_t sum;   /* of everything before */
};

struct slot {
	uint64_t offset;
	uint32_t n;
	uint32_t names_len;
	uint64_t sum; /* of the block, seeded with all that the slot says */
};

struct umbra_inventory_writer {
	int blocks, dirs;
	char id[UMBRA_ID_LEN + 1];
	atomic_uint_least32_t next;
	atomic_uint_least64_t end;
};

struct umbra_inventory {
	int blocks, dirs;
	uint64_t n_dirs;
	uint64_t bytes;
};

_Static_assert(sizeof(struct header) == 80, "on disk");
_Static_assert(sizeof(struct slot) == 24, "on disk");
_Static_assert(sizeof(struct umbra_inventory_record) == 80, "on disk");

static uint64_t header_sum(const struct header *h)
{
	return umbra_sum(0, h, offsetof(struct header, sum));
}

static uint64_t block_sum(uint32_t dir, const struct slot *s, const void *records,
			  const char *names)
{
	uint64_t h = umbra_sum(dir, s, offsetof(struct slot, sum));

	h = umbra_sum(h, records, s->n * sizeof(struct umbra_inventory_record));
	return umbra_sum(h, names, s->names_len);
}

static int write_at(int fd, const void *data, size_t len, uint64_t at)
{
	const char *p = data;
	ssize_t n;

	while (len > 0) {
		n = pwrite(fd, p, len, (off_t)at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		at += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

/* All of it, or -EBADMSG. */
static int read_at(int fd, void *data, size_t len, uint64_t at)
{
	char *p = data;
	ssize_t n;

	while (len > 0) {
		n = pread(fd, p, len, (off_t)at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 && errno != EINVAL ? -errno : -EBADMSG;
		p += n;
		at += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

int umbra_inventory_create(int dirfd, const char *id, struct umbra_inventory_writer **out)
{
	const int flags = O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW;
	_cleanup_(umbra_cleanup_inventory_writer) struct umbra_inventory_writer *w = NULL;

	w = calloc(1, sizeof(*w));
	if (!w)
		return -ENOMEM;
	w->dirs = -1;
	w->end = sizeof(struct header);
	memcpy(w->id, id, sizeof(w->id));
	w->blocks = openat(dirfd, UMBRA_INVENTORY_NAME, flags, 0600);
	if (w->blocks < 0)
		return -errno;
	w->dirs = openat(dirfd, UMBRA_INVENTORY_DIRS, flags, 0600);
	if (w->dirs < 0)
		return -errno;
	*out = TAKE_PTR(w);
	return 0;
}

struct umbra_inventory_writer *umbra_inventory_discard(struct umbra_inventory_writer *w)
{
	if (w) {
		umbra_close(w->blocks);
		umbra_close(w->dirs);
		free(w);
	}
	return NULL;
}

uint32_t umbra_inventory_number(struct umbra_inventory_writer *w)
{
	return atomic_fetch_add(&w->next, 1);
}

int umbra_inventory_write(struct umbra_inventory_writer *w, uint32_t dir,
			  const struct umbra_inventory_record *records, uint32_t n,
			  const char *names, uint32_t names_len)
{
	size_t len = n * sizeof(*records);
	struct slot slot = {.n = n, .names_len = names_len};
	int r;

	if (len + names_len > BLOCK_MAX) /* left out: all of it is copied anew next time */
		return 0;
	slot.offset = atomic_fetch_add(&w->end, len + names_len);
	slot.sum = block_sum(dir, &slot, records, names);
	r = write_at(w->blocks, records, len, slot.offset);
	if (r == 0)
		r = write_at(w->blocks, names, names_len, slot.offset + len);
	if (r == 0)
		r = write_at(w->dirs, &slot, sizeof(slot),
			     sizeof(struct header) + dir * (uint64_t)sizeof(slot));
	return r;
}

static int write_header(int fd, const char *magic, const char *id, uint64_t dirs, uint64_t bytes)
{
	struct header h = {
		.byte_order = 0x01020304, .version = VERSION, .dirs = dirs, .bytes = bytes};

	memcpy(h.magic, magic, sizeof(h.magic));
	memcpy(h.id, id, UMBRA_ID_LEN);
	h.sum = header_sum(&h);
	return write_at(fd, &h, sizeof(h), 0);
}

int umbra_inventory_complete(struct umbra_inventory_writer *w)
{
	uint64_t dirs = w->next, bytes = sizeof(struct header) + dirs * sizeof(struct slot);
	int r;

	/* The last directories may have vanished and have no slot. */
	if (ftruncate(w->dirs, (off_t)bytes) < 0)
		return -errno;
	r = write_header(w->dirs, dirs_magic, w->id, dirs, bytes);
	return r < 0 ? r : write_header(w->blocks, blocks_magic, w->id, dirs, w->end);
}

/* A file of ours, complete, of this copy. */
static int open_file(int dirfd, const char *name, const char *magic, const char *id, int *fd_out,
		     struct header *h)
{
	_cleanup_close_ int fd = -1;
	struct stat st;
	int r;

	fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EBADMSG;
	r = read_at(fd, h, sizeof(*h), 0);
	if (r < 0)
		return r;
	if (memcmp(h->magic, magic, sizeof(h->magic)) != 0 || h->byte_order != 0x01020304 ||
	    h->version != VERSION || h->sum != header_sum(h) || h->bytes != (uint64_t)st.st_size ||
	    strnlen(h->id, sizeof(h->id)) != UMBRA_ID_LEN || strcmp(h->id, id) != 0)
		return -EBADMSG;
	*fd_out = TAKE_FD(fd);
	return 0;
}

int umbra_inventory_open(int dirfd, const char *id, struct umbra_inventory **out)
{
	_cleanup_(umbra_cleanup_inventory) struct umbra_inventory *inv = calloc(1, sizeof(*inv));
	struct header blocks, dirs;
	int r;

	if (!inv)
		return -ENOMEM;
	inv->blocks = inv->dirs = -1;
	r = open_file(dirfd, UMBRA_INVENTORY_NAME, blocks_magic, id, &inv->blocks, &blocks);
	if (r == 0)
		r = open_file(dirfd, UMBRA_INVENTORY_DIRS, dirs_magic, id, &inv->dirs, &dirs);
	if (r < 0)
		return r;
	if (blocks.dirs != dirs.dirs)
		return -EBADMSG;
	inv->n_dirs = dirs.dirs;
	inv->bytes = blocks.bytes;
	*out = TAKE_PTR(inv);
	return 0;
}

struct umbra_inventory *umbra_inventory_close(struct umbra_inventory *inv)
{
	if (inv) {
		umbra_close(inv->blocks);
		umbra_close(inv->dirs);
		free(inv);
	}
	return NULL;
}

/* Names within bounds, terminated, sorted: readers rely on it. */
static bool block_is_sound(const struct umbra_inventory_block *b)
{
	const struct umbra_inventory_record *r;
	uint32_t i;

	for (i = 0; i < b->n; i++) {
		r = &b->records[i];
		if (r->name >= b->names_len || r->name_len >= b->names_len - r->name ||
		    b->names[r->name + r->name_len] != '\0' ||
		    strlen(b->names + r->name) != r->name_len)
			return false;
		if (i > 0 && strcmp(umbra_inventory_name(b, r - 1), b->names + r->name) >= 0)
			return false;
	}
	return true;
}

int umbra_inventory_read(const struct umbra_inventory *inv, uint32_t dir,
			 struct umbra_inventory_block *out)
{
	struct umbra_inventory_block b = {0};
	_cleanup_free_ char *space = NULL;
	struct slot slot;
	uint64_t len;
	int r;

	if (dir >= inv->n_dirs)
		return -ENOENT;
	r = read_at(inv->dirs, &slot, sizeof(slot), sizeof(struct header) + dir * sizeof(slot));
	if (r < 0)
		return r;
	if (slot.offset == 0)
		return -ENOENT;
	len = slot.n * (uint64_t)sizeof(*b.records) + slot.names_len;
	if (len > BLOCK_MAX || slot.offset > inv->bytes || len > inv->bytes - slot.offset)
		return -EBADMSG;
	space = malloc(len + 1);
	if (!space)
		return -ENOMEM;
	r = read_at(inv->blocks, space, len, slot.offset);
	if (r < 0)
		return r;
	b.records = (const void *)space;
	b.n = slot.n;
	b.names = space + slot.n * sizeof(*b.records);
	b.names_len = slot.names_len;
	if (block_sum(dir, &slot, b.records, b.names) != slot.sum || !block_is_sound(&b))
		return -EBADMSG;
	b.space = TAKE_PTR(space);
	*out = b;
	return 0;
}
