/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include <unistd.h>

#include "common/fault.h"
#include "snapshot/provider/dm/revert_parts.h"

/* Chunks that follow each other on the volume. */
struct run {
	size_t first, n; /* of v->chunks */
	uint64_t at;     /* bytes */
	size_t bytes;
};

/* A piece of a run's buffers that is to be written. */
struct piece {
	size_t at, bytes;
};

static struct run run_at(const struct umbra_dm_revert *v, size_t first)
{
	struct run run = {.first = first, .n = 1};
	const struct umbra_exception *e = &v->chunks.e[first];
	uint64_t left;

	while (run.n < UMBRA_DM_REVERT_RUN && first + run.n < v->chunks.n &&
	       e[run.n].old == e->old + run.n)
		run.n++;
	run.at = e->old * v->chunk_bytes;
	run.bytes = run.n * v->chunk_bytes;
	left = v->volume_bytes - run.at; /* store.h: no chunk lies behind the end */
	if (run.bytes > left)
		run.bytes = left;
	return run;
}

static int target(const struct umbra_dm_revert *v)
{
	return v->below >= 0 ? v->below : v->origin;
}

static int read_all(int fd, char *buf, size_t len, uint64_t at, const char *what,
		    struct umbra_error *err)
{
	ssize_t got;

	while (len > 0) {
		got = pread(fd, buf, len, (off_t)at);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return umbra_fail_errno(err, got < 0 ? errno : EIO, "cannot read %s", what);
		buf += got;
		at += (uint64_t)got;
		len -= (size_t)got;
	}
	return 0;
}

static int read_both(struct umbra_dm_revert *v, const struct run *run, struct umbra_error *err)
{
	int r = read_all(v->view, v->was, run->bytes, run->at, "the shadow copy", err);

	return r < 0 ? r : read_all(target(v), v->is, run->bytes, run->at, "the volume", err);
}

static int write_piece(struct umbra_dm_revert *v, const struct run *run, struct piece *piece,
		       struct umbra_error *err)
{
	const char *data = (const char *)v->was + piece->at;
	uint64_t at = run->at + piece->at;
	ssize_t put;
	int r;

	for (; piece->bytes > 0; piece->bytes -= (size_t)put) {
		put = pwrite(target(v), data, piece->bytes, (off_t)at);
		if (put < 0 && errno == EINTR) {
			put = 0;
			continue;
		}
		if (put <= 0)
			return umbra_fail_errno(err, put < 0 ? errno : EIO,
						"cannot write the volume");
		r = umbra_fault_fail("dm.revert-wrote", err);
		if (r < 0)
			return r;
		data += put;
		at += (uint64_t)put;
		v->base.bytes += (uint64_t)put;
	}
	return 0;
}

/* The next part of the chunk, from *at to end (in the buffers), that is not the area's and differs.
 */
static bool next_part(const struct umbra_dm_revert *v, const struct umbra_area *area,
		      const struct run *run, size_t *at, size_t end, size_t *len)
{
	bool owned;

	for (; *at < end; *at += *len) {
		*len = end - *at;
		owned = umbra_area_owns(area, run->at + *at, len);
		if (!owned && memcmp((char *)v->was + *at, (char *)v->is + *at, *len) != 0)
			return true;
	}
	return false;
}

static int write_run(struct umbra_dm_revert *v, const struct umbra_area *area,
		     const struct run *run, struct umbra_error *err)
{
	struct piece piece = {0};
	size_t chunk, end, at, len;
	int r = 0;

	for (chunk = 0; chunk < run->bytes; chunk = end) {
		end = chunk + v->chunk_bytes < run->bytes ? chunk + v->chunk_bytes : run->bytes;
		for (at = chunk; next_part(v, area, run, &at, end, &len); at += len) {
			if (piece.at + piece.bytes != at) {
				r = write_piece(v, run, &piece, err);
				piece.at = at;
			}
			if (r < 0)
				return r;
			piece.bytes += len;
		}
	}
	return write_piece(v, run, &piece, err);
}

int umbra_dm_revert_run(struct umbra_dm_revert *v, const struct umbra_area *area,
			struct umbra_error *err)
{
	struct run run = run_at(v, v->next);
	int r = read_both(v, &run, err);

	if (r == 0)
		r = write_run(v, area, &run, err);
	if (r == 0)
		v->next += run.n;
	return r;
}

static uint64_t count_run(const struct umbra_dm_revert *v, const struct umbra_area *area,
			  const struct run *run)
{
	size_t i, at, end, len;
	uint64_t n = 0;

	for (i = 0; i < run->n; i++) {
		at = i * v->chunk_bytes;
		end = at + v->chunk_bytes < run->bytes ? at + v->chunk_bytes : run->bytes;
		if (v->chunks.e[run->first + i].new == 0)
			n += next_part(v, area, run, &at, end, &len);
	}
	return n;
}

int umbra_dm_revert_count(struct umbra_dm_revert *v, const struct umbra_area *area, uint64_t *out,
			  struct umbra_error *err)
{
	size_t i;
	int r = 0;

	*out = 0;
	for (i = 0; r == 0 && i < v->chunks.n;) {
		struct run run = run_at(v, i);

		r = read_both(v, &run, err);
		if (r == 0)
			r = umbra_watch_tick(v->watch, NULL, err);
		if (r == 0)
			*out += count_run(v, area, &run);
		i += run.n;
	}
	return r;
}
