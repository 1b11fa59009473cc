/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "common/id.h"
#include "snapshot/provider/copy/shown_file.h"

#define RUN_ENTRIES 32768
#define RUN_BUFFER  256
#define OUT_ENTRIES 1024

/* Entries come in any order and may be many: sorted runs go to a file, which is merged. */
struct umbra_shown_writer {
	int dirfd;
	int runs_fd;
	char id[UMBRA_ID_LEN + 1];
	pthread_mutex_t lock;
	struct umbra_shown_entry *run; /* RUN_ENTRIES */
	size_t n;
	size_t n_runs; /* in the file, all full */
};

int umbra_shown_create(int dirfd, const char *id, struct umbra_shown_writer **out)
{
	_cleanup_(umbra_cleanup_shown_writer) struct umbra_shown_writer *w = calloc(1, sizeof(*w));

	if (!w)
		return -ENOMEM;
	pthread_mutex_init(&w->lock, NULL);
	w->dirfd = w->runs_fd = -1;
	w->run = calloc(RUN_ENTRIES, sizeof(*w->run));
	if (!w->run)
		return -ENOMEM;
	memcpy(w->id, id, sizeof(w->id));
	w->dirfd = fcntl(dirfd, F_DUPFD_CLOEXEC, 0);
	if (w->dirfd < 0)
		return -errno;
	w->runs_fd = openat(dirfd, UMBRA_SHOWN_RUNS,
			    O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (w->runs_fd < 0)
		return -errno;
	*out = TAKE_PTR(w);
	return 0;
}

struct umbra_shown_writer *umbra_shown_discard(struct umbra_shown_writer *w)
{
	if (w) {
		umbra_close(w->dirfd);
		umbra_close(w->runs_fd);
		pthread_mutex_destroy(&w->lock);
		free(w->run);
		free(w);
	}
	return NULL;
}

static int by_ino(const void *a, const void *b)
{
	const struct umbra_shown_entry *x = a, *y = b;

	return x->ino < y->ino ? -1 : x->ino > y->ino;
}

static int flush_run(struct umbra_shown_writer *w)
{
	int r;

	qsort(w->run, w->n, sizeof(*w->run), by_ino);
	r = umbra_write_all(w->runs_fd, w->run, w->n * sizeof(*w->run));
	if (r == 0) {
		w->n_runs++;
		w->n = 0;
	}
	return r;
}

int umbra_shown_add(struct umbra_shown_writer *w, const struct umbra_shown_entry *entry)
{
	int r = 0;

	pthread_mutex_lock(&w->lock);
	if (w->n == RUN_ENTRIES)
		r = flush_run(w);
	if (r == 0)
		w->run[w->n++] = *entry;
	pthread_mutex_unlock(&w->lock);
	return r;
}

/* A sorted run while it is merged: what was read of it, and what is still in the file. */
struct run {
	const struct umbra_shown_entry *at, *end;
	struct umbra_shown_entry *buf; /* RUN_BUFFER; NULL: all of it is in memory already */
	off_t next, last;
};

static void free_runs(struct run *heap, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		free(heap[i].buf);
	free(heap);
}

/* 1: there is something; 0: the end. Nobody else writes the file: that it is short is damage. */
static int refill(int fd, struct run *run)
{
	size_t want = RUN_BUFFER * sizeof(*run->buf), have = 0;
	ssize_t n;

	if (run->next == run->last)
		return 0;
	if (run->last - run->next < (off_t)want)
		want = (size_t)(run->last - run->next);
	while (have < want) {
		n = pread(fd, (char *)run->buf + have, want - have, run->next + (off_t)have);
		if (n <= 0 && (n == 0 || errno != EINTR))
			return n == 0 ? -EIO : -errno;
		have += n > 0 ? (size_t)n : 0;
	}
	run->next += (off_t)want;
	run->at = run->buf;
	run->end = run->buf + want / sizeof(*run->buf);
	return 1;
}

/* A heap of the runs, the one with the smallest next entry first. */
static void sift(struct run *heap, size_t n, size_t i)
{
	struct run moved = heap[i];
	size_t child;

	while ((child = 2 * i + 1) < n) {
		if (child + 1 < n && by_ino(heap[child + 1].at, heap[child].at) < 0)
			child++;
		if (by_ino(moved.at, heap[child].at) <= 0)
			break;
		heap[i] = heap[child];
		i = child;
	}
	heap[i] = moved;
}

struct output {
	int fd;
	uint64_t sum, n;
	struct umbra_shown_entry buf[OUT_ENTRIES];
	size_t used;
	uint64_t last;
};

static int put_flush(struct output *out)
{
	size_t i;
	int r = umbra_write_all(out->fd, out->buf, out->used * sizeof(*out->buf));

	for (i = 0; i < out->used; i++)
		out->sum = umbra_sum(out->sum, &out->buf[i], sizeof(*out->buf));
	out->n += out->used;
	out->used = 0;
	return r;
}

static int put(struct output *out, const struct umbra_shown_entry *entry)
{
	int r = out->used == OUT_ENTRIES ? put_flush(out) : 0;

	if (r < 0 || (out->n + out->used > 0 && out->last == entry->ino))
		return r;
	out->last = entry->ino;
	out->buf[out->used++] = *entry;
	return 0;
}

static int merge(int fd, struct run *heap, size_t n, struct output *out)
{
	struct run done;
	size_t i;
	int r = 0;

	for (i = n / 2; i-- > 0;)
		sift(heap, n, i);
	while (n > 0 && r == 0) {
		r = put(out, heap[0].at++);
		if (r == 0 && heap[0].at == heap[0].end) {
			r = refill(fd, &heap[0]);
			if (r == 0) { /* behind the heap, for free_runs() */
				done = heap[0];
				heap[0] = heap[--n];
				heap[n] = done;
			}
			r = r < 0 ? r : 0;
		}
		if (r == 0 && n > 0)
			sift(heap, n, 0);
	}
	return r < 0 ? r : put_flush(out);
}

static int open_run(int fd, size_t number, struct run *run)
{
	const off_t len = RUN_ENTRIES * (off_t)sizeof(*run->buf);
	int r;

	run->next = (off_t)number * len;
	run->last = run->next + len;
	run->buf = calloc(RUN_BUFFER, sizeof(*run->buf));
	r = run->buf ? refill(fd, run) : -ENOMEM;
	return r < 0 ? r : 0;
}

static int merge_runs(struct umbra_shown_writer *w, struct output *out)
{
	struct run *heap = calloc(w->n_runs + 1, sizeof(*heap));
	size_t n;
	int r = 0;

	if (!heap)
		return -ENOMEM;
	for (n = 0; n < w->n_runs && r == 0; n++)
		r = open_run(w->runs_fd, n, &heap[n]);
	if (r == 0 && w->n > 0)
		heap[n++] = (struct run){.at = w->run, .end = w->run + w->n};
	if (r == 0)
		r = merge(w->runs_fd, heap, n, out);
	free_runs(heap, w->n_runs + 1);
	return r;
}

static int write_header(int fd, const char *id, const struct output *out)
{
	struct umbra_shown_header h = {.byte_order = UMBRA_SHOWN_BYTE_ORDER,
				       .version = UMBRA_SHOWN_VERSION,
				       .n = out->n,
				       .entries_sum = out->sum};

	memcpy(h.magic, UMBRA_SHOWN_MAGIC, sizeof(h.magic));
	memcpy(h.id, id, UMBRA_ID_LEN);
	h.sum = umbra_shown_header_sum(&h);
	if (lseek(fd, 0, SEEK_SET) < 0)
		return -errno;
	return umbra_write_all(fd, &h, sizeof(h));
}

int umbra_shown_complete(struct umbra_shown_writer *w)
{
	_cleanup_free_ struct output *out = calloc(1, sizeof(*out));
	_cleanup_close_ int fd = -1;
	int r;

	if (!out)
		return -ENOMEM;
	qsort(w->run, w->n, sizeof(*w->run), by_ino);
	fd = openat(w->dirfd, UMBRA_SHOWN_NAME,
		    O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 || lseek(fd, sizeof(struct umbra_shown_header), SEEK_SET) < 0)
		return -errno;
	out->fd = fd;
	r = merge_runs(w, out);
	if (r == 0)
		r = write_header(fd, w->id, out);
	if (r == 0 && unlinkat(w->dirfd, UMBRA_SHOWN_RUNS, 0) < 0)
		r = -errno;
	return r;
}
