/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Content that looks random, is not compressible and is the same in every run. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* The next number of a sequence (splitmix64); state starts with any seed. */
uint64_t fill_next(uint64_t *state);

/* Bytes of the endless stream `seed`, from offset on: the same bytes however it is cut. */
void fill_bytes(uint64_t seed, uint64_t offset, void *out, size_t len);

/* Writes len bytes of the stream at the same offset of fd. 0 or -errno. */
int fill_file(int fd, uint64_t seed, off_t offset, size_t len);
