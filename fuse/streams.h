/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Listings that go on. The kernel reads a directory in many small answers and does not say when
 * it is done, so a few streams are kept where the last answer ended; without one the directory
 * is opened and searched for the place again, which is right but slow. Safe for several threads.
 */
#pragma once

#include <dirent.h>
#include <stddef.h>
#include <stdint.h>

struct umbra_streams;

struct umbra_stream {
	int fd;
	uint64_t id;      /* of the directory */
	int64_t at;       /* the offset where it goes on */
	size_t used, len; /* what of buf was listed already, and how much there is */
	_Alignas(struct dirent64) char buf[32768];
};

struct umbra_streams *umbra_streams_new(void);
struct umbra_streams *umbra_streams_free(struct umbra_streams *s);

/* The caller's alone from here on; NULL: none is kept that goes on there. */
struct umbra_stream *umbra_streams_take(struct umbra_streams *s, uint64_t id, int64_t at);
/* Takes it; what was kept longest may be closed for it. */
void umbra_streams_keep(struct umbra_streams *s, struct umbra_stream *stream);

/* Takes fd. NULL: out of memory, fd is closed. */
struct umbra_stream *umbra_stream_new(uint64_t id, int fd);
/* NULL-safe. */
struct umbra_stream *umbra_stream_free(struct umbra_stream *stream);

/* Closes those of the copy with this index, or, -1, all. */
void umbra_streams_drop(struct umbra_streams *s, int index);
