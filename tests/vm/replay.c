/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a disk has on it when the power is cut, from what the target log-writes has recorded (its
 * format: the kernel's Documentation/admin-guide/device-mapper/log-writes.rst):
 *
 *	umbra-vm-replay LOG
 *		lists the entries: "NUMBER KIND", or "NUMBER mark NAME". A KIND is write, fua,
 *flush, discard: a flush, even one with data, comes after what it makes durable. umbra-vm-replay
 *LOG DEVICE FROM TO does entries FROM to TO - 1 again. umbra-vm-replay LOG DEVICE FROM TO SEED the
 *same when no flush has come after them: all that are fua, and of each other one, by SEED,
 *everything, nothing, or some of its blocks.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAGIC   0x6a736677736872ULL
#define VERSION 1
#define FLUSH   1U
#define FUA     2U
#define DISCARD 4U
#define MARK    8U
#define BLOCK   4096U       /* what is written whole or not at all: ext4 relies on it */
#define PIECE   (64U << 10) /* a multiple */

struct super {
	uint64_t magic, version, n_entries;
	uint32_t sector;
} __attribute__((packed));

/* One sector, and behind it, but for a discard, the data. Of a mark, they are in that sector. */
struct entry {
	uint64_t sector, n_sectors, flags, data_len;
} __attribute__((packed));

struct log {
	int fd;
	const char *name;
	uint64_t n_entries, sector;
	uint64_t at; /* byte of the next one */
};

static int failed(const char *what)
{
	fprintf(stderr, "umbra-vm-replay: %s: %s\n", what, errno ? strerror(errno) : "no log");
	return 1;
}

static int log_open(const char *name, struct log *log)
{
	struct super super;

	*log = (struct log){.name = name, .fd = open(name, O_RDONLY | O_CLOEXEC)};
	errno = 0;
	if (log->fd < 0 || pread(log->fd, &super, sizeof(super), 0) != (ssize_t)sizeof(super) ||
	    le64toh(super.magic) != MAGIC || le64toh(super.version) != VERSION)
		return failed(name);
	log->n_entries = le64toh(super.n_entries);
	log->sector = log->at = le32toh(super.sector);
	return log->sector < 512 || log->sector > BLOCK ? failed(name) : 0;
}

/* The next one; *data is where in the log what it wrote begins. */
static int log_next(struct log *log, struct entry *e, uint64_t *data)
{
	struct entry raw;

	errno = 0;
	if (pread(log->fd, &raw, sizeof(raw), (off_t)log->at) != (ssize_t)sizeof(raw))
		return failed(log->name);
	*e = (struct entry){le64toh(raw.sector), le64toh(raw.n_sectors), le64toh(raw.flags),
			    le64toh(raw.data_len)};
	*data = log->at + (e->flags & MARK ? sizeof(raw) : log->sector);
	log->at += log->sector;
	if (!(e->flags & DISCARD))
		log->at += e->n_sectors * log->sector;
	return 0;
}

static int print(const struct log *log, uint64_t i, const struct entry *e, uint64_t data)
{
	char name[BLOCK] = "";

	if (!(e->flags & MARK)) {
		printf("%" PRIu64 " %s\n", i,
		       e->flags & DISCARD ? "discard"
		       : e->flags & FLUSH ? "flush"
		       : e->flags & FUA   ? "fua"
					  : "write");
		return 0;
	}
	if (e->data_len >= log->sector - sizeof(*e) ||
	    pread(log->fd, name, e->data_len, (off_t)data) != (ssize_t)e->data_len)
		return failed(log->name);
	printf("%" PRIu64 " mark %s\n", i, name);
	return 0;
}

/* --- doing it again --- */

static uint64_t state; /* of what chance decides by; xorshift */

static uint64_t chance(uint64_t of)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state % of;
}

/* How many of 8 blocks of the next entry get to the disk: none, all, or about half. */
static unsigned int luck(void)
{
	static const unsigned int all_nothing_some[] = {8, 8, 0, 0, 4};

	return all_nothing_some[chance(sizeof(all_nothing_some) / sizeof(*all_nothing_some))];
}

static int copy(const struct log *log, uint64_t from, int out, uint64_t to, size_t len, bool zero)
{
	static char block[PIECE];

	memset(block, 0, len);
	if (!zero && pread(log->fd, block, len, (off_t)from) != (ssize_t)len)
		return failed(log->name);
	return pwrite(out, block, len, (off_t)to) != (ssize_t)len ? failed("writing") : 0;
}

static int again(const struct log *log, const struct entry *e, uint64_t data, int out,
		 unsigned int blocks)
{
	uint64_t len = e->n_sectors * log->sector, at = e->sector * log->sector, done;
	size_t n, piece = blocks == 8 ? PIECE : BLOCK;
	int r = 0;

	for (done = 0; r == 0 && done < len; done += n) {
		n = len - done < piece ? len - done : piece;
		if (blocks == 8 || chance(8) < blocks)
			r = copy(log, data + done, out, at + done, n, e->flags & DISCARD);
	}
	return r;
}

static int replay(struct log *log, int out, uint64_t from, uint64_t to, bool cut)
{
	struct entry e;
	uint64_t i, data;
	bool sure;
	int r = 0;

	for (i = 0; r == 0 && i < to + cut && i < log->n_entries; i++) {
		r = log_next(log, &e, &data);
		if (r != 0 || i < from || (e.flags & MARK))
			continue;
		sure = !cut || (i < to && (e.flags & (FUA | FLUSH)));
		r = again(log, &e, data, out, sure ? 8 : luck());
	}
	return r;
}

static int list(struct log *log)
{
	struct entry e;
	uint64_t i, data;
	int r = 0;

	for (i = 0; r == 0 && i < log->n_entries; i++) {
		r = log_next(log, &e, &data);
		if (r == 0)
			r = print(log, i, &e, data);
	}
	return r;
}

int main(int argc, char **argv)
{
	struct log log;
	uint64_t to;
	int out, r;

	if (argc != 2 && argc != 5 && argc != 6)
		return 2;
	if (log_open(argv[1], &log) != 0)
		return 1;
	if (argc == 2)
		return list(&log);
	out = open(argv[2], O_WRONLY | O_CLOEXEC);
	if (out < 0)
		return failed(argv[2]);
	to = strtoull(argv[4], NULL, 10);
	state = ((argc == 6 ? strtoull(argv[5], NULL, 10) : 0) + 1) * 0x9e3779b97f4a7c15ULL;
	r = replay(&log, out, strtoull(argv[3], NULL, 10), to, argc == 6);
	return r == 0 && fsync(out) < 0 ? failed(argv[2]) : r;
}
