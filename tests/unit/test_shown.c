/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/provider/copy/shown.h"

#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "place.h"

#define ID    "01234567-89ab-4def-8123-456789abcdef"
#define OTHER "01234567-89ab-4def-8123-456789abcdee"

TestSuite(shown, .init = place_begin, .fini = place_end, .timeout = 60);

struct part {
	struct umbra_shown_writer *w;
	uint64_t from, n;
};

static uint64_t scattered(uint64_t i)
{
	return (i * 2654435761U) % 4294967291U; /* a prime: no two are the same */
}

static void *add_part(void *arg)
{
	struct part *p = arg;
	uint64_t i;

	for (i = p->from; i < p->from + p->n; i++) {
		const struct umbra_shown_entry e = {
			.ino = scattered(i), .nlink = (uint32_t)i, .mode = S_IFREG | 0600};

		cr_assert_eq(umbra_shown_add(p->w, &e), 0);
	}
	return NULL;
}

static void check_all(uint64_t n)
{
	_cleanup_(umbra_cleanup_shown) struct umbra_shown *s = NULL;
	struct umbra_shown_entry e;
	uint64_t i;

	cr_assert_eq(umbra_shown_open(place_fd, ID, &s), 0);
	for (i = 1; i <= n; i++) {
		cr_assert_eq(umbra_shown_find(s, scattered(i), &e), 1);
		cr_assert_eq(e.nlink, i);
	}
	cr_assert_eq(umbra_shown_find(s, scattered(n + 1), &e), 0);
	cr_assert_eq(umbra_shown_find(s, 0, &e), 0);
	cr_assert_eq(umbra_shown_find(s, UINT64_MAX, &e), 0);
}

static void write_and_check(uint64_t n)
{
	_cleanup_(umbra_cleanup_shown_writer) struct umbra_shown_writer *w = NULL;
	struct part half[2];
	pthread_t thread;

	cr_assert_eq(umbra_shown_create(place_fd, ID, &w), 0);
	half[0] = (struct part){.w = w, .from = 1, .n = n / 2};
	half[1] = (struct part){.w = w, .from = 1 + n / 2, .n = n - n / 2};
	cr_assert_eq(pthread_create(&thread, NULL, add_part, &half[0]), 0);
	add_part(&half[1]);
	cr_assert_eq(pthread_join(thread, NULL), 0);
	cr_assert_eq(umbra_shown_complete(w), 0);
	check_all(n);
	cr_assert_eq(faccessat(place_fd, UMBRA_SHOWN_RUNS, F_OK, 0), -1);
	cr_assert_eq(unlinkat(place_fd, UMBRA_SHOWN_NAME, 0), 0);
}

Test(shown, any_number_of_entries_is_sorted)
{
	static const uint64_t n[] = {0, 1, 2, 1024, 1025, 32767, 32768, 32769, 200000};
	size_t i;

	for (i = 0; i < UMBRA_ARRAY_SIZE(n); i++)
		write_and_check(n[i]);
}

Test(shown, an_inode_is_there_once)
{
	_cleanup_(umbra_cleanup_shown_writer) struct umbra_shown_writer *w = NULL;
	const struct umbra_shown_entry e = {.ino = 5, .nlink = 2};
	struct stat st;
	int i;

	cr_assert_eq(umbra_shown_create(place_fd, ID, &w), 0);
	for (i = 0; i < 40000; i++)
		cr_assert_eq(umbra_shown_add(w, &e), 0);
	cr_assert_eq(umbra_shown_complete(w), 0);
	cr_assert_eq(fstatat(place_fd, UMBRA_SHOWN_NAME, &st, 0), 0);
	cr_assert_eq(st.st_size, 80 + 40);
}

Test(shown, attributes_are_put_right)
{
	_cleanup_(umbra_cleanup_shown_writer) struct umbra_shown_writer *w = NULL;
	_cleanup_(umbra_cleanup_shown) struct umbra_shown *s = NULL;
	const struct umbra_shown_entry e = {.ino = 5,
					    .nlink = 3,
					    .mode = S_IFCHR | 0620,
					    .uid = 6,
					    .gid = 7,
					    .major = 1,
					    .minor = 300};
	struct stat st = {.st_ino = 5, .st_mode = S_IFREG | 0600, .st_nlink = 9};

	cr_assert_eq(umbra_shown_create(place_fd, ID, &w), 0);
	cr_assert_eq(umbra_shown_add(w, &e), 0);
	cr_assert_eq(umbra_shown_complete(w), 0);
	cr_assert_eq(umbra_shown_open(place_fd, OTHER, &s), -EBADMSG);
	cr_assert_eq(umbra_shown_open(place_fd, ID, &s), 0);
	cr_assert_eq(umbra_shown_fix(s, &st), 0);
	cr_assert_eq(st.st_mode, S_IFCHR | 0620);
	cr_assert(st.st_uid == 6 && st.st_gid == 7 && st.st_nlink == 3 && st.st_rdev == 0x10012c);
	st = (struct stat){.st_ino = 6, .st_mode = S_IFREG | 0600, .st_nlink = 9};
	cr_assert_eq(umbra_shown_fix(s, &st), 0);
	cr_assert(st.st_mode == (S_IFREG | 0600) && st.st_nlink == 1);
	st = (struct stat){.st_ino = 6, .st_mode = S_IFDIR | 0700, .st_nlink = 9};
	cr_assert_eq(umbra_shown_fix(s, &st), 0);
	cr_assert_eq(st.st_nlink, 9);
}

/* Of an open table: what is done to the file behind its reader's back. */
static struct umbra_shown *open_of(uint64_t n)
{
	_cleanup_(umbra_cleanup_shown_writer) struct umbra_shown_writer *w = NULL;
	struct part all = {.from = 1, .n = n};
	struct umbra_shown *s;

	cr_assert_eq(umbra_shown_create(place_fd, ID, &w), 0);
	all.w = w;
	add_part(&all);
	cr_assert_eq(umbra_shown_complete(w), 0);
	cr_assert_eq(umbra_shown_open(place_fd, ID, &s), 0);
	return s;
}

static int file_of_table(void)
{
	int fd = openat(place_fd, UMBRA_SHOWN_NAME, O_RDWR | O_CLOEXEC);

	cr_assert_geq(fd, 0);
	return fd;
}

Test(shown, a_table_that_is_cut_short_is_an_error)
{
	_cleanup_(umbra_cleanup_shown) struct umbra_shown *s = open_of(5000);
	struct stat st = {.st_ino = scattered(7), .st_mode = S_IFREG};
	_cleanup_close_ int fd = file_of_table();
	struct umbra_shown_entry e;
	uint64_t i;

	cr_assert_eq(ftruncate(fd, 0), 0);
	for (i = 1; i <= 5000; i++)
		cr_assert_eq(umbra_shown_find(s, scattered(i), &e), -EIO);
	cr_assert_eq(umbra_shown_fix(s, &st), -EIO);
}

Test(shown, a_table_that_is_written_over_is_an_error)
{
	_cleanup_(umbra_cleanup_shown) struct umbra_shown *s = open_of(1);
	_cleanup_close_ int fd = file_of_table();
	const uint32_t mode = S_IFREG | 0777;
	struct umbra_shown_entry e;

	cr_assert_eq(pwrite(fd, &mode, sizeof(mode), 80 + offsetof(struct umbra_shown_entry, mode)),
		     sizeof(mode));
	cr_assert_eq(umbra_shown_find(s, scattered(1), &e), -EIO);
}
