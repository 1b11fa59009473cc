/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Proof of a point in time. One writer fills files with blocks that say of themselves when they
 * were written; whoever reads a copy of the files later can tell whether it shows one instant.
 *
 * Every write has a number, 1, 2, 3, …; which block of which file a number goes to follows from
 * the number alone, so a checker knows what every place must hold. The writer shares two numbers
 * with everybody through a mapped file: how far writes were issued, and up to which one all are
 * synced (fdatasync() returned).
 *
 * A copy is of one instant when
 * - every block is whole, at its own place, and no newer than what was issued at the instant;
 * - nothing is missing that was synced before the instant;
 * - nothing is missing that was synced before the newest block in the copy was written. (Each
 *   block says how far that was. This is what catches files copied one after another.)
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define PIT_BLOCK 4096

struct pit_block {
	char magic[8];
	uint64_t number; /* which write this is */
	uint64_t synced; /* all writes up to this one were synced when it was issued */
	uint64_t place;  /* file * blocks + block */
	uint64_t sum;    /* of the whole block, with sum = 0 */
	uint8_t filling[PIT_BLOCK - 40];
};

/* The file that writer and checkers share. */
struct pit_status {
	char magic[8];
	uint32_t files, blocks; /* blocks of one file */
	_Atomic uint64_t issued;
	_Atomic uint64_t synced;
};

void pit_block_fill(struct pit_block *b, uint64_t number, uint64_t synced, uint64_t place);
/* NULL, or what is wrong with it. */
const char *pit_block_fault(const struct pit_block *b, uint64_t place);

/* Where write `number` goes. */
uint64_t pit_place(const struct pit_status *s, uint64_t number);

/* NULL and errno. pit_status_new() makes the file, or replaces what it says. */
struct pit_status *pit_status_new(const char *path, uint32_t files, uint32_t blocks);
struct pit_status *pit_status_open(const char *path);
struct pit_status *pit_status_close(struct pit_status *s);

/* Writes in dir until *stop or for so many seconds. 0 or -errno. */
int pit_write(const char *dir, struct pit_status *s, double seconds, const volatile int *stop);

/*
 * Checks the copy of dir at dir_fd: synced is what s->synced was before the copy was begun,
 * issued what s->issued was after the instant. How many faults there are, each printed with
 * report() (at most 10), or -errno when the copy cannot be read. *newest: number in the copy.
 */
long pit_check(int dir_fd, const struct pit_status *s, uint64_t synced, uint64_t issued,
	       void (*report)(const char *text), uint64_t *newest);
