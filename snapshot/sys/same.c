/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/sys/same.h"

#include <linux/magic.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "common/util.h"

#define BLOCK (256 * 1024)

#define EROFS_MAGIC 0xE0F5E1E2
#define ROMFS_MAGIC 0x7275

/* Fills buf as far as the file goes. */
static ssize_t read_at(int fd, char *buf, size_t size, off_t at)
{
	size_t used = 0;
	ssize_t n;

	while (used < size) {
		n = pread(fd, buf + used, size - used, at + (off_t)used);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		used += (size_t)n;
	}
	return (ssize_t)used;
}

/* Where the next data of both begins: what is a hole in both need not be read. */
static off_t skip_holes(int a, int b, off_t at)
{
	off_t x = lseek(a, at, SEEK_DATA), y;

	if (x < 0)
		x = errno == ENXIO ? lseek(a, 0, SEEK_END) : at;
	y = lseek(b, at, SEEK_DATA);
	if (y < 0)
		y = errno == ENXIO ? lseek(b, 0, SEEK_END) : at;
	if (x < at || y < at)
		return at;
	return x < y ? x : y;
}

int umbra_same_data(int a, int b, const atomic_bool *stop, int *failed)
{
	_cleanup_free_ char *buf = malloc(2 * (size_t)BLOCK);
	ssize_t n, m;
	off_t at = 0;

	*failed = a;
	if (!buf)
		return -ENOMEM;
	for (;;) {
		if (stop && *stop)
			return -ECANCELED;
		at = skip_holes(a, b, at);
		*failed = a;
		n = read_at(a, buf, BLOCK, at);
		if (n < 0)
			return (int)n;
		*failed = b;
		m = read_at(b, buf + BLOCK, BLOCK, at);
		if (m < 0)
			return (int)m;
		if (n != m || memcmp(buf, buf + BLOCK, (size_t)n) != 0)
			return 0;
		if (n < BLOCK)
			return 1;
		at += n;
	}
}

bool umbra_times_tell(int fd)
{
	static const unsigned long silent[] = {
		TMPFS_MAGIC,    RAMFS_MAGIC,       HUGETLBFS_MAGIC,
		SQUASHFS_MAGIC, ISOFS_SUPER_MAGIC, CRAMFS_MAGIC,
		EROFS_MAGIC,    ROMFS_MAGIC,       OVERLAYFS_SUPER_MAGIC,
	};
	struct statfs fs;
	size_t i;

	if (fstatfs(fd, &fs) < 0)
		return false;
	for (i = 0; i < UMBRA_ARRAY_SIZE(silent); i++)
		if ((unsigned long)fs.f_type == silent[i])
			return false;
	return true;
}
