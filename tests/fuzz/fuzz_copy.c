/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What provider "copy" reads back: inventory and table. With their sums made right, so that what
 * lies behind them is reached; the unit tests show that wrong sums are refused.
 */
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "snapshot/provider/copy/inventory.h"
#include "snapshot/provider/copy/shown.h"
#include "snapshot/provider/copy/sum.h"

#define ID     "01234567-89ab-4def-8123-456789abcdef"
#define HEADER 80
#define SLOT   24

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char dir[PATH_MAX];
static int at;

static void clean(void)
{
	unlinkat(at, UMBRA_INVENTORY_NAME, 0);
	unlinkat(at, UMBRA_INVENTORY_DIRS, 0);
	unlinkat(at, UMBRA_SHOWN_NAME, 0);
	rmdir(dir);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	snprintf(dir, sizeof(dir), "%s/umbra-fuzz-XXXXXX",
		 access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	if (!mkdtemp(dir) || (at = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		abort();
	atexit(clean);
	return 0;
}

static void put(char *file, size_t pos, uint64_t value, size_t len)
{
	memcpy(file + pos, &value, len);
}

static void head(char *file, const char *magic, uint64_t a, uint64_t b)
{
	memset(file, 0, HEADER);
	memcpy(file, magic, 8);
	put(file, 8, 0x01020304, 4);
	put(file, 12, 1, 4);
	strcpy(file + 16, ID);
	put(file, 56, a, 8);
	put(file, 64, b, 8);
	put(file, 72, umbra_sum(0, file, 72), 8);
}

static void write_file(const char *name, const char *data, size_t len)
{
	int fd = openat(at, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0 || write(fd, data, len) != (ssize_t)len)
		abort();
	close(fd);
}

/* Where the slot's block lies in the file its sum becomes right. */
static void seal(char *slot, uint32_t number, const char *blocks, size_t len)
{
	uint64_t offset, sum, records;
	uint32_t n, names;

	memcpy(&offset, slot, 8);
	memcpy(&n, slot + 8, 4);
	memcpy(&names, slot + 12, 4);
	records = n * (uint64_t)sizeof(struct umbra_inventory_record);
	if (offset > len || records > len - offset || names > len - offset - records)
		return;
	sum = umbra_sum(number, slot, 16);
	sum = umbra_sum(sum, blocks + offset, records);
	sum = umbra_sum(sum, blocks + offset + records, names);
	put(slot, 16, sum, 8);
}

static void read_inventory(uint32_t dirs)
{
	struct umbra_inventory *inv;
	struct umbra_inventory_block b;
	uint32_t i, j;
	size_t total = 0;

	if (umbra_inventory_open(at, ID, &inv) < 0)
		abort();
	for (i = 0; i < dirs; i++) {
		if (umbra_inventory_read(inv, i, &b) < 0)
			continue;
		for (j = 0; j < b.n; j++)
			total += strlen(umbra_inventory_name(&b, &b.records[j]));
		free(b.space);
	}
	umbra_inventory_close(inv);
	if (total == SIZE_MAX)
		abort();
}

/* The first byte: how many slots; then they; the rest are blocks. */
static void fuzz_inventory(const uint8_t *data, size_t size)
{
	uint32_t dirs = size ? data[0] % 16U : 0, i;
	size_t slots = dirs * (size_t)SLOT;
	char *list, *blocks;
	size_t len;

	if (size < 1 + slots)
		return;
	list = calloc(1, HEADER + slots);
	len = HEADER + size - 1 - slots;
	blocks = calloc(1, len);
	if (!list || !blocks)
		abort();
	memcpy(list + HEADER, data + 1, slots);
	memcpy(blocks + HEADER, data + 1 + slots, len - HEADER);
	head(list, "umbraDIR", dirs, HEADER + slots);
	head(blocks, "umbraINV", dirs, len);
	for (i = 0; i < dirs; i++)
		seal(list + HEADER + i * SLOT, i, blocks, len);
	write_file(UMBRA_INVENTORY_DIRS, list, HEADER + slots);
	write_file(UMBRA_INVENTORY_NAME, blocks, len);
	free(list);
	free(blocks);
	read_inventory(dirs);
}

static void fuzz_shown(const uint8_t *data, size_t size)
{
	const size_t entry = sizeof(struct umbra_shown_entry), n = size / entry;
	struct stat st = {.st_ino = size};
	struct umbra_shown *s;
	uint64_t sum = 0;
	size_t i;
	char *file = calloc(1, HEADER + n * entry);

	if (!file)
		abort();
	memcpy(file + HEADER, data, n * entry);
	for (i = 0; i < n; i++)
		sum = umbra_sum(sum, data + i * entry, entry);
	head(file, "umbraSHO", n, sum);
	write_file(UMBRA_SHOWN_NAME, file, HEADER + n * entry);
	free(file);
	if (umbra_shown_open(at, ID, &s) < 0)
		return;
	umbra_shown_fix(s, &st);
	umbra_shown_close(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_inventory(data, size);
	fuzz_shown(data, size);
	return 0;
}
