/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define BURST_MAX 64 /* writes between two syncs */

struct writer {
	struct pit_status *s;
	int *fds;
	bool *dirty; /* written since the last sync */
};

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int open_files(struct writer *w, const char *dir)
{
	int d = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;
	char name[32];
	uint32_t i;

	if (d < 0)
		return -errno;
	for (i = 0; r == 0 && i < w->s->files; i++) {
		snprintf(name, sizeof(name), "pit-%u", i);
		w->fds[i] = openat(d, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
		if (w->fds[i] < 0)
			r = -errno;
	}
	/* A file that is not there yet has no blocks; that it comes into being is not tested. */
	if (r == 0 && syncfs(d) < 0)
		r = -errno;
	close(d);
	return r;
}

static int write_one(struct writer *w, uint64_t number)
{
	uint64_t place = pit_place(w->s, number), file = place / w->s->blocks;
	struct pit_block b;

	pit_block_fill(&b, number, w->s->synced, place);
	w->s->issued = number; /* before: a copy may hold it from here on */
	w->dirty[file] = true;
	if (pwrite(w->fds[file], &b, sizeof(b), (off_t)(place % w->s->blocks * PIT_BLOCK)) !=
	    sizeof(b))
		return errno ? -errno : -EIO;
	return 0;
}

static int sync_all(struct writer *w)
{
	uint64_t upto = w->s->issued;
	uint32_t i;

	for (i = 0; i < w->s->files; i++) {
		if (w->dirty[i] && fdatasync(w->fds[i]) < 0)
			return -errno;
		w->dirty[i] = false;
	}
	w->s->synced = upto; /* after: it is on disk */
	return 0;
}

int pit_write(const char *dir, struct pit_status *s, double seconds, const volatile int *stop)
{
	struct writer w = {.s = s,
			   .fds = calloc(s->files, sizeof(int)),
			   .dirty = calloc(s->files, sizeof(bool))};
	uint64_t number = s->issued;
	double end = now() + seconds;
	unsigned int burst;
	uint32_t i;
	int r;

	for (i = 0; w.fds && i < s->files; i++)
		w.fds[i] = -1;
	r = w.fds && w.dirty ? open_files(&w, dir) : -ENOMEM;
	while (r == 0 && !*stop && now() < end) {
		for (burst = 1 + number % BURST_MAX; r == 0 && burst > 0; burst--)
			r = write_one(&w, ++number);
		if (r == 0)
			r = sync_all(&w);
	}
	for (i = 0; w.fds && i < s->files; i++)
		if (w.fds[i] >= 0)
			close(w.fds[i]);
	free(w.fds);
	free(w.dirty);
	return r;
}
