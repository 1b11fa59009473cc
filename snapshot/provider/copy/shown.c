/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/provider/copy/shown.h"

#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "common/id.h"
#include "snapshot/provider/copy/sum.h"

#define VERSION     1
#define RUN_ENTRIES 32768
#define OUT_ENTRIES 1024

static const char magic[8] = "umbraSHO";

struct header {
	char magic[8];
	uint32_t byte_order; /* 0x01020304 */
	uint32_t version;
	char id[40]; /* of the shadow copy */
	uint64_t n;
	uint64_t entries_sum;
	uint64_t sum; /* of everything before */
};

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

struct umbra_shown {
	void *map;
	size_t len;
	const struct umbra_shown_entry *entries;
	size_t n;
};

_Static_assert(sizeof(struct header) == 80, "on disk");
_Static_assert(sizeof(struct umbra_shown_entry) == 40, "on disk");

static uint64_t header_sum(const struct header *h)
{
	return umbra_sum(0, h, offsetof(struct header, sum));
}

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

struct run {
	const struct umbra_shown_entry *at, *end;
};

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

static int merge(struct run *heap, size_t n, struct output *out)
{
	size_t i;
	int r = 0;

	for (i = n / 2; i-- > 0;)
		sift(heap, n, i);
	while (n > 0 && r == 0) {
		r = put(out, heap[0].at++);
		if (heap[0].at == heap[0].end)
			heap[0] = heap[--n];
		if (n > 0)
			sift(heap, n, 0);
	}
	return r < 0 ? r : put_flush(out);
}

static int merge_runs(struct umbra_shown_writer *w, struct output *out)
{
	const size_t run_len = RUN_ENTRIES * sizeof(*w->run);
	_cleanup_free_ struct run *heap = calloc(w->n_runs + 1, sizeof(*heap));
	const struct umbra_shown_entry *map = NULL;
	size_t i, n = w->n_runs;
	int r;

	if (!heap)
		return -ENOMEM;
	if (n > 0) {
		map = mmap(NULL, n * run_len, PROT_READ, MAP_SHARED, w->runs_fd, 0);
		if (map == MAP_FAILED)
			return -errno;
	}
	for (i = 0; i < n; i++)
		heap[i] = (struct run){map + i * RUN_ENTRIES, map + (i + 1) * RUN_ENTRIES};
	if (w->n > 0)
		heap[n++] = (struct run){w->run, w->run + w->n};
	r = merge(heap, n, out);
	if (map)
		munmap((void *)(uintptr_t)map, w->n_runs * run_len);
	return r;
}

static int write_header(int fd, const char *id, const struct output *out)
{
	struct header h = {
		.byte_order = 0x01020304, .version = VERSION, .n = out->n, .entries_sum = out->sum};

	memcpy(h.magic, magic, sizeof(h.magic));
	memcpy(h.id, id, UMBRA_ID_LEN);
	h.sum = header_sum(&h);
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
	if (fd < 0 || lseek(fd, sizeof(struct header), SEEK_SET) < 0)
		return -errno;
	out->fd = fd;
	r = merge_runs(w, out);
	if (r == 0)
		r = write_header(fd, w->id, out);
	if (r == 0 && unlinkat(w->dirfd, UMBRA_SHOWN_RUNS, 0) < 0)
		r = -errno;
	return r;
}

static bool header_is_sound(const struct header *h, const char *id, uint64_t size)
{
	return memcmp(h->magic, magic, sizeof(h->magic)) == 0 && h->byte_order == 0x01020304 &&
	       h->version == VERSION && h->sum == header_sum(h) &&
	       strnlen(h->id, sizeof(h->id)) == UMBRA_ID_LEN && strcmp(h->id, id) == 0 &&
	       h->n <= size / sizeof(struct umbra_shown_entry) &&
	       size == sizeof(*h) + h->n * sizeof(struct umbra_shown_entry);
}

/* Reads it through once: a bad disk answers here with an error instead of with SIGBUS later. */
static int check_entries(int fd, const struct header *h)
{
	_cleanup_free_ struct umbra_shown_entry *buf = calloc(OUT_ENTRIES, sizeof(*buf));
	uint64_t left = h->n * sizeof(*buf), at = sizeof(*h), sum = 0, last = 0, i;
	bool first = true;
	ssize_t n;

	if (!buf)
		return -ENOMEM;
	for (; left > 0; left -= (uint64_t)n, at += (uint64_t)n) {
		n = pread(fd, buf, OUT_ENTRIES * sizeof(*buf), (off_t)at);
		if (n < (ssize_t)sizeof(*buf))
			return n < 0 ? -errno : -EBADMSG;
		n -= n % (ssize_t)sizeof(*buf);
		for (i = 0; i < (uint64_t)n / sizeof(*buf); i++) {
			if (!first && buf[i].ino <= last)
				return -EBADMSG;
			first = false;
			last = buf[i].ino;
			sum = umbra_sum(sum, &buf[i], sizeof(*buf));
		}
	}
	return sum == h->entries_sum ? 0 : -EBADMSG;
}

int umbra_shown_open(int dirfd, const char *id, struct umbra_shown **out)
{
	_cleanup_(umbra_cleanup_shown) struct umbra_shown *s = calloc(1, sizeof(*s));
	_cleanup_close_ int fd = -1;
	struct header h;
	struct stat st;
	int r;

	if (!s)
		return -ENOMEM;
	fd = openat(dirfd, UMBRA_SHOWN_NAME, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || pread(fd, &h, sizeof(h), 0) != (ssize_t)sizeof(h) ||
	    !header_is_sound(&h, id, (uint64_t)st.st_size))
		return -EBADMSG;
	r = check_entries(fd, &h);
	if (r < 0)
		return r;
	s->len = (size_t)st.st_size;
	s->map = mmap(NULL, s->len, PROT_READ, MAP_SHARED, fd, 0);
	if (s->map == MAP_FAILED) {
		s->map = NULL;
		return -errno;
	}
	s->entries = (const void *)((const char *)s->map + sizeof(h));
	s->n = h.n;
	*out = TAKE_PTR(s);
	return 0;
}

struct umbra_shown *umbra_shown_close(struct umbra_shown *s)
{
	if (s) {
		if (s->map)
			munmap(s->map, s->len);
		free(s);
	}
	return NULL;
}

const struct umbra_shown_entry *umbra_shown_find(const struct umbra_shown *s, uint64_t ino)
{
	size_t low = 0, high = s->n, mid;

	while (low < high) {
		mid = low + (high - low) / 2;
		if (s->entries[mid].ino == ino)
			return &s->entries[mid];
		if (s->entries[mid].ino < ino)
			low = mid + 1;
		else
			high = mid;
	}
	return NULL;
}

void umbra_shown_fix(const struct umbra_shown *s, struct stat *st)
{
	const struct umbra_shown_entry *e = umbra_shown_find(s, st->st_ino);

	if (!e) {
		if (!S_ISDIR(st->st_mode))
			st->st_nlink = 1;
		return;
	}
	st->st_nlink = e->nlink;
	st->st_mode = e->mode;
	st->st_uid = e->uid;
	st->st_gid = e->gid;
	st->st_rdev = makedev(e->major, e->minor);
}
