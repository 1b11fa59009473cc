/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/provider/copy/inventory.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "place.h"

#define ID    "01234567-89ab-4def-8123-456789abcdef"
#define OTHER "01234567-89ab-4def-8123-456789abcdee"

TestSuite(inventory, .init = place_begin, .fini = place_end, .timeout = 60);

static const char names[] = "b\0a\0\xff";

static void records(struct umbra_inventory_record *r)
{
	memset(r, 0, 3 * sizeof(*r));
	r[0] = (struct umbra_inventory_record){.name = 2, .name_len = 1, .ino = 7};
	r[1] = (struct umbra_inventory_record){.name = 0, .name_len = 1, .ino = 8, .dir = 1};
	r[2] = (struct umbra_inventory_record){.name = 4, .name_len = 1, .ino = 9};
}

static void write_one(const struct umbra_inventory_record *r, uint32_t n)
{
	_cleanup_(umbra_cleanup_inventory_writer) struct umbra_inventory_writer *w = NULL;

	cr_assert_eq(umbra_inventory_create(place_fd, ID, &w), 0);
	cr_assert_eq(umbra_inventory_number(w), 0);
	cr_assert_eq(umbra_inventory_number(w), 1);
	cr_assert_eq(umbra_inventory_number(w), 2);
	cr_assert_eq(umbra_inventory_write(w, 2, r, n, names, sizeof(names)), 0);
	cr_assert_eq(umbra_inventory_write(w, 0, r, 0, names, 0), 0);
	cr_assert_eq(umbra_inventory_complete(w), 0);
}

Test(inventory, what_is_written_is_read)
{
	_cleanup_(umbra_cleanup_inventory) struct umbra_inventory *inv = NULL;
	struct umbra_inventory_block b;
	struct umbra_inventory_record r[3];

	records(r);
	write_one(r, 3);
	cr_assert_eq(umbra_inventory_open(place_fd, ID, &inv), 0);
	cr_assert_eq(umbra_inventory_read(inv, 2, &b), 0);
	cr_assert_eq(b.n, 3);
	cr_assert_eq(memcmp(b.records, r, sizeof(r)), 0);
	cr_assert_str_eq(umbra_inventory_name(&b, &b.records[2]), "\xff");
	free(b.space);
	cr_assert_eq(umbra_inventory_read(inv, 0, &b), 0);
	cr_assert_eq(b.n, 0);
	free(b.space);
	cr_assert_eq(umbra_inventory_read(inv, 1, &b), -ENOENT);
	cr_assert_eq(umbra_inventory_read(inv, 3, &b), -ENOENT);
	cr_assert_eq(umbra_inventory_read(inv, UINT32_MAX, &b), -ENOENT);
}

Test(inventory, an_unfinished_or_foreign_one_is_none)
{
	struct umbra_inventory_writer *w;
	struct umbra_inventory *inv;

	cr_assert_eq(umbra_inventory_open(place_fd, ID, &inv), -ENOENT);
	cr_assert_eq(umbra_inventory_create(place_fd, ID, &w), 0);
	umbra_inventory_number(w);
	cr_assert_eq(umbra_inventory_write(w, 0, NULL, 0, NULL, 0), 0);
	cr_assert_eq(umbra_inventory_open(place_fd, ID, &inv), -EBADMSG);
	cr_assert_eq(umbra_inventory_complete(w), 0);
	umbra_inventory_discard(w);
	cr_assert_eq(umbra_inventory_open(place_fd, OTHER, &inv), -EBADMSG);
	cr_assert_eq(umbra_inventory_create(place_fd, ID, &w), -EEXIST);
}

static void unsound(const struct umbra_inventory_record *r)
{
	_cleanup_(umbra_cleanup_inventory) struct umbra_inventory *inv = NULL;
	struct umbra_inventory_block b;

	write_one(r, 3);
	cr_assert_eq(umbra_inventory_open(place_fd, ID, &inv), 0);
	cr_assert_eq(umbra_inventory_read(inv, 2, &b), -EBADMSG);
	cr_assert_eq(unlinkat(place_fd, UMBRA_INVENTORY_NAME, 0), 0);
	cr_assert_eq(unlinkat(place_fd, UMBRA_INVENTORY_DIRS, 0), 0);
}

/* Its sums are right, but no umbra wrote it. */
Test(inventory, what_no_umbra_would_write_is_refused)
{
	struct umbra_inventory_record r[3];

	records(r);
	r[2].name = sizeof(names);
	unsound(r);
	records(r);
	r[2].name = UINT32_MAX;
	unsound(r);
	records(r);
	r[1].name_len = 2;
	unsound(r);
	records(r);
	r[1].name_len = UINT16_MAX;
	unsound(r);
	records(r);
	r[0].name = r[1].name; /* twice */
	unsound(r);
	records(r);
	r[0].name = 0; /* not in order */
	r[1].name = 2;
	unsound(r);
}

static void flip(const char *name, off_t pos)
{
	_cleanup_close_ int fd = openat(place_fd, name, O_RDWR | O_CLOEXEC);
	char c;

	cr_assert_eq(pread(fd, &c, 1, pos), 1);
	c = (char)(c ^ 1);
	cr_assert_eq(pwrite(fd, &c, 1, pos), 1);
}

static void every_byte_counts(const char *name)
{
	struct umbra_inventory_record r[3];
	struct umbra_inventory_block b;
	struct umbra_inventory *inv;
	struct stat st;
	off_t pos;
	int bad;

	records(r);
	write_one(r, 3);
	cr_assert_eq(fstatat(place_fd, name, &st, 0), 0);
	for (pos = 0; pos < st.st_size; pos++) {
		flip(name, pos);
		bad = umbra_inventory_open(place_fd, ID, &inv);
		if (bad == 0) {
			uint32_t i;

			/* The empty slot of directory 1 may now point anywhere, to no avail. */
			for (i = 0; i < 3 && bad == 0; i++) {
				bad = umbra_inventory_read(inv, i, &b);
				if (bad == 0)
					free(b.space);
				if (i == 1 && bad == -ENOENT)
					bad = 0;
			}
			umbra_inventory_close(inv);
		}
		/* Directory 1 was never written: bytes of its slot behind the offset do not
		 * count. */
		cr_assert(bad < 0 || (strcmp(name, UMBRA_INVENTORY_DIRS) == 0 &&
				      pos >= 80 + 24 + 8 && pos < 80 + 48),
			  "%s byte %jd", name, (intmax_t)pos);
		flip(name, pos);
	}
}

Test(inventory, every_byte_of_the_blocks_counts)
{
	every_byte_counts(UMBRA_INVENTORY_NAME);
}

Test(inventory, every_byte_of_the_list_counts)
{
	every_byte_counts(UMBRA_INVENTORY_DIRS);
}

Test(inventory, cut_anywhere_it_is_refused)
{
	struct umbra_inventory_record r[3];
	struct umbra_inventory *inv;
	struct stat st;
	int fd;

	records(r);
	write_one(r, 3);
	fd = openat(place_fd, UMBRA_INVENTORY_NAME, O_RDWR | O_CLOEXEC);
	cr_assert_eq(fstat(fd, &st), 0);
	while (st.st_size-- > 0) {
		cr_assert_eq(ftruncate(fd, st.st_size), 0);
		cr_assert_eq(umbra_inventory_open(place_fd, ID, &inv), -EBADMSG);
	}
	close(fd);
}
