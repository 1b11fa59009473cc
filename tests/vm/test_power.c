/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The power fails while the diff area is on a disk with a cache of its own: of what was written to
 * it since the last flush any part may be there, in any order. All that provider dm and the kernel
 * do to the area is recorded (target log-writes); then it is made as it may have been at one moment
 * after the other, and activated: every copy is exact, and those that nobody deleted are there.
 *
 * tests/vm/powercut.bats has volume, area and all else on one disk: there, a flush of anybody's is
 * one of the area, too. Here nothing changes on the volume while it is recorded (it is written with
 * what it has), so that it fits to all moments.
 *
 * UMBRA_SOAK: all moments.
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "snapshot/provider/dm/pool/pool_disk.h"
#include "snapshot/provider/dm/pool/store.h"
#include "snapshot/provider/dm/volume/record.h"
#include "snapshot/provider/dm/volume/view_device.h"
#include "volume_rig.h"
#include "write_log.h"

#define AREA_MIB      32U
#define AREA_BYTES    ((size_t)AREA_MIB << 20)
#define LOG_MIB       512U
#define SEGMENT_BYTES ((size_t)256 << 10)
#define SECTOR        512U
#define HOT           (40 * VOLUME_SECTORS_IN_CHUNK) /* sectors that are written between steps */
#define COLD          200                            /* a chunk that is not among them */

static struct volume_rig v;
static struct umbra_error err;

static void end(void)
{
	volume_end(&v);
	dm_lab_end();
}

TestSuite(power, .init = dm_lab_begin, .fini = end, .timeout = 1200);

/* --- the area's disk --- */

static const char *area_file;
static dev_t log_disk;
static bool recording;

static void write_disk(const unsigned char *image)
{
	FILE *f = fopen(area_file, "r+e");

	cr_assert(f && fwrite(image, AREA_BYTES, 1, f) == 1);
	fclose(f);
}

/* What a disk has that was another area: each segment could be a store. */
static void fill_disk(void)
{
	const size_t bytes = (size_t)UMBRA_DM_CHUNK_SECTORS * UMBRA_DM_SECTOR;
	unsigned char *image = malloc(AREA_BYTES);
	unsigned char *p;
	uint64_t i;

	memset(image, 0x55, AREA_BYTES);
	memset(image, 0, UMBRA_POOL_DATA_AT);
	for (p = image + UMBRA_POOL_DATA_AT; p < image + AREA_BYTES; p += SEGMENT_BYTES) {
		umbra_dm_header(UMBRA_DM_CHUNK_SECTORS, p);
		memset(p + bytes, 0, bytes);
		for (i = 0; i < SEGMENT_BYTES / bytes - 2; i++)
			umbra_dm_put_exception(p + bytes, i, COLD + i, 2 + i);
	}
	write_disk(image);
	free(image);
}

static void read_disk(unsigned char *image)
{
	FILE *f = fopen(area_file, "re");

	cr_assert(f && fread(image, AREA_BYTES, 1, f) == 1);
	fclose(f);
}

static void bring_area(const struct volume_rig *rig)
{
	const unsigned int sectors = AREA_MIB * 2048;

	if (!area_file) {
		area_file = lab_path("area");
		fill_disk();
	}
	if (recording)
		dm_lab_create("lab-area", "0 %u log-writes %u:%u %u:%u", sectors,
			      major(rig->area_disk), minor(rig->area_disk), major(log_disk),
			      minor(log_disk));
	else
		dm_lab_create("lab-area", "0 %u linear %u:%u 0", sectors, major(rig->area_disk),
			      minor(rig->area_disk));
	lab_run("ln -sfn /dev/mapper/lab-area area.dev");
}

/* --- what is recorded --- */

struct past {
	struct umbra_id id;
	uint32_t *tags;
	bool stays; /* it was there before, and nobody deletes it */
};

static struct past pasts[32];
static size_t n_pasts;

static void note(const struct volume_copy *copy, bool stays)
{
	struct past *p = &pasts[n_pasts++];

	cr_assert_leq(n_pasts, UMBRA_ARRAY_SIZE(pasts));
	p->id = copy->shadow->id;
	p->stays = stays;
	p->tags = malloc(v.sectors * sizeof(*p->tags));
	memcpy(p->tags, copy->tags, v.sectors * sizeof(*p->tags));
}

static void create(void)
{
	volume_begin_set(&v);
	cr_assert_eq(v.provider->prepare(&v.m, &err), 0, "%s", err.text);
	volume_instant(&v);
	volume_finish(&v);
	note(&v.copies[v.n - 1], false);
	cr_assert(volume_rewrite(&v, HOT));
}

/* Whoever makes a copy dies after its instant; who makes the next one undoes that first. */
static void create_and_die(void)
{
	pid_t pid = lab_fork();
	int status;

	if (pid == 0) {
		if (volume_prepare(&v) == 0)
			volume_instant(&v);
		_exit(0);
	}
	cr_assert(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
}

static void drop(size_t i)
{
	volume_delete(&v, i);
	volume_look_after(&v);
	cr_assert(volume_rewrite(&v, HOT));
}

/* Segments that have been other copies', and something to compact. */
static void have_a_past(void)
{
	unsigned int i;

	volume_seed(7);
	volume_begin_on(&v, 4, AREA_MIB, bring_area);
	for (i = 0; i < 12; i++) {
		volume_create(&v);
		volume_write(&v, 30);
		volume_rewrite_model(&v, HOT);
		cr_assert(volume_rewrite(&v, HOT));
		if (i % 2)
			volume_delete(&v, volume_random((unsigned int)v.n - 1));
	}
	volume_look_after(&v);
	for (i = 0; i < v.n; i++)
		note(&v.copies[i], i != 0 && i != 2);
}

static void record(void)
{
	recording = true;
	log_disk = dm_lab_disk("writes", LOG_MIB);
	volume_restart(&v);
	create();
	create_and_die();
	create();
	drop(2);
	volume_compact(&v);
	create();
	cr_assert_eq(volume_prepare(&v), 0);
	volume_abort(&v);
	drop(v.n - 1); /* the newest */
	drop(0);
	volume_compact(&v);
	cr_assert(volume_rewrite(&v, 2 * HOT));
	create();
	volume_off(&v);
	recording = false;
	while (v.n > 0)
		volume_forget(&v, v.n - 1); /* pasts has them */
}

/* --- a moment --- */

enum how {
	NOTHING, /* of what was written since the last flush is there */
	LAST,    /* what was written last, and nothing before it */
	HALVES,  /* every other sector of all of it */
	HOW,
};

static const char *const how_name[HOW] = {"nothing", "the last", "halves"};

static void put(unsigned char *image, const struct write_log *log, const struct write_log_entry *e,
		bool half)
{
	const uint64_t step = half ? SECTOR : e->len;
	uint64_t done;

	cr_assert(e->at <= AREA_BYTES && e->len <= AREA_BYTES - e->at);
	for (done = 0; done < e->len; done += half ? 2 * step : step)
		cr_assert_eq(write_log_data(log, e, done, image + e->at + done, step), 0);
}

/* Is what it has right? true: it is there. */
static bool is_exact(struct umbra_protected *p, const struct past *past, const char *when)
{
	const uint32_t i = umbra_pool_find(p->pool, &past->id);
	struct volume_copy copy = {.tags = past->tags};
	_cleanup_json_ json_t *record = NULL;
	dev_t view;

	if (i == p->pool->n_copies || p->pool->copies[i].state != UMBRA_POOL_KEPT)
		return false;
	cr_assert_eq(umbra_dm_record_read(p, &p->pool->copies[i], &record, &err), 0, "%s: %s", when,
		     err.text);
	cr_assert_str_eq(umbra_doc_string(json_object_get(record, "shadow"), "shadow"), past->id.s,
			 "%s", when);
	cr_assert_eq(umbra_view_device_make(p, &past->id, &view, &err), 0, "%s: %s", when,
		     err.text);
	copy.view = umbra_dm_open(view, O_RDONLY | O_DIRECT, &err);
	cr_assert_geq(copy.view, 0, "%s: %s", when, err.text);
	cr_assert(volume_view_same(&v, &copy, v.buffer), "%s: copy %zu is wrong", when,
		  (size_t)(past - pasts));
	umbra_close(copy.view);
	return true;
}

/* Or the next one that is half written leaves nothing but the older. */
static void check_superblocks(const char *when)
{
	static unsigned char both[UMBRA_POOL_RECORDS_AT];
	FILE *f = fopen(area_file, "re");
	size_t len;

	cr_assert(f && fread(both, sizeof(both), 1, f) == 1);
	fclose(f);
	len = umbra_pool_encoded_length(both + UMBRA_POOL_SLOT_A);
	cr_assert(len > 0 && memcmp(both + UMBRA_POOL_SLOT_A, both + UMBRA_POOL_SLOT_B, len) == 0,
		  "%s: the superblocks differ", when);
}

static void look(const unsigned char *image, const char *when)
{
	struct umbra_protected *p;
	size_t i;

	write_disk(image);
	/* It has seen nothing of the area that is not there at any moment. */
	lab_run("rm -rf state/* && cp -a state.then/. state");
	fprintf(stderr, "# %s\n", when);
	volume_on(&v);
	p = volume_protected(&v);
	for (i = 0; i < n_pasts; i++)
		cr_assert(is_exact(p, &pasts[i], when) || !pasts[i].stays,
			  "%s: copy %zu is not there", when, i);
	umbra_protected_close(p);
	volume_off(&v);
	check_superblocks(when);
}

/* --- moments --- */

struct moments {
	struct write_log log;
	struct write_log_entry pending[4096]; /* since the last flush */
	size_t n;
	unsigned char *durable, *image;
	uint64_t at, looks;
	uint64_t superblock; /* when one was written last */
};

static void cut(struct moments *m, enum how how)
{
	const size_t last = m->n - 1;
	char when[80];
	size_t i;

	memcpy(m->image, m->durable, AREA_BYTES);
	for (i = how == LAST ? last : 0; how != NOTHING && i <= last; i++)
		put(m->image, &m->log, &m->pending[i], how == HALVES);
	snprintf(when, sizeof(when), "entry %llu, %s", (unsigned long long)m->at, how_name[how]);
	look(m->image, when);
	m->looks++;
}

/* What matters most: a superblock without what was to be there before it, two that are half
 * written, and the first that is written where a superblock allows it. */
static void choose(struct moments *m)
{
	const struct write_log_entry *e = &m->pending[m->n - 1];
	const bool all = getenv("UMBRA_SOAK") != NULL;
	enum how how;

	if (e->at == UMBRA_POOL_SLOT_A || e->at == UMBRA_POOL_SLOT_B)
		m->superblock = m->at;
	for (how = NOTHING; how < HOW; how++)
		if (all || (how == LAST && e->at == UMBRA_POOL_SLOT_A) ||
		    (how == HALVES && e->at == UMBRA_POOL_SLOT_B) ||
		    (how == LAST && e->at >= UMBRA_POOL_DATA_AT &&
		     m->at - m->superblock < 3 + volume_random(3)))
			cut(m, how);
}

static void flushed(struct moments *m)
{
	size_t i;

	for (i = 0; i < m->n; i++)
		put(m->durable, &m->log, &m->pending[i], false);
	m->n = 0;
}

static void next(struct moments *m)
{
	struct write_log_entry e;

	cr_assert_eq(write_log_next(&m->log, &e), 0);
	if (e.flags & WRITE_LOG_FLUSH)
		flushed(m);
	if ((e.flags & WRITE_LOG_MARK) || e.len == 0)
		return;
	if (e.flags & (WRITE_LOG_FUA | WRITE_LOG_FLUSH)) {
		put(m->durable, &m->log, &e, false);
		return;
	}
	cr_assert_lt(m->n, UMBRA_ARRAY_SIZE(m->pending));
	m->pending[m->n++] = e;
	choose(m);
}

Test(power, the_area_has_a_cache_of_its_own)
{
	static struct moments m;

	have_a_past();
	volume_off(&v);
	m.durable = malloc(AREA_BYTES);
	m.image = malloc(AREA_BYTES);
	read_disk(m.durable);
	volume_on(&v);
	lab_run("cp -a state state.then");
	record();
	cr_assert_eq(write_log_open(lab_path("writes"), &m.log), 0);
	for (; m.at < m.log.n_entries; m.at++)
		next(&m);
	fprintf(stderr, "# %llu moments of %llu writes\n", (unsigned long long)m.looks,
		(unsigned long long)m.log.n_entries);
	cr_assert_gt(m.looks, 30);
}
