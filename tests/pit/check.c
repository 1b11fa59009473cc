/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define REPORTS_MAX 10

struct check {
	const struct pit_status *s;
	uint64_t places;
	uint64_t *found; /* number of the block at each place; 0: none */
	uint64_t newest;
	uint64_t newest_synced; /* the most that any block knows to be synced */
	long faults;
	void (*report)(const char *text);
};

__attribute__((format(printf, 2, 3))) static void fault(struct check *c, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	if (c->faults++ >= REPORTS_MAX)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	c->report(text);
}

static int is_hole(const struct pit_block *b)
{
	static const struct pit_block hole;

	return memcmp(b, &hole, sizeof(hole)) == 0;
}

static void look_at(struct check *c, const struct pit_block *b, uint64_t place)
{
	const char *wrong;

	if (is_hole(b))
		return;
	wrong = pit_block_fault(b, place);
	if (wrong) {
		fault(c, "block %llu %s", (unsigned long long)place, wrong);
		return;
	}
	c->found[place] = b->number;
	if (b->number > c->newest)
		c->newest = b->number;
	if (b->synced > c->newest_synced)
		c->newest_synced = b->synced;
}

static int read_file(struct check *c, int dir_fd, uint32_t file)
{
	struct pit_block b;
	char name[32];
	uint32_t i;
	ssize_t n = 0;
	int fd;

	snprintf(name, sizeof(name), "pit-%u", file);
	fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return -errno;
	for (i = 0; i < c->s->blocks; i++) {
		n = pread(fd, &b, sizeof(b), (off_t)i * PIT_BLOCK);
		if (n <= 0)
			break;
		if (n == sizeof(b))
			look_at(c, &b, (uint64_t)file * c->s->blocks + i);
		else
			fault(c, "'%s' ends inside block %u", name, i);
	}
	close(fd);
	return n < 0 ? -errno : 0;
}

/* Writes the last number up to `synced` that goes to each place: what must be there at least. */
static uint64_t *required(const struct check *c, uint64_t synced)
{
	uint64_t *need = calloc(c->places, sizeof(*need)), n;

	for (n = 1; need && n <= synced; n++)
		need[pit_place(c->s, n)] = n;
	return need;
}

static int compare(struct check *c, uint64_t synced, uint64_t issued)
{
	uint64_t upto = synced > c->newest_synced ? synced : c->newest_synced, i;
	uint64_t *need = required(c, upto);

	if (!need)
		return -ENOMEM;
	for (i = 0; i < c->places; i++) {
		if (c->found[i] > issued)
			fault(c, "block %llu was written after the instant: %llu, not beyond %llu",
			      (unsigned long long)i, (unsigned long long)c->found[i],
			      (unsigned long long)issued);
		if (c->found[i] < need[i])
			fault(c, "block %llu misses what was synced: has %llu, needs %llu",
			      (unsigned long long)i, (unsigned long long)c->found[i],
			      (unsigned long long)need[i]);
	}
	free(need);
	return 0;
}

long pit_check(int dir_fd, const struct pit_status *s, uint64_t synced, uint64_t issued,
	       void (*report)(const char *text), uint64_t *newest)
{
	struct check c = {.s = s, .places = (uint64_t)s->files * s->blocks, .report = report};
	uint32_t i;
	int r = 0;

	c.found = calloc(c.places, sizeof(*c.found));
	if (!c.found)
		return -ENOMEM;
	for (i = 0; r == 0 && i < s->files; i++)
		r = read_file(&c, dir_fd, i);
	if (r == 0)
		r = compare(&c, synced, issued);
	free(c.found);
	if (r < 0)
		return r;
	*newest = c.newest;
	return c.faults;
}
