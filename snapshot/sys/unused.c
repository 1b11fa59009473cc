/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/sys/unused.h"

#include <limits.h>
#include <linux/fsmap.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "common/util.h"

#define BATCH 256

struct map {
	struct fsmap_head head;
	struct fsmap records[BATCH];
};

/* As the kernel writes it in 32 bits. */
static uint32_t encode(dev_t dev)
{
	return (minor(dev) & 0xffU) | (major(dev) << 8) | ((minor(dev) & ~0xffU) << 12);
}

static void ask_for(struct fsmap_head *head, uint32_t dev, uint64_t from, uint64_t length)
{
	*head = (struct fsmap_head){.fmh_count = BATCH};
	head->fmh_keys[0] = (struct fsmap){.fmr_device = dev, .fmr_physical = from};
	head->fmh_keys[1] = (struct fsmap){.fmr_device = dev,
					   .fmr_flags = UINT_MAX,
					   .fmr_physical = from + length - 1,
					   .fmr_owner = ULLONG_MAX,
					   .fmr_offset = ULLONG_MAX};
}

static bool is_free(const struct fsmap *record, uint32_t dev)
{
	return record->fmr_device == dev && (record->fmr_flags & FMR_OF_SPECIAL_OWNER) &&
	       record->fmr_owner == FMR_OWN_FREE;
}

static void tell(const struct fsmap *record, uint64_t from, uint64_t end, umbra_unused_fn fn,
		 void *arg)
{
	uint64_t first = record->fmr_physical, last = first + record->fmr_length;

	if (first < from)
		first = from;
	if (last > end)
		last = end;
	if (first < last)
		fn(arg, first, last - first);
}

int umbra_unused_each(int fd, uint64_t from, uint64_t length, umbra_unused_fn fn, void *arg)
{
	_cleanup_free_ struct map *map = calloc(1, sizeof(*map));
	struct fsmap *records, *last;
	struct stat st;
	uint32_t dev, i;

	if (!map)
		return -ENOMEM;
	if (fstat(fd, &st) < 0)
		return -errno;
	dev = encode(st.st_dev);
	records = map->head.fmh_recs;
	ask_for(&map->head, dev, from, length);
	do {
		if (ioctl(fd, FS_IOC_GETFSMAP, &map->head) < 0)
			return -errno;
		for (i = 0; i < map->head.fmh_entries; i++)
			if (is_free(&records[i], dev))
				tell(&records[i], from, from + length, fn, arg);
		if (map->head.fmh_entries == 0)
			break;
		last = &records[map->head.fmh_entries - 1];
		fsmap_advance(&map->head);
	} while (!(last->fmr_flags & FMR_OF_LAST));
	return 0;
}
