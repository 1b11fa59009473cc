/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a disk has on it when the power is cut, from what the target log-writes has recorded
 * (write_log.h):
 *
 *	umbra-vm-replay LOG
 *		lists the entries: "NUMBER KIND", or "NUMBER mark NAME". A KIND is write, fua,
 *		flush, discard.
 *	umbra-vm-replay LOG DEVICE FROM TO
 *		does entries FROM to TO - 1 again.
 *	umbra-vm-replay LOG DEVICE FROM TO SEED
 *		the same when no flush has come after them: all that are fua, and of each other
 *		one, by SEED, everything, nothing, or some of its blocks.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "write_log.h"

#define BLOCK 4096U       /* what is written whole or not at all: ext4 relies on it */
#define PIECE (64U << 10) /* a multiple */

static int failed(const char *what)
{
	fprintf(stderr, "umbra-vm-replay: %s: %s\n", what, errno ? strerror(errno) : "no log");
	return 1;
}

static int print(const struct write_log *log, uint64_t i, const struct write_log_entry *e)
{
	char name[BLOCK] = "";

	if (!(e->flags & WRITE_LOG_MARK)) {
		printf("%" PRIu64 " %s\n", i,
		       e->flags & WRITE_LOG_DISCARD ? "discard"
		       : e->flags & WRITE_LOG_FLUSH ? "flush"
		       : e->flags & WRITE_LOG_FUA   ? "fua"
						    : "write");
		return 0;
	}
	if (e->name_len >= sizeof(name) || write_log_data(log, e, 0, name, e->name_len) < 0)
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

static int again(const struct write_log *log, const struct write_log_entry *e, int out,
		 unsigned int blocks)
{
	static char block[PIECE];
	size_t n, piece = blocks == 8 ? PIECE : BLOCK;
	uint64_t done;

	for (done = 0; done < e->len; done += n) {
		n = e->len - done < piece ? e->len - done : piece;
		if (blocks < 8 && chance(8) >= blocks)
			continue;
		if (write_log_data(log, e, done, block, n) < 0)
			return failed(log->name);
		if (pwrite(out, block, n, (off_t)(e->at + done)) != (ssize_t)n)
			return failed("writing");
	}
	return 0;
}

static int replay(struct write_log *log, int out, uint64_t from, uint64_t to, bool cut)
{
	struct write_log_entry e;
	uint64_t i;
	bool sure;
	int r = 0;

	for (i = 0; r == 0 && i < to + cut && i < log->n_entries; i++) {
		if (write_log_next(log, &e) < 0)
			return failed(log->name);
		if (i < from || (e.flags & WRITE_LOG_MARK))
			continue;
		sure = !cut || (i < to && (e.flags & (WRITE_LOG_FUA | WRITE_LOG_FLUSH)));
		r = again(log, &e, out, sure ? 8 : luck());
	}
	return r;
}

static int list(struct write_log *log)
{
	struct write_log_entry e;
	uint64_t i;
	int r = 0;

	for (i = 0; r == 0 && i < log->n_entries; i++)
		r = write_log_next(log, &e) < 0 ? failed(log->name) : print(log, i, &e);
	return r;
}

int main(int argc, char **argv)
{
	struct write_log log;
	uint64_t to;
	int out, r;

	if (argc != 2 && argc != 5 && argc != 6)
		return 2;
	if (write_log_open(argv[1], &log) < 0)
		return failed(argv[1]);
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
